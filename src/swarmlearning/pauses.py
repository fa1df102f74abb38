"""Lengths of pauses between attempts, so that whoever fails together does not try again together."""

import random


class Pauses:
    """Each pause is a random part of a bound that doubles from `first` up to `longest` seconds (full jitter)."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._bound = 0.0

    def reset(self) -> None:
        """Goes on as at the beginning: what was tried has succeeded."""
        self._bound = 0.0

    def next(self) -> float:
        """Returns the seconds until the next attempt."""
        self._bound = min(2 * self._bound or self._first, self._longest)
        return random.uniform(0.0, self._bound)
