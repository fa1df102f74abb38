"""The search for the models that a merge has to leave out, once its arithmetic has failed; and the proof of it.

Where models are merged range by range, the site that comes upon a fault does not decide about it. It names the value;
whoever decides judges by that value alone (`is_proven`), and by another model's at the same place where it depends on
that: what all models share is no fault (see `constants`).
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from swarmlearning.merge.arithmetic import FLOATS, Combine, NonFinite, components, weighted_mean
from swarmlearning.merge.constants import combined, same_bits, standing
from swarmlearning.merge.streaming import Block, Models
from swarmlearning.tensors.file import DTYPES, Array, Header

_LARGEST: Final = float(np.finfo(np.float64).max)
_ROUNDING: Final = 1 - 2.0**-40  # of the sum of products that overflows


class Fault(NamedTuple):
    """Why a model has to be left out: its value `at` so many bytes into the data section, which lies in `tensor`.

    It is NaN or infinite; or, `too_large`, the largest where float64 overflows. `witness`: the first contributor by UID
    whose value there is another one, or empty: there is none, and the value is NaN.
    """

    tensor: str
    at: int
    too_large: bool = False
    witness: str = ""

    @property
    def text(self) -> str:
        return f"{self.tensor} (its values are too large to be merged)" if self.too_large else self.tensor


class Faulty(Exception):
    """`faults`: by UID the first fault of each model that has to be left out, before anything is merged."""

    def __init__(self, faults: Mapping[str, Fault]) -> None:
        super().__init__("; ".join(f"{uid}: {fault.text} at {fault.at}" for uid, fault in faults.items()))
        self.faults = dict(faults)


class _Place(NamedTuple):
    """The model of this index, and where its value lies: bytes into the data section."""

    model: int
    at: int
    witness: int | None = None


def find_faults(models: Models, combine: Combine | None) -> dict[str, Fault]:
    """UID -> the first fault of that model. At least one, if `combine` can be made to fail.

    All models with an infinity or NaN of their own; if there is none, the one model with the largest magnitude where
    the sum first overflows. `combine`: None where the method did not get as far. Raises ModelUnreadable.
    """
    found: dict[int, _Place] = {}
    for places in models.in_lanes(partial(_non_finite, models), models.float_blocks):
        found = {place.model: place for place in places} | found
    if found:
        return {models.uids[model]: _fault(models, place) for model, place in sorted(found.items())}
    mean = partial(weighted_mean, coefficients=models.weights)
    for place in models.in_lanes(partial(_too_large, models, combine or mean), models.float_blocks):
        if place is not None:
            return {models.uids[place.model]: _fault(models, place)._replace(too_large=True)}
    return {}


def together(reports: Iterable[Mapping[str, Fault]]) -> dict[str, Fault]:
    """What `find_faults` finds in all ranges at once, from what it has found in each."""
    found = sorted(((fault.at, uid, fault) for report in reports for uid, fault in report.items()), reverse=True)
    non_finite = {uid: fault for _, uid, fault in found if not fault.too_large}
    return dict(sorted(non_finite.items())) or {uid: fault for _, uid, fault in found[-1:]}


def is_proven(
    fault: Fault,
    header: Header,
    coefficients: Sequence[int],
    start: int,
    chunk: bytes,
    before: bytes | None,
    other: bytes | None = None,
) -> bool:
    """True if this model has to be left out for this value, whatever else the models have; False for any nonsense.

    `chunk`: bytes of the model's data section from `start`, which contain the value. `before`: the same of the previous
    result, None in the first round. `other`: the same of the witness, which is not needed where there is proof without.
    `coefficients`: of all contributors. That a value is too large is judged by whether the sum can overflow when no
    value is larger.
    """
    dtype = _dtype(header, fault)
    if dtype is None:
        return False
    value, previous, witness = (
        None if given is None else _value(dtype, given, fault.at - start) for given in (chunk, before, other)
    )
    if value is None or (before is not None and previous is None) or (other is not None and witness is None):
        return False
    with np.errstate(all="ignore"):
        if fault.too_large:
            largest = np.abs(components(dtype, value).astype(np.float64)).max()
            return bool(np.isfinite(largest) and largest >= _LARGEST / sum(coefficients) * _ROUNDING)
        rows = [value] if len(coefficients) == 1 else [value, value if witness is None else witness]
        return bool(standing(dtype, np.vstack(rows), previous).faults[0].any())


def _dtype(header: Header, fault: Fault) -> str | None:
    """The dtype of the value; None where there is none of floats at this place, or not in this tensor."""
    for entry in header.entries:
        if entry.name == fault.tensor and entry.dtype in FLOATS and entry.start <= fault.at < entry.end:
            return entry.dtype if (fault.at - entry.start) % DTYPES[entry.dtype].itemsize == 0 else None
    return None


def _value(dtype: str, data: bytes, at: int) -> Array | None:
    """The element (1,) in the stored dtype so many bytes into the data; None where they do not contain it."""
    size = DTYPES[dtype].itemsize
    return np.frombuffer(data, DTYPES[dtype], 1, at) if 0 <= at <= len(data) - size else None


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
            entry = int(faults[model].argmax())
            others = np.flatnonzero(~same_bits(rows[:, entry], rows[model, entry]))
            witness = int(others[0]) if len(others) else None
            found.setdefault(model, _Place(model, block.start + entry * rows.dtype.itemsize, witness))
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


def _fault(models: Models, place: _Place) -> Fault:
    tensor = next(entry.name for entry in models.header.entries if entry.start <= place.at < entry.end)
    return Fault(tensor, place.at, witness="" if place.witness is None else models.uids[place.witness])
