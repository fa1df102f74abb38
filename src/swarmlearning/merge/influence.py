"""Each contributor's relation to a result: how far its model lies from it, and where its update points.

Over all floating-point values of the model, as one vector: *distance* is ‖xᵢ − r‖₂ for the contributor's model xᵢ and
the result r; *cosine* is that of the angle between the contributor's update xᵢ − p and the merged one, r − p, where p
is the previous result. A site whose data or labels are unlike all others' has the largest distance; one that works
against the others has a cosine below 0.

These are a leader's statements, for people: nothing is decided by them. They are measured while the result is built,
and given to `DIGITS` digits, since the last bits of the sums depend on the machine. So float32 is precise enough for
models that are not float64, and takes half the time; where squares leave its range, that block is measured in float64.
"""

import math
from typing import Final, NamedTuple

import numpy as np

from swarmlearning.merge.arithmetic import FLOATS, Float64, Real, reals, spare
from swarmlearning.merge.constants import finite
from swarmlearning.merge.products import inner
from swarmlearning.merge.streaming import Block, Models
from swarmlearning.tensors.file import Array

DIGITS: Final = 3

_LEAST: Final = 1e-24  # a sum of squares; those of a block's values that underflow make less than a millionth of it
_ROUNDING: Final = 1e-12  # of a squared length against the squares it is the sum of


class Influence(NamedTuple):
    """None where there is no value: no previous result, no update, or squares beyond the range of float64."""

    distance: float | None
    cosine: float | None


def tally(models: Models, block: Block, rows: Array, merged: Array) -> Float64:
    """One block's part of the sums (n, 3) that `influences` needs.

    About the result, so that a small distance is not the difference of large numbers: with w = xᵢ − r and u = r − p
    the columns are w·w, w·u and u·u; the last two are NaN without a previous result. Entries that are infinite or NaN
    in any of them have no part in it.
    """
    if block.dtype not in FLOATS:
        return np.zeros((len(rows), 3))
    previous = models.before(block)
    if block.dtype != "F64":
        sums = _sums(np.float32, block.dtype, rows, merged, previous)
        kept = all(_kept(own, row, merged) for own, row in zip(sums[:, 0], rows, strict=True))
        if kept and (previous is None or _kept(sums[0, 2], merged, previous)):
            return sums
    sums = _sums(np.float64, block.dtype, rows, merged, previous)
    if np.isfinite(sums if previous is not None else sums[:, 0]).all():
        return sums
    stack = np.vstack([rows, merged[None], *([] if previous is None else [previous[None]])])
    usable = np.compress(finite(block.dtype, stack).all(axis=0), stack, axis=1)
    count = len(rows)
    return _sums(np.float64, block.dtype, usable[:count], usable[count], None if previous is None else usable[-1])


def _kept(square: float, a: Array, b: Array) -> bool:
    """True if float32 has room for this squared distance of two vectors."""
    return _LEAST < square < np.inf or (square <= _LEAST and np.array_equal(a, b))


def _sums(real: Real, dtype: str, rows: Array, merged: Array, previous: Array | None) -> Float64:
    """`tally`, with differences and their products rounded to `real`."""
    size = len(merged) * (2 if dtype == "C64" else 1)

    def memory(number: int) -> Array:
        return spare(size, number).view(real)[:size]

    def values(stored: Array, number: int) -> Array:
        return reals(dtype, stored, real, number)

    sums = np.full((len(rows), 3), np.nan)
    result, apart, update = values(merged, 0), memory(1), memory(2)
    if previous is not None:
        np.subtract(result, values(previous, 2), out=update)
        sums[:, 2] = inner(update, update)
    for row, own in zip(rows, sums, strict=True):
        np.subtract(values(row, 1), result, out=apart)
        own[0] = inner(apart, apart)
        if previous is not None:
            own[1] = inner(apart, update)
    return sums


def influences(sums: Float64) -> tuple[Influence, ...]:
    """One a model, from the sums (n, 3) over all blocks."""
    return tuple(
        Influence(_rounded(math.sqrt(apart)), _cosine(apart, across, update)) for apart, across, update in sums.tolist()
    )


def _cosine(apart: float, across: float, update: float) -> float | None:
    """Of the angle between w + u and u."""
    own = apart + 2 * across + update
    if not own > _ROUNDING * (apart + update) or not update > 0:
        return None
    return _rounded(max(-1.0, min(1.0, (across + update) / math.sqrt(own) / math.sqrt(update))))


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
