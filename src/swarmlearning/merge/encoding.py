"""Writing a coded change (`changes`), with error feedback: what coding leaves out of one change is added to the next.

With the residual e of what was sent before, the change that is coded is c = (model - base) + e, and what is left out of
it, c - (coded model - base), is the next residual; rounding to the tensor's dtype is in it. Without a residual, as for
medians, nothing is added and nothing is kept.

A site that promises a norm (a privacy lock without noise) keeps it: c is made shorter until what it is coded as is no
longer. What is cut off so is in no residual: that holds the error of coding alone.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import numpy as np

from swarmlearning.merge.arithmetic import FLOATS, Float64, widen
from swarmlearning.merge.changes import RESIDUAL, Coding, Piece, moved
from swarmlearning.merge.coding import encode, scales_before
from swarmlearning.merge.selfcheck import require_same_bits
from swarmlearning.merge.streaming import OnRead
from swarmlearning.tensors.file import DTYPES, Array, TensorFileError, open_private, read_at, read_header, write_at

_STEP: Final = 2**17
"""Values that are coded together: whole blocks."""
_MARGIN: Final = 1 - 2.0**-20
"""Of a norm, for what summing may add."""
_TRIALS: Final = 12


class EncodingError(Exception):
    """The change cannot be written, for a reason on this node; the text says which."""


class Residual(NamedTuple):
    """`before`: the file of what was left out until now, None where that is nothing. `after`: where what is left out of
    this change and of all before it is written."""

    before: Path | None
    after: Path


class Lengths(NamedTuple):
    """Euclidean lengths: of the change before coding (without a residual), and of what is left out after it."""

    change: float
    residual: float


def encode_change(
    coding: Coding,
    model: Path,
    base: Path,
    out: Path,
    *,
    residual: Residual | None = None,
    norm: float | None = None,
    on_read: OnRead = lambda size: None,
) -> Lengths:
    """Writes the change from `base` to `model` to `out`, which is overwritten in place if it exists.

    `norm`: the largest length of the change as it is decoded; that of what `model` and `base` are must not be more.
    Raises EncodingError.
    """
    try:
        for path in (model, base):
            if read_header(path) != coding.header:
                raise EncodingError(f"{path}: has another structure than this training")
        require_same_bits()
        with ExitStack() as stack, np.errstate(all="ignore"):
            files = _Files(
                stack.enter_context(model.open("rb", buffering=0)),
                stack.enter_context(base.open("rb", buffering=0)),
                stack.enter_context(residual.before.open("rb", buffering=0)) if residual and residual.before else None,
                stack.enter_context(open_private(out)),
                stack.enter_context(open_private(residual.after)) if residual else None,
            )
            return _Encoder(coding, files, on_read).write(norm)
    except OSError as error:
        raise EncodingError(f"{error.filename or out}: {error.strerror}") from error
    except TensorFileError as error:
        raise EncodingError(str(error)) from error


class _Files(NamedTuple):
    model: BinaryIO
    base: BinaryIO
    before: BinaryIO | None
    out: BinaryIO
    after: BinaryIO | None


@dataclass
class _Squares:
    """Sums of squares: of the change, of the residual after it, and of what is decoded where coded, and elsewhere."""

    change: float = 0.0
    residual: float = 0.0
    coded: float = 0.0
    plain: float = 0.0


class _Encoder:
    def __init__(self, coding: Coding, files: _Files, on_read: OnRead) -> None:
        self._coding = coding
        self._files = files
        self._on_read = on_read

    def write(self, norm: float | None) -> Lengths:
        header = _read(self._files.base, np.empty(self._coding.header.data_start, np.uint8), 0)
        write_at(self._files.out.fileno(), header.data, 0)
        scale, bound = 1.0, math.inf if norm is None else norm * _MARGIN
        for trial in range(_TRIALS):
            sums = self._write(scale)
            if not math.sqrt(sums.coded + sums.plain) > bound:  # what is not finite is left out by all others
                break
            room = math.sqrt(max(0.0, bound**2 - sums.plain))
            scale *= 0.0 if trial == _TRIALS - 2 else min(0.99, 0.99 * room / math.sqrt(sums.coded))
        self._files.out.truncate(self._coding.size)
        if self._files.after:
            self._files.after.truncate(self._coding.residual_size)
        return Lengths(math.sqrt(sums.change), math.sqrt(sums.residual))

    def _write(self, scale: float) -> _Squares:
        sums = _Squares()
        for piece in self._coding.pieces:
            for begin in range(0, piece.values, _STEP):
                end = min(begin + _STEP, piece.values)
                self._code(piece, begin, end, scale, sums) if piece.is_coded else self._copy(piece, begin, end, sums)
        return sums

    def _rows(self, piece: Piece, begin: int, end: int) -> Iterator[Array]:
        """These values of base and model."""
        dtype = DTYPES[piece.entry.dtype]
        at = self._coding.header.data_start + piece.start + begin * dtype.itemsize
        for file in (self._files.base, self._files.model):
            row = _read(file, np.empty((end - begin) * dtype.itemsize, np.uint8), at)
            self._on_read(row.nbytes)
            yield row.view(dtype)

    def _copy(self, piece: Piece, begin: int, end: int, sums: _Squares) -> None:
        base, model = self._rows(piece, begin, end)
        write_at(self._files.out.fileno(), model.view(np.uint8).data, piece.at + begin * model.itemsize)
        if piece.entry.dtype in FLOATS:
            square = _square(_difference(piece.entry.dtype, model, base))
            sums.plain += square
            sums.change += square

    def _code(self, piece: Piece, begin: int, end: int, scale: float, sums: _Squares) -> None:
        base, model = self._rows(piece, begin, end)
        dtype = piece.entry.dtype
        change = _difference(dtype, model, base)
        sums.change += _square(change)
        before = self._before(piece, begin, end)
        if before is not None:
            change += before
        if scale != 1.0:
            change *= scale
        coded, stands_for = encode(self._coding.transfer, change)
        self._put(piece, begin, end, coded)
        decoded = _difference(dtype, moved(dtype, base, -stands_for), base)
        sums.coded += _square(decoded)
        if self._files.after is not None:
            left = np.subtract(change, decoded)
            left[~np.isfinite(left)] = 0.0
            sums.residual += _square(left)
            place = RESIDUAL.itemsize * (piece.residual + begin)
            write_at(self._files.after.fileno(), left.astype(RESIDUAL).view(np.uint8).data, place)

    def _before(self, piece: Piece, begin: int, end: int) -> Float64 | None:
        if self._files.before is None:
            return None
        row = np.empty((end - begin) * RESIDUAL.itemsize, np.uint8)
        values = _read(self._files.before, row, RESIDUAL.itemsize * (piece.residual + begin)).view(RESIDUAL)
        return values.astype(np.float64)

    def _put(self, piece: Piece, begin: int, end: int, coded: Array) -> None:
        fd, transfer = self._files.out.fileno(), self._coding.transfer
        if transfer == "bfloat16":
            write_at(fd, coded.data, piece.at + 2 * begin)
            return
        scales = scales_before(end - begin)
        write_at(fd, coded[:scales].data, piece.at + scales_before(begin))
        codes = piece.at + scales_before(piece.values)
        write_at(fd, coded[scales:].data, codes + (begin // 2 if transfer == "int4" else begin))


def _difference(dtype: str, values: Array, base: Array) -> Float64:
    """values - base, 0 where the base is not finite."""
    before = widen(dtype, base)
    change: Float64 = widen(dtype, values) - before
    usual = np.isfinite(before)
    if not usual.all():
        change[~usual] = 0.0
    return change


def _square(values: Float64) -> float:
    return float(np.einsum("i,i->", values, values))  # no BLAS: its threads would wait for processors


def _read(file: BinaryIO, row: Array, at: int) -> Array:
    if not read_at(file.fileno(), row.data, at):
        raise EncodingError(f"{file.name}: became shorter while it was read")
    return row
