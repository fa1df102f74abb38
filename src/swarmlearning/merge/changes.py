"""Coded changes: what a site has made of a round's base, in a file with far fewer bytes than a model.

Chunk k of a change codes chunk k of the model (format 2 of `tensors/digest.py`), so any range of it can be fetched and
decoded by itself. The file is the model's header, then each chunk's tensors in their order, one after another. Coded
are tensors of floats with two dimensions or more and at least `LEAST` values, by `coding` and beginning anew at each
tensor and chunk; all others (integers, booleans, biases, what normalises) are there as they are, and so are those that
the script calls buffers.

What is merged is the model that the change stands for: round(base + change), in the tensor's dtype, the same to the bit
for everybody. What is not finite in the base stays as it is.

A site's *residual* is what coding has left out, one float32 for each coded value: it is added to the next change.
"""

import math
from bisect import bisect_right
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Final, NamedTuple

import numpy as np

from swarmlearning.choices import Transfer
from swarmlearning.merge.arithmetic import FLOATS, Float64, narrow, widen
from swarmlearning.merge.coding import BLOCK, BadCodes, code_bytes, coded_size, decode, encode, scales_before
from swarmlearning.merge.constants import finite
from swarmlearning.tensors.digest import Layout
from swarmlearning.tensors.file import DTYPES, Array, Entry, Header, read_at
from swarmlearning.tensors.structure import label

LEAST: Final = 1024
"""Values: tensors with fewer are not coded."""

RESIDUAL: Final = np.dtype("<f4")
"""Of each value of a residual."""

CODABLE: Final = FLOATS - {"C64"}


class Malformed(Exception):
    """A change is coded as none can be; the text names tensor and block. `not_finite`: its site says that its model
    is not finite there, or too large to be coded."""

    def __init__(self, text: str, not_finite: bool) -> None:
        super().__init__(text)
        self.not_finite = not_finite


class Piece(NamedTuple):
    """A tensor's part of a chunk: bytes `start` to before `stop` of the data section; `at` is its place in the change's
    file. `residual`: the place of its first value among all coded ones, -1 where it is not coded."""

    entry: Entry
    start: int
    stop: int
    at: int
    residual: int

    @property
    def is_coded(self) -> bool:
        return self.residual >= 0

    @property
    def values(self) -> int:
        return (self.stop - self.start) // DTYPES[self.entry.dtype].itemsize


class Coded(NamedTuple):
    """Values as a change of others: their codes, as bytes; the values that base and codes give; and the number of
    blocks that could not be coded."""

    codes: Array
    values: Array
    kept: int


@dataclass(frozen=True)
class Coding:
    """How changes of models with this header are coded. `buffers`: tensors that go as they are, however large."""

    transfer: Transfer
    header: Header
    buffers: frozenset[str] = frozenset()

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """In the order of the file."""
        return tuple(self._pieces())

    @cached_property
    def size(self) -> int:
        """Bytes of the change's file."""
        return sum(self._lengths)

    def layout(self, base: str) -> Layout:
        """How the file of a change of this base is cut into chunks."""
        return Layout(self.size, self.header.data_start, self._lengths, base)

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        """Bytes of each chunk."""
        model = self._model
        lengths = [self.header.data_start, *([0] * (model.count - 1))]
        for piece in self.pieces:
            lengths[model.touched(*_in_file(self.header, piece))[0]] += self._size(piece)
        return tuple(lengths)

    @cached_property
    def coded_values(self) -> int:
        """The number of values that are coded."""
        return sum(piece.values for piece in self.pieces if piece.is_coded)

    @property
    def residual_size(self) -> int:
        """Bytes of the file of a residual."""
        return RESIDUAL.itemsize * self.coded_values

    def between(self, start: int, stop: int) -> Iterator[Piece]:
        """The pieces in which these bytes of the data section lie."""
        first = max(0, bisect_right(self._starts, start) - 1)
        for piece in self.pieces[first:]:
            if piece.start >= stop:
                return
            if piece.stop > start:
                yield piece

    @cached_property
    def _model(self) -> Layout:
        return Layout(self.header.file_size, self.header.data_start)

    @cached_property
    def _starts(self) -> list[int]:
        return [piece.start for piece in self.pieces]

    def _size(self, piece: Piece) -> int:
        return coded_size(self.transfer, piece.values) if piece.is_coded else piece.stop - piece.start

    def _pieces(self) -> Iterator[Piece]:
        at, residual = self.header.data_start, 0
        for entry in self.header.entries:
            coded, start = self._is_coded(entry), entry.start
            while start < entry.end:
                chunk = self._model.touched(self.header.data_start + start, self.header.data_start + start + 1)[0]
                stop = min(entry.end, self._model.bounds(chunk)[1] - self.header.data_start)
                piece = Piece(entry, start, stop, at, residual if coded else -1)
                yield piece
                start, at = stop, at + self._size(piece)
                residual += piece.values if coded else 0

    def _is_coded(self, entry: Entry) -> bool:
        large = len(entry.shape) >= 2 and math.prod(entry.shape) >= LEAST
        return large and entry.dtype in CODABLE and entry.name not in self.buffers


