"""How fast this node's link is, in each direction: what all its transfers together have moved in a second.

What a link could do shows only while it is busy, so seconds in which little moved count for nothing; and one may show
how much the kernel or a router buffers, so it is not the fastest second that counts. What a second moves varies by a
tenth and more, and mergers' shares by twice as much as their speeds: so it is the middle one of those that were full.

Where the operator limits what models may use (`models/bandwidth.py`), the link is no faster than that, measured or not;
what was measured under one limit is kept apart from what was under another, and counts again when that holds again.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from statistics import median_low
from typing import Final, TypeAlias

from swarmlearning.rounds.slices import LinkMeasured

SECONDS: Final = 1.0
REMEMBERED: Final = 120
"""Busy seconds."""
BUSY: Final = 0.1
"""Part of the fastest second that a busy one moves at least."""
FULL: Final = 0.75
"""Part of what a tenth of the busy seconds exceed that one moves at least in which the link was full."""
REPORT_EVERY: Final = 10
"""Seconds between two reports."""


Limit: TypeAlias = int | None
"""Bytes a second that models may use in one direction; 0: without limit now; None: never limited."""


def unlimited() -> tuple[Limit, Limit]:
    """For a node without limits."""
    return None, None


class Capacity:
    """One direction. `moved`: bytes so far."""

    def __init__(self, moved: Callable[[], int], limit: Callable[[], Limit] = lambda: None) -> None:
        self._moved = moved
        self._before = moved()
        self._limit = limit
        self._under = limit() or 0
        self._seconds: dict[int, deque[int]] = {}

    def look(self) -> None:
        """Notes what the last second has moved; not of one in which the limit has changed."""
        now, under = self._moved(), self._limit() or 0
        came, self._before = now - self._before, now
        if came > 0 and under == self._under:
            self._seconds.setdefault(under, deque(maxlen=REMEMBERED)).append(int(came / SECONDS))
        self._under = under

    @property
    def speed(self) -> int:
        """Bytes in the middle one of the seconds in which the link was full, and no more than the limit; 0: not known
        yet."""
        limit = self._limit() or 0
        known = self._measured(limit)
        return min(known or self._measured(0) or limit, limit) if limit else known

    def _measured(self, limit: int) -> int:
        """What was measured under this limit."""
        seconds = self._seconds.get(limit, ())
        most = max(seconds, default=0)
        if not (busy := sorted(each for each in seconds if each >= BUSY * most)):
            return 0
        fast = busy[(len(busy) - 1) * 9 // 10]
        return median_low(each for each in busy if each >= FULL * fast)


class OwnLink:
    """This node's link. `received`, `sent`: bytes of models so far; `merges`: whether it merges slices for others;
    `limits`: what models may use, up and down."""

    def __init__(
        self,
        received: Callable[[], int],
        sent: Callable[[], int],
        merges: Callable[[], bool],
        limits: Callable[[], tuple[Limit, Limit]] = unlimited,
    ) -> None:
        self._up, self._down = Capacity(sent, lambda: limits()[0]), Capacity(received, lambda: limits()[1])
        self._merges, self._limits = merges, limits

    @property
    def measured(self) -> LinkMeasured:
        """What is known of it now."""
        return LinkMeasured(self._up.speed, self._down.speed, self._merges(), self._limits())

    async def report(self, to: Callable[[LinkMeasured], None]) -> None:
        """Measures it, and reports it now and then and when a limit has changed, until cancelled."""
        while True:
            before = self._limits()
            for _ in range(REPORT_EVERY):
                await asyncio.sleep(SECONDS)
                self._down.look()
                self._up.look()
                if self._limits() != before:
                    break
            to(self.measured)
