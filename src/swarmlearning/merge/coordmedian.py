"""The weighted median of each coordinate.

The values of a coordinate are sorted with their weights. The median is the first whose cumulative weight
exceeds half of the total; where a cumulative weight is exactly half, it is the average of that value and the
next, rounded as a mean. With equal weights: the middle value, or the average of the two middle ones.

Floats are compared as integers in the same order (sign and magnitude turned into two's complement). That is
fast, and exact about what the comparison of floats leaves open: -0.0 lies below 0.0, NaN beyond the infinities.
"""

from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from swarmlearning.merge.arithmetic import FLOATS, NonFinite, narrow, weighted_mean
from swarmlearning.merge.streaming import Models, Plan
from swarmlearning.tensors.file import DTYPES, Array

_KEYS = {"F64": np.int64, "F32": np.int32, "BF16": np.int16, "F16": np.int16}


def coordmedian(models: Models) -> Plan:
    return Plan(partial(_median, weights=models.weights))


class _Pair(NamedTuple):
    """Of each coordinate's keys the two that the median is the average of, often the same."""

    low: Array
    high: Array


def _median(dtype: str, rows: Array, weights: Sequence[int]) -> Array:
    """`rows` (n, m) in the stored dtype -> (m,); raises NonFinite."""
    if dtype == "C64":  # the components are coordinates of their own
        return _median("F32", rows.view(np.float32), weights).view(DTYPES[dtype])
    keys = _to_keys(dtype, rows)
    if dtype in FLOATS:
        _check_finite(dtype, keys)
    equal = len(set(weights)) == 1
    low, high = _middle_of_equals(keys) if equal else _middle(keys, weights)
    if low is high or np.array_equal(low, high):
        return _from_keys(dtype, low)
    return weighted_mean(dtype, (_from_keys(dtype, low), _from_keys(dtype, high)), (1, 1))


def _to_keys(dtype: str, rows: Array) -> Array:
    """Integers in the order of the values, as a new array."""
    if dtype in FLOATS:
        return _turned(rows.view(_KEYS[dtype]))
    return np.not_equal(rows.view(np.uint8), 0).view(np.uint8) if dtype == "BOOL" else rows.copy()


def _from_keys(dtype: str, keys: Array) -> Array:
    """The inverse of `_to_keys`, as a new array."""
    return (_turned(keys) if dtype in FLOATS else keys.copy()).view(DTYPES[dtype])


def _turned(bits: Array) -> Array:
    """Sign and magnitude into two's complement, or back: in negative numbers all bits but the sign change."""
    turned: Array = bits >> (8 * bits.itemsize - 1)
    turned &= np.iinfo(bits.dtype).max
    turned ^= bits
    return turned


def _check_finite(dtype: str, keys: Array) -> None:
    """Raises NonFinite when there is a NaN or an infinity."""
    infinity = _to_keys(dtype, narrow(dtype, np.array([np.inf])))[0]
    if keys.max() >= infinity or keys.min() <= ~infinity:
        raise NonFinite(((keys >= infinity) | (keys <= ~infinity)).any(axis=0))


def _middle_of_equals(keys: Array) -> _Pair:
    """For equal weights: minima and maxima over whole blocks, as far as the middle depends on them; uses up `keys`."""
    count = len(keys)
    rows = list(keys)
    spare = np.empty_like(rows[0])
    for i, j, lower, upper in _selection_network(count):
        if lower and upper:
            np.minimum(rows[i], rows[j], out=spare)
            np.maximum(rows[i], rows[j], out=rows[j])
            rows[i], spare = spare, rows[i]
        elif lower:
            np.minimum(rows[i], rows[j], out=rows[i])
        else:
            np.maximum(rows[i], rows[j], out=rows[j])
    return _Pair(rows[(count - 1) // 2], rows[count // 2])


@cache
def _selection_network(count: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """The steps (i, j, whether the minimum at i is needed, whether the maximum at j is) of a sorting network on which
    the one or two values in the middle depend."""
    needed = {(count - 1) // 2, count // 2}
    steps = []
    for i, j in reversed(list(_sorting_network(count))):
        if {i, j} & needed:
            steps.append((i, j, i in needed, j in needed))
            needed |= {i, j}
    return tuple(reversed(steps))


def _sorting_network(count: int) -> Iterator[tuple[int, int]]:
    """Pairs (i, j), i < j, to compare and exchange in turn: Batcher's merge exchange.

    D. Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M.
    """
    highest = 1 << (count - 1).bit_length() >> 1
    power = highest
    while power:
        step, distance, phase = highest, power, 0
        while True:
            yield from ((i, i + distance) for i in range(count - distance) if i & power == phase)
            if step == power:
                break
            distance, step, phase = step - power, step >> 1, power
        power >>= 1


def _middle(keys: Array, weights: Sequence[int]) -> _Pair:
    """For any weights: the network carries them along with their keys; twice their sum fits 32 bits (`GRID`).

    Values are chosen by a ^ (a ^ b)·mask: np.where takes ten times as long on masks that no processor can predict.
    """
    rows = list(keys)
    carried = [np.full(len(rows[0]), weight, np.int32) for weight in weights]
    for i, j in _sorting_network(len(rows)):
        swap = rows[i] > rows[j]
        rows[i], rows[j] = np.minimum(rows[i], rows[j]), np.maximum(rows[i], rows[j])
        change = (carried[i] ^ carried[j]) * swap
        carried[i] ^= change
        carried[j] ^= change
    total = sum(weights)
    low, high = rows[-1].copy(), rows[-1].copy()
    twice_above = np.zeros(len(low), np.int32)
    for row, weight in zip(reversed(rows), reversed(carried), strict=True):
        low ^= (low ^ row) * (twice_above <= total)  # at least half of the weight lies up to here
        high ^= (high ^ row) * (twice_above < total)  # more than half
        twice_above += 2 * weight
    return _Pair(low, high)
