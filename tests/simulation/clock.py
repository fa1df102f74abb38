"""Virtual time: future events are on a heap, and nothing waits. Events of the same moment come in random order."""

import heapq
import random
from collections.abc import Callable
from itertools import count

Thunk = Callable[[], None]


class Clock:
    """`now` is in seconds since the swarm's beginning; `haste` is the chance that an action comes early."""

    def __init__(self, dice: random.Random, haste: float) -> None:
        self.now = 0.0
        self.steps = 0
        self._dice, self._haste = dice, haste
        self._heap: list[tuple[float, float, int, Thunk]] = []
        self._count = count()

    def after(self, seconds: float, thunk: Thunk) -> None:
        """Calls `thunk` after this many seconds."""
        heapq.heappush(self._heap, (self.now + seconds, self._dice.random(), next(self._count), thunk))

    def soon(self, seconds: float, thunk: Thunk) -> None:
        """Calls `thunk` after this many seconds, or earlier in haste."""
        dice = self._dice.random
        if self._haste and dice() < self._haste:
            seconds *= dice()
        heapq.heappush(self._heap, (self.now + seconds, dice(), next(self._count), thunk))

    def run(self, steps: int) -> bool:
        """Runs this many events, one after the other. Returns False when there are no more."""
        self.steps += steps
        heap = self._heap
        for _ in range(steps):
            if not heap:
                return False
            self.now, _, _, thunk = heapq.heappop(heap)
            thunk()
        return True
