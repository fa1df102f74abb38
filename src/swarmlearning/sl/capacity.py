"""How fast this node's link is, in each direction: what all its transfers together have moved in a second.

What a link could do shows only while it is busy, so seconds in which little moved count for nothing; and the first
second of a transfer shows how much the kernel buffers, so it is not the fastest second that counts.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from swarmlearning.rounds.slices import LinkMeasured

SECONDS: Final = 1.0
REMEMBERED: Final = 120
"""Busy seconds."""
BUSY: Final = 0.1
"""Part of the fastest second that a busy one moves at least."""
REPORT_EVERY: Final = 10
"""Seconds between two reports."""


class Capacity:
    """One direction. `moved`: bytes so far."""

    def __init__(self, moved: Callable[[], int]) -> None:
        self._moved = moved
        self._before = moved()
        self._seconds: deque[int] = deque(maxlen=REMEMBERED)

    def look(self) -> None:
        """Notes what the last second has moved."""
        now = self._moved()
        came, self._before = now - self._before, now
        if came > 0:
            self._seconds.append(int(came / SECONDS))

    @property
    def speed(self) -> int:
        """Bytes a second that a quarter of the busy seconds exceed; 0 while none is known."""
        most = max(self._seconds, default=0)
        busy = sorted(each for each in self._seconds if each >= BUSY * most)
        return busy[len(busy) * 3 // 4] if busy else 0


class OwnLink:
    """This node's link. `received`, `sent`: bytes of models so far; `merges`: whether it merges slices for others."""

    def __init__(self, received: Callable[[], int], sent: Callable[[], int], merges: Callable[[], bool]) -> None:
        self._down, self._up, self._merges = Capacity(received), Capacity(sent), merges

    @property
    def measured(self) -> LinkMeasured:
        """What is known of it now."""
        return LinkMeasured(self._up.speed, self._down.speed, self._merges())

    async def report(self, to: Callable[[LinkMeasured], None]) -> None:
        """Measures it, and reports it now and then, until cancelled."""
        while True:
            for _ in range(REPORT_EVERY):
                await asyncio.sleep(SECONDS)
                self._down.look()
                self._up.look()
            to(self.measured)