def _in_file(header: Header, piece: Piece) -> tuple[int, int]:
    return header.data_start + piece.start, header.data_start + piece.stop


def coding_of(transfer: Transfer, header: Header, buffers: Collection[str] = ()) -> Coding:
    """How changes of these models are coded."""
    return Coding(transfer, header, frozenset(buffers))


def fill(coding: Coding, change: int, base: int, start: int, row: Array) -> bool:
    """Bytes of the model that a change stands for, from `start` in the data section, into `row`: whole values.

    `change` and `base` are open files, of which only this range is read. Returns False where one of them is too short.
    Raises OSError, and Malformed.
    """
    stop = start + len(row)
    for piece in coding.between(start, stop):
        first, last = max(piece.start, start), min(piece.stop, stop)
        target = row[first - start : last - start]
        if not piece.is_coded:
            complete = _read(change, target, piece.at + first - piece.start)
        else:
            complete = _read(base, target, coding.header.data_start + first)
            complete = complete and _apply(coding, change, piece, first, target)
        if not complete:
            return False
    return True


def _apply(coding: Coding, change: int, piece: Piece, first: int, target: Array) -> bool:
    """Adds a change to some values of the base; False where its file is too short."""
    dtype = piece.entry.dtype
    stored = target.view(DTYPES[dtype])
    skipped = (first - piece.start) // stored.itemsize
    begin = skipped - skipped % BLOCK
    end = min(piece.values, -(-(skipped + len(stored)) // BLOCK) * BLOCK)
    decoded = _decoded(coding.transfer, change, piece, begin, end)
    if decoded is None:
        return False
    stored[:] = moved(dtype, stored, decoded[skipped - begin :][: len(stored)])
    return True


def moved(dtype: str, base: Array, negative: Float64) -> Array:
    """The values that a change stands for, in the stored dtype; `negative` is the change with the other sign."""
    with np.errstate(all="ignore"):
        result = narrow(dtype, widen(dtype, base) - negative)
    usual = finite(dtype, base)
    return result if usual.all() else np.asarray(np.where(usual, result, base))


def coded_back(transfer: Transfer, dtype: str, base: Array, merged: Array) -> Coded:
    """Codes what was merged as a change of the base, these values of a tensor from the beginning of a block on.

    A block that cannot be coded so that its values are finite wherever the base is, is coded as no change.
    """
    before = widen(dtype, base)
    usual = np.isfinite(before)
    change: Float64 = widen(dtype, merged) - before
    change[~usual] = 0.0
    scales, kept = scales_before(len(change)), 0
    while True:
        codes, stands_for = encode(transfer, change)
        wrong = ~np.isfinite(stands_for)
        if not wrong.any():
            values = moved(dtype, base, decode(transfer, codes[:scales], codes[scales:], len(change)))
            wrong = ~finite(dtype, values) & usual
            if not wrong.any():
                return Coded(codes, values, kept)
        blocks = np.unique(np.flatnonzero(wrong) // BLOCK)
        kept += len(blocks)
        for block in blocks:
            change[block * BLOCK : (block + 1) * BLOCK] = 0.0


def _decoded(transfer: Transfer, change: int, piece: Piece, begin: int, end: int) -> Float64 | None:
    """These values of a piece, whole blocks but for its last one, with the other sign; None where the file ends."""
    count = end - begin
    if transfer == "bfloat16":
        scales, codes = np.empty(0, np.uint8), np.empty(2 * count, np.uint8)
        places = (piece.at, piece.at + 2 * begin)
    else:
        scales = np.empty(scales_before(count), np.uint8)
        codes = np.empty(code_bytes(transfer, count), np.uint8)
        places = piece.at + scales_before(begin), piece.at + scales_before(piece.values) + code_bytes(transfer, begin)
    if not all(map(partial(_read, change), (scales, codes), places)):
        return None
    try:
        return decode(transfer, scales, codes, count)
    except BadCodes as error:
        before = (piece.start - piece.entry.start) // DTYPES[piece.entry.dtype].itemsize
        first = before + begin + error.block * BLOCK
        raise Malformed(f"{label(piece.entry.name)}, block of values from {first}: {error}", error.not_finite) from None


def _read(fd: int, row: Array, at: int) -> bool:
    return read_at(fd, row.data, at)
