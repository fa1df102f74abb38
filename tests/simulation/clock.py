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

    def soon(self, seconds: float, thunk: Thunk) -> None:
        """Does `thunk` so much later, or earlier."""
        if self._haste and self._dice.random() < self._haste:
            seconds *= self._dice.random()
        self.after(seconds, thunk)

    def run(self, steps: int) -> bool:
        """Does so many things, one after the other; False when there are no more."""
        self.steps += steps
        for _ in range(steps):
            if not self._heap:
                return False
            self.now, _, _, thunk = heapq.heappop(self._heap)
            thunk()
        return True
