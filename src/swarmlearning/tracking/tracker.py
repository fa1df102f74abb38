"""The protocol that every experiment tracker fulfils."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Point(NamedTuple):
    """One value of a curve. `tag`: its name, of letters, digits and `_-./ ` only; `time_ms`: Unix time."""

    tag: str
    step: int
    value: float
    time_ms: int


class TrackerError(Exception):
    """A tracker cannot take points now; the text says which one, why, and what to do."""


class Tracker(Protocol):
    """Takes the points of one run of a training, in order. A point that comes again replaces the earlier one, or stands
    beside it with the same value."""

    async def add(self, points: Sequence[Point]) -> None:
        """Hands points over. Raises `TrackerError`; the same points are then handed over again, with later ones."""

    async def close(self, *, complete: bool) -> None:
        """Ends the run; `complete`: the training is over. Raises `TrackerError`."""
