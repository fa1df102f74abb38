"""Adaptive sync frequency: the swarm trains longer between rounds while its loss falls, shorter when it does not.

After each round every contributor's validation loss is compared with its own best so far: loss / best, bounded to
1/2..2. The mean of these over the contributors sets the pace:

    below 1     eighths = min(32, ceil(eighths * 5/4))
    else        eighths = max(2, eighths // 2)
    interval    = max(1, syncFrequency * eighths // 8)

so the interval stays between a quarter and four times the member's own syncFrequency. It grows slowly and is halved at
once, as in TCP's congestion control: models that have trained apart for too long cost more than a round that was not
needed (docs/performance.md has figures). Each site counts alike, whatever the scale of its losses, and one that reports
anything moves the mean by its share only. The mean sums exactly (`math.fsum`), so every node finds the same.
"""

import math
from collections.abc import Mapping
from typing import Self

import msgspec

SLOWEST = 32
FASTEST = 2
LEAST = 0.5
MOST = 2.0


class Pace(msgspec.Struct, frozen=True):
    """`eighths` of the syncFrequency between two rounds."""

    eighths: int

    def after(self, progress: float) -> Self:
        """The pace after a round with this mean of the losses relative to their best."""
        shorter, longer = max(FASTEST, self.eighths // 2), min(SLOWEST, -(-self.eighths * 5 // 4))
        return msgspec.structs.replace(self, eighths=longer if progress < 1 else shorter)


def relative(loss: float, best: float) -> float:
    """A loss relative to the best before it, 1/2 to 2: below 1 if it is better. For any sign and size of both."""
    if loss > 0 and best > 0:
        return min(MOST, max(LEAST, loss / best))
    return 1.0 if loss == best else LEAST if loss < best else MOST


def mean_progress(losses: Mapping[str, float], bests: Mapping[str, float]) -> float | None:
    """Mean over those with a loss and a best before it, None without any."""
    found = [relative(loss, bests[uid]) for uid, loss in losses.items() if uid in bests]
    return math.fsum(found) / len(found) if found else None


def next_interval(sync_frequency: int, pace: Pace) -> int:
    """Batches until the next sync, at least 1."""
    return max(1, sync_frequency * pace.eighths // 8)
