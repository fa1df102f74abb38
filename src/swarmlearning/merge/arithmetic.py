"""Element-wise arithmetic that gives the same bits on every machine.

Only IEEE 754 operations that are exactly specified (add, multiply, divide, convert), each applied to whole arrays
in the order of the models: no BLAS, no reductions whose order depends on the machine, no fused operations.

Bound for floats: with coefficients that sum to at most `GRID`, products of 16- and 32-bit floats are exact in
float64, so the result is the exact weighted mean but for one rounding to the dtype and (n + 1)·2⁻⁵³ of the mean
magnitude before it. Equal models give exactly that model. For F64 each product is rounded as well; sums beyond
1.8e308 are an error. Integers are exact, rounded half to even; booleans are the integers 0 and 1, so a majority
wins and a tie gives False.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from swarmlearning.tensors.file import DTYPES, Array

Float32 = np.ndarray[Any, np.dtype[np.float32]]
Float64 = np.ndarray[Any, np.dtype[np.float64]]
Real: TypeAlias = type[np.float32] | type[np.float64]

GRID: Final = 2**29
"""Largest sum of coefficients: 24 bits of a float32 and 29 bits of a coefficient fill the 53 bits of a float64."""

FLOATS: Final = frozenset({"F64", "C64", "F32", "BF16", "F16"})


Combine = Callable[[str, Array], Array]
"""(dtype tag, rows (n, m) of the stored dtype, one a model) -> (m,) of the stored dtype, a new array. The rows are not
to be changed. It raises NonFinite when they, or what is computed from them, hold NaN or infinity."""


class NonFinite(Exception):
    """A block of the models or of their result holds NaN or infinity.

    `at` (m,) or, of complex numbers, (2m,): where; None where that is not known.
    """

    def __init__(self, at: Array | None = None) -> None:
        super().__init__("NaN or infinity")
        self.at = at

    def entries(self, count: int) -> Array:
        """The values at fault among a block's `count`, as booleans (count,); all when that is not known."""
        if self.at is None:
            return np.ones(count, np.bool_)
        return np.asarray(self.at.reshape(count, -1).any(axis=1))


def weighted_mean(dtype: str, rows: Sequence[Array] | Array, coefficients: Sequence[int]) -> Array:
    """Σ kᵢ·xᵢ / Σ kᵢ, element by element, summed in the order given.

    `rows`: one array (m,) a model, in the stored dtype `DTYPES[dtype]`, as is the result (m,). `coefficients`:
    non-negative, their sum positive and at most `GRID`. Complex numbers are merged component-wise. Raises NonFinite.
    """
    if dtype not in FLOATS:
        return _integer_mean(dtype, rows, coefficients)
    size = len(rows[0]) * (2 if dtype == "C64" else 1)
    total, values = spare(size, 0), spare(size, 1)
    empty = True
    for row, coefficient in zip(rows, coefficients, strict=True):
        target = total if empty and coefficient else values
        widen(dtype, row, target)
        if coefficient == 0:
            # Only looked at: adding 0·x would turn a result of -0.0 into 0.0.
            check_finite(target)
            continue
        if coefficient != 1:
            np.multiply(target, coefficient, out=target)
        if not empty:
            np.add(total, values, out=total)
        empty = False
    np.divide(total, sum(coefficients), out=total)
    check_finite(total)
    return narrow(dtype, total)


class _Memory(threading.local):
    """Each thread's own."""

    def __init__(self) -> None:
        self.kept: dict[int, Float64] = {}


_memory = _Memory()


def spare(size: int, number: int) -> Float64:
    """This thread's array of that number, (size,), with whatever is in it.

    Used again for every block: new memory of this size would come as pages to be zeroed, which takes longer than the
    arithmetic in it. Numbers 0 and 1 are `weighted_mean`'s.
    """
    kept = _memory.kept.get(number)
    if kept is None or len(kept) < size:
        kept = _memory.kept[number] = np.empty(size)
    return kept[:size]


def check_finite(values: Float64) -> None:
    """Raises NonFinite when there is a NaN or an infinity."""
    finite = np.isfinite(values)
    if not finite.all():
        raise NonFinite(~finite)


def widen(dtype: str, stored: Array, out: Float64 | None = None) -> Float64:
    """The same values as float64, two for each complex number: in `out`, or else a new array."""
    values = components(dtype, stored)
    if out is None:
        return values.astype(np.float64)
    out[:] = values
    return out


def components(dtype: str, stored: Array) -> Array:
    """The same values in a type of NumPy's: two for each complex number, bfloat16 as float32 in a new array."""
    if dtype == "BF16":
        bits = stored.astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32)
    return stored.view(np.float32) if dtype == "C64" else stored


def reals(dtype: str, stored: Array, real: Real, number: int) -> Array:
    """The same values as `real`, of float64 as they are; what has to be converted lies in `spare` memory `number`."""
    values = components(dtype, stored)
    if values.dtype in (real, np.float64):
        return values
    converted = spare(values.size, number).view(real)[: values.size].reshape(values.shape)
    converted[:] = values
    return converted


def narrow(dtype: str, values: Float64) -> Array:
    """The inverse of `widen`: each value rounded once, to the nearest of the dtype, half to even."""
    if dtype == "BF16":
        return _to_bfloat16(values)
    if dtype == "C64":
        return values.astype(np.float32).view(np.complex64)
    return values.astype(DTYPES[dtype])


def _to_bfloat16(values: Float64) -> Array:
    """By way of a float32 rounded to odd, whose last bit says "not exact": so the second rounding is the only one.

    S. Boldo, G. Melquiond: Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd (2008).
    """
    single = values.astype(np.float32)
    bits = single.view(np.uint32)
    bits -= np.abs(single) > np.abs(values)  # towards zero: sign and magnitude, so one less in either sign
    bits |= single != values
    bits += 0x7FFF + ((bits >> 16) & 1)
    return (bits >> 16).astype(np.uint16)


def _integer_mean(dtype: str, rows: Sequence[Array] | Array, coefficients: Sequence[int]) -> Array:
    """Exact in 64-bit integers: the upper and lower 32 bits are summed apart, and divided as in long division."""
    wide = np.dtype(np.uint64 if dtype == "U64" else np.int64)
    high = np.zeros(len(rows[0]), wide)
    low = np.zeros(len(rows[0]), wide)
    for row, coefficient in zip(rows, coefficients, strict=True):
        values = (row.view(np.uint8) != 0 if dtype == "BOOL" else row).astype(wide)
        high += (values >> 32) * coefficient
        low += (values & 0xFFFFFFFF) * coefficient
    total = sum(coefficients)
    quotient, rest = np.divmod(high, total)
    carried, rest = np.divmod(rest * 2**32 + low, total)
    result = quotient * 2**32 + carried
    result += ((2 * rest > total) | ((2 * rest == total) & (result % 2 == 1))).astype(wide)
    return result.astype(DTYPES[dtype])
