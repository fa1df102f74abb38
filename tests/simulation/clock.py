"""Virtual time: what will happen lies on a heap; nothing waits. What falls on the same moment comes in random order."""

import heapq
import random
from collections.abc import Callable
from itertools import count

Thunk = Callable[[], None]


class Clock:
    """`now` is in seconds since the swarm's beginning; `haste` is the chance that what a process does comes early."""

    def __init__(self, dice: random.Random, haste: float) -> None:
        self.now = 0.0
        self.steps = 0
        self._dice, self._haste = dice, haste
        self._heap: list[tuple[float, float, int, Thunk]] = []
        self._count = count()

    def after(self, seconds: float, thunk: Thunk) -> None:
        """Does `thunk` so much later."""
        heapq.heappush(self._heap, (self.now + seconds, self._dice.random(), next(self._count), thunk))

    def hurried(self, seconds: float) -> float:
        """These seconds, or fewer."""
        return seconds * self._dice.random() if self._haste and self._dice.random() < self._haste else seconds

    def step(self) -> bool:
        """Does the next thing; False when there is none."""
        if not self._heap:
            return False
        self.now, _, _, thunk = heapq.heappop(self._heap)
        self.steps += 1
        thunk()
        return True
