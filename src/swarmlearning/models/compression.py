"""Lossless compression of models under way: zstd at its fastest level, a registered content coding of HTTP.

Trained parameters hardly shrink: by 8 % in float32, 22 % in bfloat16; by much more where most of them are zero
(docs/performance.md). So receivers always accept it, and the sender, who knows the bytes and the link, decides each
time by measurement: `pays`.
"""

import os
import time
from collections.abc import Callable
from typing import Final, TypeAlias

from zstandard import ZstdCompressor

CODING: Final = "zstd"
WINDOW: Final = 2**23
"""The most bytes of memory that a receiver uses for what a sender refers back to."""

_LEVEL: Final = 1
_SAMPLES: Final = 4
_SAMPLE: Final = 2**15
_ENDS: Final = 2  # restoring costs the receiver at most what compressing costs the sender


Buffer: TypeAlias = bytes | memoryview

Encode = Callable[[Buffer, bool], Buffer]
"""(piece, whether it is the last) -> what to send for it."""


def identity(piece: Buffer, last: bool) -> Buffer:
    """No compression."""
    return piece


class Encoder:
    """Compresses one answer."""

    def __init__(self) -> None:
        self._stream = ZstdCompressor(level=_LEVEL).compressobj()

    def __call__(self, piece: Buffer, last: bool) -> bytes:
        data = self._stream.compress(piece)
        return data + self._stream.flush() if last else data


def pays(fd: int, size: int, speed: float) -> bool:
    """Returns True if the link, at `speed` bytes per second, needs longer for what compression saves of this file than
    processors need for compressing it. Both are estimated from four samples of the file, 128 KiB. Raises OSError.
    """
    step = max(1, (size - _SAMPLE) // _SAMPLES)
    sample = b"".join(os.pread(fd, _SAMPLE, step * number) for number in range(1, _SAMPLES + 1))
    begin = time.thread_time()
    saved = len(sample) - len(ZstdCompressor(level=_LEVEL).compress(sample))
    return saved / speed > _ENDS * (time.thread_time() - begin)
