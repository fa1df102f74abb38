"""The outer step of whole models, from files to files, in bounded memory (`outer` has the arithmetic)."""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from swarmlearning.merge.merging import MergeError
from swarmlearning.merge.outer import Outer, is_stepped, itemsizes, momentum_dtype, momentum_specs, stepped
from swarmlearning.merge.selfcheck import require_same_bits
from swarmlearning.merge.streaming import LANES, OnRead, processors
from swarmlearning.tensors.file import (
    DTYPES,
    Array,
    Header,
    TensorFileError,
    overwrite,
    read_at,
    read_header,
    write_at,
)
from swarmlearning.tensors.structure import label

ELEMENTS: Final = 2**16
"""Of a block: a few arrays of so many float64 stay near the caches."""


class _Block(NamedTuple):
    """Bytes `start` to before `stop` of the models' data; `moments`: where what is kept of them begins in the
    momentum's; none of what is taken from the merge as it is. `name`: the tensor's."""

    name: str
    dtype: str
    start: int
    stop: int
    moments: tuple[int, ...]


class _Files(NamedTuple):
    """Descriptors, and where their data sections begin; None in the place of the momentum before the first step."""

    base: tuple[int, int]
    merged: tuple[int, int]
    momentum: tuple[int, int] | None
    out: tuple[int, int]
    out_momentum: tuple[int, int]


class _NotFinite(Exception):
    """Of this tensor; the files are emptied by it."""


def take_step(
    outer: Outer,
    base: Path,
    momentum: Path | None,
    merged: Path,
    parameters: Collection[str],
    out: Path,
    out_momentum: Path,
    *,
    threads: int | None = None,
    elements: int = ELEMENTS,
    on_read: OnRead = lambda size: None,
) -> str:
    """Writes the model after a step, and the momentum after it; both are overwritten in place where they exist.

    `base` and `merged` are models of one structure, `momentum` what a step before has left, None at first. Of the
    tensors that are named in `parameters` those of floats are stepped; all others are those of the merge. Returns the
    name of the first tensor whose step is not finite: then the merge stands, and both files have no content; else
    empty. Memory stays below 64 MB. Raises `MergeError`, and `DifferentArithmetic` where this thread does not compute
    as others do.
    """
    try:
        header = read_header(base)
        if read_header(merged) != header:
            raise MergeError("the merged model has another structure than the base of its round")
        specs = momentum_specs(outer, header.specs, parameters)
        with ExitStack() as stack:
            fd, _ = stack.enter_context(overwrite(out, header.specs))
            kept_fd, kept = stack.enter_context(overwrite(out_momentum, specs))
            files = _Files(
                _opened(stack, base, header),
                _opened(stack, merged, header),
                _opened(stack, momentum, kept) if momentum is not None else None,
                (fd, header.data_start),
                (kept_fd, kept.data_start),
            )
            blocks = list(_blocks(outer, header, kept, parameters, elements))
            if fault := _step_all(outer, blocks, files, threads or processors(), on_read):
                raise _NotFinite(fault)
    except _NotFinite as fault:
        return str(fault)
    except TensorFileError as error:
        raise MergeError(str(error)) from error
    except OSError as error:
        raise MergeError(f"the outer step of {base.name} failed: {error.strerror}") from error
    return ""


def _opened(stack: ExitStack, path: Path, expected: Header) -> tuple[int, int]:
    """Raises `MergeError` for the momentum of another optimizer, or of other parameters."""
    if read_header(path) != expected:
        raise MergeError("the momentum is none of this optimizer and this model's parameters")
    return stack.enter_context(path.open("rb", buffering=0)).fileno(), expected.data_start


def _blocks(outer: Outer, header: Header, kept: Header, parameters: Collection[str], elements: int) -> Iterator[_Block]:
    """All of the data section in order, tensor by tensor; `kept` is the momentum's header."""
    places = {entry.name: entry.start for entry in kept.entries}
    for entry in header.entries:
        size, kept_size = itemsizes(entry.dtype)
        takes_part = is_stepped(entry.name, entry.dtype, parameters)
        moments = [places[moment + entry.name] for moment in outer.moments] if takes_part else []
        for start in range(entry.start, entry.end, elements * size):
            stop, done = min(start + elements * size, entry.end), (start - entry.start) // size
            yield _Block(entry.name, entry.dtype, start, stop, tuple(at + done * kept_size for at in moments))


def _step_all(outer: Outer, blocks: Sequence[_Block], files: _Files, threads: int, on_read: OnRead) -> str:
    """Steps all blocks; returns the name of the first tensor that is not finite then, else empty."""

    def lane(part: Sequence[_Block]) -> str:
        require_same_bits()
        for block in part:
            if not _step(outer, block, files):
                return block.name
            on_read((block.stop - block.start) * (1 + bool(block.moments)))
        return ""

    bounds = [len(blocks) * at // LANES for at in range(LANES + 1)]
    lanes = [blocks[start:stop] for start, stop in pairwise(bounds) if stop > start]
    if threads == 1 or len(lanes) <= 1:
        faults = [lane(each) for each in lanes]
    else:
        with ThreadPoolExecutor(threads) as pool:
            faults = list(pool.map(lane, lanes))
    return next((label(name) for name in faults if name), "")


def _step(outer: Outer, block: _Block, files: _Files) -> bool:
    """False where the step is not finite."""
    merged = _read(files.merged, block.start, block.stop - block.start, block.dtype)
    if not block.moments:
        _write(files.out, block.start, merged)
        return True
    kept = momentum_dtype(block.dtype)
    size = merged.size * DTYPES[kept].itemsize
    before = None if files.momentum is None else [_read(files.momentum, at, size, kept) for at in block.moments]
    done = stepped(outer, block.dtype, _read(files.base, block.start, merged.nbytes, block.dtype), merged, before)
    if done is None:
        return False
    _write(files.out, block.start, done.values)
    for at, each in zip(block.moments, done.moments, strict=True):
        _write(files.out_momentum, at, each)
    return True


def _read(file: tuple[int, int], start: int, size: int, dtype: str) -> Array:
    raw = np.empty(size, np.uint8)
    if not read_at(file[0], raw.data, file[1] + start):
        raise MergeError("a model became shorter while it was stepped")
    return raw.view(DTYPES[dtype])


def _write(file: tuple[int, int], start: int, values: Array) -> None:
    write_at(file[0], values.view(np.uint8).data, file[1] + start)
