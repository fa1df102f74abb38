"""Waiting for models that others push to this node (`pushing.py`), rather than fetching them through a relay."""

import asyncio
from collections.abc import Callable
from typing import Final

FIRST_SECONDS: Final = 3.0
"""So long nothing has to come of a model before it is fetched through a relay; less than a merge may take at least."""
NEXT_SECONDS: Final = 0.5
"""The same after nothing has come from its contributor."""


class _Waiter:
    """Somebody who waits: bytes that have come since it looked last."""

    def __init__(self) -> None:
        self.came = asyncio.Event()
        self.size = 0

    def take(self) -> int:
        size, self.size = self.size, 0
        self.came.clear()
        return size


class Arrivals:
    """What others push to this node: tells those who wait for it. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[_Waiter]] = {}
        self._in_vain: set[str] = set()

    def came(self, digest: str, size: int) -> None:
        """So many bytes of a model have come."""
        for each in self._waiting.get(digest, ()):
            each.size += size
            each.came.set()

    async def wait(self, uid: str, digest: str, is_here: Callable[[], bool], note: Callable[[int], None]) -> None:
        """Returns once what is wanted of this site's model is here, or none of it has come for a while.

        `note` is called with the bytes that come meanwhile.
        """
        waiter = _Waiter()
        self._waiting.setdefault(digest, set()).add(waiter)
        try:
            while not is_here():
                try:
                    async with asyncio.timeout(NEXT_SECONDS if uid in self._in_vain else FIRST_SECONDS):
                        await waiter.came.wait()
                except TimeoutError:
                    self._in_vain.add(uid)
                    return
                self._in_vain.discard(uid)
                note(waiter.take())
        finally:
            self._waiting[digest].discard(waiter)
            if not self._waiting[digest]:
                del self._waiting[digest]
