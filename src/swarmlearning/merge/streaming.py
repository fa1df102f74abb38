"""Passing over many model files at once, block by block, in bounded memory.

All models of a merge have equal headers (there is one layout a structure), so a block is the same bytes of each
file, and tensors of one dtype, which lie side by side, are one run: element-wise work needs no tensor boundaries.
Blocks are read into reused buffers rather than mapped, since mapped pages would count as memory of the process.

A pass is cut into a fixed number of lanes of consecutive blocks. Threads take lanes; whatever a lane adds up is
combined in the order of the lanes, so a pass gives the same for any number of threads.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby, pairwise
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np

from swarmlearning.merge.arithmetic import FLOATS, Combine, Float64
from swarmlearning.merge.changes import Coding, Malformed, fill
from swarmlearning.merge.constants import combined
from swarmlearning.merge.selfcheck import require_same_bits
from swarmlearning.tensors.file import DTYPES, Array, Header, amend, overwrite, read_at, write_at

Result = TypeVar("Result")

OnRead = Callable[[int], None]
"""Called with the bytes read since the last time, in any thread: how a merge shows that it gets on."""

LANES: Final = 8
THREADS: Final = 4
"""At most: beyond, memory is the limit, and each thread has blocks of its own."""

ALIGNMENT: Final = 8
"""Bytes. The data section begins at a multiple of it, and tensors lie in it by falling size of their elements, none of
which has more bytes: so no cut at a multiple of it goes through an element."""

_ELEMENTS: Final = 2**19  # of all models together: a few MB, near the caches
_FEWEST: Final = 2**15  # of one model: below, two threads hinder each other more than they help
_MOST: Final = 2**20  # of all models together, so that memory stays bounded for any number of them


class ModelUnreadable(Exception):
    """A model file cannot be read to its end; `uid` is None for the previous result."""

    def __init__(self, uid: str | None, reason: str) -> None:
        super().__init__(reason)
        self.uid = uid
        self.reason = reason


class ModelMalformed(ModelUnreadable):
    """A coded change is not coded as one can be; `reason` names tensor and block. `not_finite`: its site says that its
    model is not finite there."""

    def __init__(self, uid: str | None, reason: str, not_finite: bool) -> None:
        super().__init__(uid, reason)
        self.not_finite = not_finite


class Block(NamedTuple):
    """`size` bytes of one dtype, `start` bytes into the data section of each model."""

    dtype: str
    start: int
    size: int


class Range(NamedTuple):
    """Bytes `start` to before `stop` of the data section: both multiples of `ALIGNMENT`, or its end."""

    start: int
    stop: int


@dataclass(frozen=True)
class Models:
    """The models to merge, open, in UID order, all of one `header`; every weight is positive.

    `files` are their descriptors, `previous` that of the last merged model (None in the first round). `part`: what is
    merged of them, None for all; nothing else is read, and coefficients given for a part may be 0. `coded`: the models
    whose files are changes of the previous one, coded so: all read what these stand for.
    """

    uids: tuple[str, ...]
    weights: tuple[int, ...]
    header: Header
    files: tuple[int, ...]
    previous: int | None
    threads: int = 2
    on_read: OnRead = lambda size: None
    part: Range | None = None
    coded: Mapping[str, Coding] = field(default_factory=dict)

    @property
    def range(self) -> Range:
        return self.part or Range(0, self.header.data_size)

    @property
    def blocks(self) -> list[Block]:
        return cut(self.header, block_elements(len(self.files)), self.part)

    @property
    def float_blocks(self) -> list[Block]:
        return [block for block in self.blocks if block.dtype in FLOATS]

    def buffer(self, blocks: Sequence[Block]) -> Array:
        """Memory for the `rows` of each of these blocks in turn."""
        return np.empty(len(self.files) * max(block.size for block in blocks), np.uint8)

    def rows(self, block: Block, buffer: Array) -> Array:
        """The block of each model as an array (n, m) of the stored dtype, inside `buffer`.

        Raises ModelUnreadable.
        """
        raw = buffer[: len(self.files) * block.size].reshape(len(self.files), block.size)
        for uid, fd, row in zip(self.uids, self.files, raw, strict=True):
            self._fill(row, fd, block, uid)
        self.on_read(raw.nbytes)
        return raw.view(DTYPES[block.dtype])

    def before(self, block: Block) -> Array | None:
        """The block of the last merged model (m,), a new array; None in the first round. Raises ModelUnreadable."""
        if self.previous is None:
            return None
        row = np.empty(block.size, np.uint8)
        self._fill(row, self.previous, block, None)
        return row.view(DTYPES[block.dtype])

    def _fill(self, row: Array, fd: int, block: Block, uid: str | None) -> None:
        try:
            if uid is not None and uid in self.coded and self.previous is not None:
                complete = fill(self.coded[uid], fd, self.previous, block.start, row)
            else:
                complete = read_at(fd, row.data, self.header.data_start + block.start)
        except OSError as error:
            raise ModelUnreadable(uid, f"{error.strerror}") from error
        except Malformed as error:
            raise ModelMalformed(uid, str(error), error.not_finite) from error
        if not complete:
            raise ModelUnreadable(uid, "became shorter while it was read")

    def in_lanes(self, work: Callable[[Sequence[Block]], Result], blocks: Sequence[Block]) -> list[Result]:
        """`work` on each lane of consecutive blocks; results in the order of the lanes.

        Raises `DifferentArithmetic` where a thread does not compute as others do.
        """
        bounds = [len(blocks) * lane // LANES for lane in range(LANES + 1)]
        lanes = [blocks[start:end] for start, end in pairwise(bounds) if end > start]

        def quietly(lane: Sequence[Block]) -> Result:
            require_same_bits()
            with np.errstate(all="ignore"):  # what is not finite is found by looking
                return work(lane)

        if self.threads == 1 or len(lanes) <= 1:
            return [quietly(lane) for lane in lanes]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(quietly, lanes))


Tally = Callable[[Block, Array, Array], Float64]
"""(block, its rows (n, m), the merged (m,)) -> sums over the block."""


class Plan(NamedTuple):
    """A merge to carry out element by element, and the coefficients to record, if the method has some."""

    combine: Combine
    coefficients: tuple[int, ...] = ()


def block_elements(models: int) -> int:
    """Elements of one model in a block."""
    return max(1, min(max(_FEWEST, _ELEMENTS // models), _MOST // models))


def processors() -> int:
    """Threads to merge with on this machine."""
    return max(1, min(THREADS, os.cpu_count() or 1))


def cut(header: Header, elements: int, part: Range | None = None) -> list[Block]:
    """The data section, or this part of it, in blocks of at most so many elements."""
    first, last = part or (0, header.data_size)
    blocks = []
    for dtype, run in groupby(header.entries, key=lambda entry: entry.dtype):
        entries = list(run)
        start, end = max(entries[0].start, first), min(entries[-1].end, last)
        step = elements * DTYPES[dtype].itemsize
        blocks += [Block(dtype, at, min(step, end - at)) for at in range(start, end, step)]
    return blocks


def float_values(header: Header, part: Range | None = None) -> int:
    """Real numbers of one model in its tensors of floats, or in this part of them: two for each complex one."""
    whole = cut(header, header.file_size, part)
    sizes = {block.dtype: block.size // DTYPES[block.dtype].itemsize for block in whole if block.dtype in FLOATS}
    return sum(sizes.values()) + sizes.get("C64", 0)


def build(models: Models, combine: Combine, out: Path, tally: Tally | None = None) -> Float64 | None:
    """Write the merged model, and give the sum of `tally` over all blocks (None: there is none).

    Raises NonFinite, ModelUnreadable, and TensorFileError when `out` fails.
    """
    with overwrite(out, models.header.specs) as (fd, _):
        return _fill(models, combine, fd, tally)


def build_part(models: Models, combine: Combine, out: Path, tally: Tally | None = None) -> Float64 | None:
    """The same for a part of the models: nothing else of `out` is written."""
    with amend(out, models.header) as fd:
        return _fill(models, combine, fd, tally)


def _fill(models: Models, combine: Combine, fd: int, tally: Tally | None) -> Float64 | None:
    def lane(blocks: Sequence[Block]) -> list[Float64]:
        buffer = models.buffer(blocks)
        sums: list[Float64] = []
        for block in blocks:
            rows = models.rows(block, buffer)
            merged = combined(combine, block.dtype, rows, partial(models.before, block))
            write_at(fd, merged.view(np.uint8).data, models.header.data_start + block.start)
            if tally is not None:
                sums = [sum(sums, tally(block, rows, merged))]
        return sums

    tallied = list(chain.from_iterable(models.in_lanes(lane, models.blocks)))
    return sum(tallied[1:], tallied[0]) if tallied else None
