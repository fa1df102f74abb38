"""Memory that large pieces of work have used goes back to the system once they are done."""

import ctypes
from typing import Final

# of glibc's malloc.h
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8

OWN_PAGES: Final = 2**20
"""Bytes from which on a piece of memory has pages of its own, which go back when it is freed."""
ARENAS: Final = 2
"""Heaps of threads. By default there are eight a core, and each keeps what its threads have freed."""


def give_back() -> None:
    """Has glibc's allocator keep little of what is freed. Called once, at the start; with another C library nothing.

    By itself glibc takes the largest piece that was ever freed as the size from which on a piece has pages of its own:
    of each password that is checked at the same time as others 19 MiB would stay with the process for good.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, OWN_PAGES)
        mallopt(_ARENA_MAX, ARENAS)
