"""Adaptive sync frequency: the swarm trains longer between rounds while its loss falls, shorter when it does not.

After each round the mean validation loss over its contributors is compared with the best so far:

    better      eighths = min(32, ceil(eighths * 5/4))
    not better  eighths = max(2, eighths // 2)
    interval    = max(1, syncFrequency * eighths // 8)

so the interval stays between a quarter and four times the member's own syncFrequency. It grows slowly and is halved at
once, as in TCP's congestion control: models that have trained apart for too long cost more than a round that was not
needed (docs/performance.md has figures). All arithmetic but the mean is on integers; the mean sums exactly
(`math.fsum`), so every node finds the same.
"""

import math
from collections.abc import Mapping
from typing import Self

import msgspec

SLOWEST = 32
FASTEST = 2


class Pace(msgspec.Struct, frozen=True):
    """`eighths` of the syncFrequency between two rounds, and the best mean loss so far."""

    best_loss: float | None
    eighths: int

    def after(self, loss: float) -> Self:
        """The pace after a round with this mean loss."""
        if self.best_loss is None:
            return msgspec.structs.replace(self, best_loss=loss)
        if loss < self.best_loss:
            return msgspec.structs.replace(self, best_loss=loss, eighths=min(SLOWEST, -(-self.eighths * 5 // 4)))
        return msgspec.structs.replace(self, eighths=max(FASTEST, self.eighths // 2))


def mean_loss(losses: Mapping[str, float]) -> float | None:
    """Mean over the reporters, None without any."""
    return math.fsum(losses[uid] for uid in sorted(losses)) / len(losses) if losses else None


def next_interval(sync_frequency: int, pace: Pace) -> int:
    """Batches until the next sync, at least 1."""
    return max(1, sync_frequency * pace.eighths // 8)
