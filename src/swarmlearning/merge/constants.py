"""Entries that are not merged but stand as they are.

Models hold values that nobody trains: an attention mask of -inf, an observer's minimum of +inf before its first batch,
the least float64 as a mask. A mean of such values is undefined or overflows, and yet nothing is wrong with them:

1. What all models share to the bit is the result, whatever it is. A NaN among these must also be the previous
   result's, or be shared by two models at least when there is none: else the models have diverged together.
2. What is infinite or NaN in the previous result stays until every model has a finite value there. So a model with
   a finite value makes no other one unusable.

A model with any other infinity or NaN is at fault.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from swarmlearning.merge.arithmetic import Combine, NonFinite, components
from swarmlearning.tensors.file import Array

Mask = np.ndarray[Any, np.dtype[np.bool_]]


class Standing(NamedTuple):
    """`entries` (m,): which ones stand. `values` (m,): those of them, in the stored dtype; anything elsewhere.
    `faults` (n, m): infinities and NaNs for which a model is to be left out."""

    entries: Mask
    values: Array
    faults: Mask


def standing(dtype: str, rows: Array, before: Array | None) -> Standing:
    """Judges the entries of a block: `rows` (n, m), one a model, and `before` (m,), the previous result's, if any."""
    shared: Mask = np.asarray(same_bits(rows, rows[0]).all(axis=0))
    unusable = ~finite(dtype, rows)
    nan = _nan(dtype, rows[0])
    if before is None:
        entries = shared & ~nan if len(rows) == 1 else shared
        return Standing(entries, rows[0], unusable & ~entries)
    own = same_bits(rows, before)
    shared &= ~nan | own[0]
    kept = unusable.any(axis=0) & ~finite(dtype, before) & (own | ~unusable).all(axis=0)
    entries = shared | kept
    return Standing(entries, np.where(shared, rows[0], before), unusable & ~own & ~entries)


def combined(combine: Combine, dtype: str, rows: Array, before: Callable[[], Array | None]) -> Array:
    """The merged block (m,): what stands as it is, all else by `combine`. Raises NonFinite where neither is possible.

    Only a block whose arithmetic fails is looked at, and only for it is the previous result's read by `before`: nearly
    all are finite, and they cost nothing more.
    """
    try:
        return combine(dtype, rows)
    except NonFinite as failure:
        found = failure.entries(rows.shape[1])
    stands = standing(dtype, rows, before())
    aside = np.zeros(rows.shape[1], np.bool_)
    rest = rows.copy()
    while True:
        if (found & ~stands.entries).any() or not (found & ~aside).any():
            raise NonFinite(found & ~stands.entries)
        aside |= found
        rest[:, aside] = 0
        try:
            merged = combine(dtype, rest)
        except NonFinite as failure:
            found = failure.entries(rows.shape[1])
        else:
            merged[aside] = stands.values[aside]
            return merged


def without_constants(dtype: str, rows: Array, before: Array | None) -> Array:
    """The columns of `rows` (n, m) that do not stand, as a new array."""
    return np.compress(~standing(dtype, rows, before).entries, rows, axis=1)


def same_bits(a: Array, b: Array) -> Mask:
    """True, element by element, where the stored values are the same to the bit; NaNs can be, 0.0 and -0.0 are not."""
    kind = np.dtype(f"u{a.dtype.itemsize}")
    same: Mask = a.view(kind) == b.view(kind)
    return same


def finite(dtype: str, stored: Array) -> Mask:
    """True, element by element, where it is neither NaN nor infinite; of a complex number, neither component."""
    values = np.isfinite(components(dtype, stored)).reshape(*stored.shape, -1)
    return np.asarray(values.all(axis=-1))


def _nan(dtype: str, stored: Array) -> Mask:
    values = np.isnan(components(dtype, stored)).reshape(*stored.shape, -1)
    return np.asarray(values.any(axis=-1))
