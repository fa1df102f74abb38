"""The search for the models that a merge has to leave out, once its arithmetic has failed."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from swarmlearning.merge.arithmetic import Combine, NonFinite, components, weighted_mean
from swarmlearning.merge.constants import combined, standing
from swarmlearning.merge.streaming import Block, Models


class _Place(NamedTuple):
    """The model of this index, and where its value lies: bytes into the data section."""

    model: int
    at: int


def find_faults(models: Models, combine: Combine | None) -> dict[str, str]:
    """UID -> the fault of that model: the first tensor at fault. At least one, if `combine` can be made to fail.

    All models with an infinity or NaN of their own; if there is none, the one model with the largest magnitude where
    the sum first overflows. `combine`: None where the method did not get as far. Raises ModelUnreadable.
    """
    found: dict[int, int] = {}
    for places in models.in_lanes(partial(_non_finite, models), models.float_blocks):
        found = {place.model: place.at for place in places} | found
    if found:
        return {models.uids[model]: _tensor(models, at) for model, at in sorted(found.items())}
    mean = partial(weighted_mean, coefficients=models.weights)
    for place in models.in_lanes(partial(_too_large, models, combine or mean), models.float_blocks):
        if place is not None:
            return {models.uids[place.model]: f"{_tensor(models, place.at)} (its values are too large to be merged)"}
    return {}


def _non_finite(models: Models, blocks: Sequence[Block]) -> list[_Place]:
    """The first fault of each model that has one."""
    found: dict[int, _Place] = {}
    buffer = models.buffer(blocks)
    for block in blocks:
        rows = models.rows(block, buffer)
        if all(np.isfinite(components(block.dtype, row)).all() for row in rows):
            continue
        faults = standing(block.dtype, rows, models.before(block)).faults
        for model in np.flatnonzero(faults.any(axis=1)).tolist():
            at = block.start + int(faults[model].argmax()) * rows.dtype.itemsize
            found.setdefault(model, _Place(model, at))
    return list(found.values())


def _too_large(models: Models, combine: Combine, blocks: Sequence[Block]) -> _Place | None:
    buffer = models.buffer(blocks)
    for block in blocks:
        rows = models.rows(block, buffer)
        try:
            combined(combine, block.dtype, rows, partial(models.before, block))
        except NonFinite as failure:
            entry = int(failure.entries(rows.shape[1]).argmax())
            values = np.abs(components(block.dtype, rows[:, entry].copy())).reshape(len(rows), -1)
            return _Place(int(values.max(axis=1).argmax()), block.start + entry * rows.dtype.itemsize)
    return None


def _tensor(models: Models, at: int) -> str:
    return next(entry.name for entry in models.header.entries if entry.start <= at < entry.end)
