"""What each contributor had to do with a result: how far its model lies from it, and where its update points.

Over all floating-point values of the model, as one vector: *distance* is ‖xᵢ − r‖₂ for the contributor's model xᵢ and
the result r; *cosine* is that of the angle between the contributor's update xᵢ − p and the merged one, r − p, where p
is the previous result. A site whose data or labels are unlike all others' has the largest distance; one that works
against the others has a cosine below 0.

These are a leader's statements, for people: nothing is decided by them. They are measured while the result is built,
and given to `DIGITS` digits, since the last bits of the sums depend on the machine.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from swarmlearning.merge.arithmetic import FLOATS, Float64, spare, widen
from swarmlearning.merge.products import inner
from swarmlearning.merge.streaming import Block, Models, values_in
from swarmlearning.tensors.file import Array

DIGITS: Final = 3

_ROUNDING: Final = 1e-12  # of a squared length against the squares it is the sum of


class Influence(NamedTuple):
    """None is what cannot be said: there is no previous result, no update, or squares beyond the range of float64."""

    distance: float | None
    cosine: float | None


def tally(models: Models, block: Block, rows: Array, merged: Array) -> Float64:
    """One block's part of the sums (n, 3) that `influences` needs.

    About the result, so that a small distance is not the difference of large numbers: with w = xᵢ − r and u = r − p
    the columns are w·w, w·u and u·u; the last two are NaN without a previous result.
    """
    sums = np.full((len(rows), 3), np.nan)
    if block.dtype not in FLOATS:
        return np.zeros_like(sums)
    result, apart, update = (spare(values_in(block), number) for number in range(3))
    widen(block.dtype, merged, result)
    if models.previous is not None:
        widen(block.dtype, models.previous_row(block), update)
        np.subtract(result, update, out=update)
        sums[:, 2] = inner(update, update)
    for row, own in zip(rows, sums, strict=True):
        np.subtract(widen(block.dtype, row, apart), result, out=apart)
        own[0] = inner(apart, apart)
        if models.previous is not None:
            own[1] = inner(apart, update)
    return sums


def influences(sums: Float64) -> tuple[Influence, ...]:
    """One a model, from the sums (n, 3) over all blocks."""
    return tuple(
        Influence(_rounded(math.sqrt(apart)), _cosine(apart, across, update)) for apart, across, update in sums
    )


def _cosine(apart: float, across: float, update: float) -> float | None:
    """Of the angle between w + u and u."""
    own = apart + 2 * across + update
    if not own > _ROUNDING * (apart + update) or not update > 0:
        return None
    return _rounded(max(-1.0, min(1.0, (across + update) / math.sqrt(own) / math.sqrt(update))))


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
