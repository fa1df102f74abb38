"""Checks of the models that this site trains with, by their bytes and nobody's claim.

A result is the work of another organisation's node: one that the training script could not load, or that would destroy
what it has learned, is not delivered. Entries that are not finite in this site's own model either, or in the previous
result, are as they should be: constants such as a mask of minus infinity, which a merge leaves as they are until every
site has a finite value there.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from swarmlearning.merge.arithmetic import FLOATS, components
from swarmlearning.merge.changes import Coding, Malformed, fill
from swarmlearning.merge.streaming import Block, cut
from swarmlearning.tensors.file import DTYPES, Array, Header, TensorFileError, first_bytes, read_at, read_header
from swarmlearning.tensors.structure import NO_ROLES, Roles, describe_difference, label, structure_digest

Read: TypeAlias = Callable[[int, Array], bool]
"""Puts the bytes of a model's data section from this one on into an array; False where its file is too short."""

_ELEMENTS: Final = 2**17  # a block and its verdicts stay in the processor's cache


def fault_of_result(
    path: Path, structure: str, own: Path | None, before: Path | None = None, roles: Roles = NO_ROLES
) -> str:
    """The reason why a result cannot be trained on, empty when it can.

    `structure`: the digest that the training's models have, with these `roles`. `own`: the model of this site; None:
    there is none, and values are not judged. `before`: the previous result, where it is held. Values that are not
    finite in either of them are expected in the result too. Blocks, for a whole reading of the file.
    """
    try:
        header = read_header(path)
        if structure_digest(header.specs, roles) != structure:
            difference = describe_difference(read_header(own).specs, header.specs) if own else ""
            return f"its structure is not that of this training{difference and ': '}{difference}"
        return _fault_of_values(path, header, [each for each in (own, before) if each]) if own else ""
    except (OSError, TensorFileError) as error:
        return f"it cannot be read: {error}"


def fault_of_own(path: Path, bases: Sequence[Path] = ()) -> str:
    """The first tensor of this site's model that is not finite, else empty.

    Values that are not finite in one of `bases` either, the results that it may have been trained from, are constants.
    Blocks. Raises OSError and `TensorFileError`.
    """
    header = read_header(path)
    return _fault_of_values(path, header, [base for base in bases if read_header(base).specs == header.specs])


def fault_of_change(path: Path, coding: Coding, base: Path) -> str:
    """The first tensor that is not finite in what a coded change gives with its base, as those find it who merge it;
    empty where there is none. Blocks. Raises `Malformed`, OSError and `TensorFileError`.
    """
    header = coding.header
    if first_bytes(path, header.data_start) != first_bytes(base, header.data_start):
        raise Malformed("its header differs from that of the model that it changes", not_finite=False)
    with path.open("rb", buffering=0) as change, base.open("rb", buffering=0) as before:
        gives = partial(fill, coding, change.fileno(), before.fileno())
        return _first_bad(header, gives, [_reader(before.fileno(), header)])


def _fault_of_values(path: Path, header: Header, known: Sequence[Path]) -> str:
    """`known`: models, of the same structure, in whose place values that are not finite are expected."""
    with ExitStack() as files:
        paths = (path, *known)
        read, *others = (_reader(files.enter_context(each.open("rb", buffering=0)).fileno(), header) for each in paths)
        return _first_bad(header, read, others)


def _reader(fd: int, header: Header) -> Read:
    return lambda start, row: read_at(fd, row.data, header.data_start + start)


def _first_bad(header: Header, read: Read, known: Sequence[Read]) -> str:
    """The first tensor with values that no training can work with; empty where there is none.

    Raises OSError, `TensorFileError`, and `Malformed` for a change.
    """
    blocks = [block for block in cut(header, _ELEMENTS) if block.dtype in FLOATS or block.dtype == "BOOL"]
    buffer = np.empty(max((block.size for block in blocks), default=0), np.uint8)
    for block in blocks:
        values = _values(read, block, buffer)
        if _is_plainly_sound(block, values):
            continue
        bad = _bad(block, values)
        if block.dtype in FLOATS and bad.any():
            for each in known:
                bad &= ~_bad(block, _values(each, block, buffer))
        if bad.any():
            return _described(header, block, int(np.flatnonzero(bad)[0]), len(bad))
    return ""


def _values(read: Read, block: Block, buffer: Array) -> Array:
    """The block's values in a type of NumPy's, (m,), in `buffer` where they need no conversion.

    Raises `TensorFileError` when the file has become shorter, and what `read` raises.
    """
    row = buffer[: block.size]
    if not read(block.start, row):
        raise TensorFileError("it became shorter while it was read")
    return components(block.dtype, row.view(DTYPES[block.dtype]))


def _is_plainly_sound(block: Block, values: Array) -> bool:
    """True if the sum of squares shows that all values are finite: a third of the cost of another reduction, and a
    tenth of that of looking at each. False if it overflows, too."""
    if values.dtype not in (np.float32, np.float64):
        return False
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.dot(values, values)))


def _bad(block: Block, values: Array) -> Array:
    """The values that no training can work with, as booleans (m,)."""
    if block.dtype == "BOOL":
        return values.view(np.uint8) > 1  # NumPy computes nonsense with booleans other than 0 and 1
    return ~np.isfinite(values)


def _described(header: Header, block: Block, index: int, count: int) -> str:
    at = block.start + index * (block.size // count)
    entry = next(entry for entry in header.entries if entry.start <= at < entry.end)
    what = "booleans other than 0 and 1" if block.dtype == "BOOL" else "NaN or infinity"
    return f"tensor {label(entry.name)} has {what}"
