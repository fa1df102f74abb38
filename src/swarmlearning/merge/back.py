"""The way back: what was merged, as a coded change of the round's base, which all sites make the same model of.

Whoever has merged codes the change from the base to its merge once (`changes` has the file), and takes in the place of
the merge what that stands for: round(base + change), as everybody will who has the base and fetches the change. So all
sites go on from the same bits. What coding leaves out is in nobody's residual: the merger alone would know it, and
nobody could make the same again.

The result has to be finite where the base is. A block that cannot be coded so (a merge that is not finite there, or a
change beyond what the scales, or the tensor's dtype, can say) is coded as no change: there the base stays. It stays,
too, where it is not finite itself.
"""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from swarmlearning.merge.changes import Coding, Piece, coded_back, fill
from swarmlearning.merge.coding import scales_before
from swarmlearning.merge.merging import MergeError
from swarmlearning.merge.selfcheck import require_same_bits
from swarmlearning.merge.streaming import OnRead, Range
from swarmlearning.tensors.file import DTYPES, Array, open_private, read_at, write_at

_STEP: Final = 2**17
"""Values that are coded together: whole blocks."""


def code_back(
    coding: Coding, base: Path, merged: Path, change: Path, part: Range, on_read: OnRead = lambda size: None
) -> int:
    """Codes this range of the data section of `merged`, whole chunks, as a change of `base`, into its place in the file
    `change`; and puts what that stands for in the place of what was merged.

    Returns the number of blocks that could not be coded. Raises MergeError.
    """
    require_same_bits()
    kept = 0
    try:
        with ExitStack() as stack, np.errstate(all="ignore"):
            before = stack.enter_context(base.open("rb", buffering=0))
            file = stack.enter_context(merged.open("r+b", buffering=0))
            out = stack.enter_context(open_private(change))
            for piece in coding.between(part.start, part.stop):
                for begin in range(0, piece.values, _STEP):
                    end = min(begin + _STEP, piece.values)
                    kept += _code(coding, piece, range(begin, end), before, file, out)
                    on_read((end - begin) * DTYPES[piece.entry.dtype].itemsize)
    except OSError as error:
        raise MergeError(f"{error.filename or change}: {error.strerror}") from error
    return kept


def code_model(coding: Coding, base: Path, merged: Path, change: Path, on_read: OnRead = lambda size: None) -> int:
    """The same for all of a model; `change` is overwritten in place if it exists."""
    kept = code_back(coding, base, merged, change, Range(0, coding.header.data_size), on_read)
    try:
        copy_header(coding, base, change)
        os.truncate(change, coding.size)
    except OSError as error:
        raise MergeError(f"{error.filename or change}: {error.strerror}") from error
    return kept


def decode_model(coding: Coding, base: Path, change: Path, out: Path, on_read: OnRead = lambda size: None) -> None:
    """What a change of a model stands for, in `out`, which is overwritten in place if it exists.

    Raises as `decode_back` does.
    """
    decode_back(coding, base, change, out, Range(0, coding.header.data_size), on_read)
    try:
        copy_header(coding, base, out)
        os.truncate(out, coding.header.file_size)
    except OSError as error:
        raise MergeError(f"{error.filename or out}: {error.strerror}") from error


def copy_header(coding: Coding, source: Path, target: Path) -> None:
    """The header that models of a training, and their changes, begin with. Raises OSError."""
    with source.open("rb", buffering=0) as file, target.open("r+b", buffering=0) as out:
        os.pwrite(out.fileno(), file.read(coding.header.data_start), 0)


def decode_back(
    coding: Coding, base: Path, change: Path, out: Path, part: Range, on_read: OnRead = lambda size: None
) -> None:
    """Puts what a change stands for, in this range of the data section, into its place in `out`, the file of a model.

    Raises MergeError, and Malformed for a change that is coded as none can be.
    """
    require_same_bits()
    at = part.start
    try:
        with ExitStack() as stack:
            before = stack.enter_context(base.open("rb", buffering=0))
            coded = stack.enter_context(change.open("rb", buffering=0))
            file = stack.enter_context(open_private(out))
            while at < part.stop:
                row = np.empty(min(DTYPES["F64"].itemsize * _STEP, part.stop - at), np.uint8)
                if not fill(coding, coded.fileno(), before.fileno(), at, row):
                    raise MergeError(f"{change} or {base}: the file is too short")
                write_at(file.fileno(), row.data, coding.header.data_start + at)
                at += len(row)
                on_read(len(row))
    except OSError as error:
        raise MergeError(f"{error.filename or out}: {error.strerror}") from error


def _code(coding: Coding, piece: Piece, values: range, base: BinaryIO, merged: BinaryIO, out: BinaryIO) -> int:
    """Codes some values of a piece, and puts what they stand for in their place; the number of blocks left out."""
    dtype = DTYPES[piece.entry.dtype]
    at = coding.header.data_start + piece.start + values.start * dtype.itemsize
    row = _read(merged, np.empty(len(values) * dtype.itemsize, np.uint8), at)
    if not piece.is_coded:
        write_at(out.fileno(), row.data, piece.at + values.start * dtype.itemsize)
        return 0
    before = _read(base, np.empty(row.nbytes, np.uint8), at)
    made = coded_back(coding.transfer, piece.entry.dtype, before.view(dtype), row.view(dtype))
    scales = scales_before(len(values))
    write_at(out.fileno(), made.codes[:scales].data, piece.at + scales_before(values.start))
    write_at(out.fileno(), made.codes[scales:].data, piece.at + scales_before(piece.values) + values.start)
    write_at(merged.fileno(), np.ascontiguousarray(made.values).view(np.uint8).data, at)
    return made.kept


def _read(file: BinaryIO, row: Array, at: int) -> Array:
    if not read_at(file.fileno(), row.data, at):
        raise MergeError(f"{file.name}: became shorter while it was read")
    return row
