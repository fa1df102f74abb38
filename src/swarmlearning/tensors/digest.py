"""The digest of a model: a root over the BLAKE3 digests of its chunks.

The chunk list, stored beside the model, lets a receiver check each chunk as it arrives, resume, fetch chunks from
several holders, and hash in parallel. Its bytes are a domain tag, the model's size, what the format adds, and the chunk
digests; the root is the BLAKE3 of exactly these bytes, so the root alone proves a list, and the list each chunk.

Format 1 cuts the whole file every 8 MiB. Format 2 keeps the header apart, which all models of one structure have in
common, and cuts the data section into at most `MOST_CHUNKS`, each a power of two from 256 KiB up: small enough to share
a model of 25 MB among many sites. The data section begins at a multiple of 8 bytes, so no chunk cuts an element. Which
format names new models is for the network to decide (`ledger/rules.py`); both are read for ever.

A *coded change* of a model (`merge/changes.py`) is named in the same way, under a tag of its own. It has a chunk for
each chunk that the model has in format 2; these are of unequal length, so its chunk list states the length of each. And
it states which model it is a change of, its base: nothing else about the file's bytes tells.
"""

import os
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Final, Literal, TypeAlias

from blake3 import blake3

from swarmlearning.tensors.file import MAX_HEADER, read_at

Format: TypeAlias = Literal[1, 2]
"""Of the names of models."""

CHUNK: Final = 8 * 2**20
"""Bytes of a chunk in format 1."""
LEAST_CHUNK: Final = 2**18
MOST_CHUNKS: Final = 4096
UNSTATED: Final = bytes(32)
"""In a chunk list, the place of a digest that is not known yet."""
_SLICE_DOMAIN: Final = b"swarm-slice-1"
_DOMAINS: Final[dict[Format, bytes]] = {1: b"swarm-model-1", 2: b"swarm-model-2"}
_CODED: Final = b"swarm-coded-1"
_TAG: Final = len(_DOMAINS[1])
DIGEST_BYTES: Final = 32
_PIECE: Final = 2**18  # read and digested while it is in the processor's cache
_SIZE: Final = 4  # bytes that state the length of a chunk of a coded change
_LENGTH: Final = 8  # bytes of a model file that state how long its header is
_ALIGNMENT: Final = 8


class DigestError(Exception):
    """Bytes are not those that a digest names; the text contains which."""


@dataclass(frozen=True)
class Layout:
    """How a model's file is cut into chunks: `size` in bytes, and in format 2 the bytes `header` before the data.

    `lengths`: of a coded change, the bytes of each chunk, the header among them, and `base`: the digest of the model
    that it changes; both are empty otherwise.
    """

    size: int
    header: int | None = None
    lengths: tuple[int, ...] = ()
    base: str = ""

    @property
    def format(self) -> Format:
        return 1 if self.header is None else 2

    @property
    def is_coded(self) -> bool:
        """True of a coded change, False of a model."""
        return bool(self.lengths)

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        return tuple(accumulate(self.lengths))

    @property
    def count(self) -> int:
        """The number of chunks; in format 2 the header is chunk 0."""
        if self.lengths:
            return len(self.lengths)
        if self.header is None:
            return -(-self.size // CHUNK)
        return 1 - (-(self.size - self.header) // self._step)

    @property
    def longest(self) -> int:
        """Bytes of the longest chunk that can be."""
        if self.lengths:
            return max(self.lengths)
        if self.header is None:
            return CHUNK
        return max(self.header, self._step)

    def length(self, chunks: range) -> int:
        """Bytes of a run of chunks."""
        return self.bounds(chunks[-1])[1] - self.bounds(chunks[0])[0] if chunks else 0

    def touched(self, start: int, end: int) -> range:
        """The chunks in which the bytes from `start` to before `end` lie; none for no bytes."""
        return range(self._at(start), self._at(end - 1) + 1) if start < end else range(0)

    def _at(self, offset: int) -> int:
        if self.lengths:
            return bisect_right(self._ends, offset)
        if self.header is None:
            return offset // CHUNK
        if offset < self.header:
            return 0
        return 1 + (offset - self.header) // self._step

    @cached_property
    def _step(self) -> int:
        """Bytes of a chunk of a model's data, but for the last."""
        return CHUNK if self.header is None else chunk_length(self.size - self.header)

    def bounds(self, index: int) -> tuple[int, int]:
        """The first byte of a chunk in the file, and the one behind its last."""
        if self.lengths:
            return self._ends[index] - self.lengths[index], self._ends[index]
        if self.header is None:
            return index * CHUNK, min((index + 1) * CHUNK, self.size)
        if index == 0:
            return 0, self.header
        start = self.header + (index - 1) * self._step
        return start, min(start + self._step, self.size)


@dataclass(frozen=True)
class ModelDigest:
    """`size` in bytes and one 32-byte BLAKE3 digest for each chunk; the last chunk may be shorter than the others.

    `header`: the bytes before the data section, which are chunk 0; None in format 1, which does not tell them apart.
    `lengths`: of a coded change, the bytes of each chunk, and `base`: the digest of the model that it changes; both are
    empty otherwise.
    """

    size: int
    chunks: tuple[bytes, ...]
    header: int | None = None
    lengths: tuple[int, ...] = ()
    base: str = ""

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.size, self.header, self.lengths, self.base)

    @classmethod
    def unstated(cls, layout: Layout) -> "ModelDigest":
        """That of a model none of whose chunks is known."""
        return cls(layout.size, (UNSTATED,) * layout.count, layout.header, layout.lengths, layout.base)

    @classmethod
    def partly_stated(cls, layout: Layout, chunks: range, digests: bytes) -> "ModelDigest":
        """That of a model of which these chunks are known, with their digests one after another."""
        known = list(cls.unstated(layout).chunks)
        known[chunks.start : chunks.stop] = _split(digests, DIGEST_BYTES)
        return cls(layout.size, tuple(known), layout.header, layout.lengths, layout.base)

    @property
    def stated(self) -> bool:
        """True if the digests of all chunks are known."""
        return UNSTATED not in self.chunks

    @property
    def root(self) -> str:
        """The model's name: 64 lower-case hex digits."""
        return blake3(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """The chunk list: domain tag, size as u64 little-endian, in format 2 `header` as u32, chunk digests; of a coded
        change, the base's digest and the length of each chunk as u32 before these."""
        header = b"" if self.header is None else self.header.to_bytes(4, "little")
        lengths = b"".join(length.to_bytes(4, "little") for length in self.lengths)
        tag = _CODED if self.lengths else _DOMAINS[self.layout.format]
        base = bytes.fromhex(self.base)
        return tag + self.size.to_bytes(8, "little") + header + base + lengths + b"".join(self.chunks)

    @classmethod
    def from_bytes(cls, data: bytes) -> "ModelDigest":
        """The inverse of `to_bytes`; raises DigestError on anything else. Compare `root` before trusting it."""
        if data[:_TAG] == _CODED:
            return cls._coded(data)
        known: dict[bytes, Format] = {tag: number for number, tag in _DOMAINS.items()}
        found = known.get(data[:_TAG])
        if found is None:
            raise DigestError(f"not a chunk list: does not begin with {_DOMAINS[2].decode()!r}, or that of format 1")
        size, rest = int.from_bytes(data[_TAG : _TAG + 8], "little"), data[_TAG + 8 :]
        header = None
        if found == 2:
            header, rest = int.from_bytes(rest[:4], "little"), rest[4:]
            _require_header(header, size)
        if len(data) < _TAG + 8 or len(rest) != Layout(size, header).count * DIGEST_BYTES:
            raise DigestError(f"chunk list of {len(data)} bytes does not fit a model of {size} bytes")
        return cls(size, _split(rest, DIGEST_BYTES), header)

    @classmethod
    def _coded(cls, data: bytes) -> "ModelDigest":
        size, header = (int.from_bytes(data[_TAG + at : _TAG + end], "little") for at, end in ((0, 8), (8, 12)))
        base, rest = data[_TAG + 12 : _TAG + 12 + DIGEST_BYTES], data[_TAG + 12 + DIGEST_BYTES :]
        count = len(rest) // (_SIZE + DIGEST_BYTES)
        lengths = tuple(int.from_bytes(each, "little") for each in _split(rest[: count * _SIZE], _SIZE))
        _require_header(header, size)
        fits = len(rest) == count * (_SIZE + DIGEST_BYTES) and 1 <= count <= 1 + MOST_CHUNKS
        if not fits or lengths[0] != header or 0 in lengths or sum(lengths) != size:
            raise DigestError(f"chunk list of {len(data)} bytes does not fit a coded change of {size} bytes")
        return cls(size, _split(rest[count * _SIZE :], DIGEST_BYTES), header, lengths, base.hex())


def digest_file(path: Path, threads: int = 2, format: Format = 1) -> ModelDigest:
    """Digest a file chunk by chunk in `threads` threads, with one piece of memory each.

    Raises OSError, and DigestError when the file becomes shorter meanwhile, or, in format 2, when it is no model file.
    """
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        layout = Layout(size, _header_of(file.fileno(), size) if format == 2 else None)
    return digest_laid_out(path, layout, threads)


def digest_laid_out(path: Path, layout: Layout, threads: int = 2) -> ModelDigest:
    """The same for a file that is cut in a known way, as coded changes are; of a longer file, the beginning."""
    lanes = max(1, min(threads, layout.count))
    with path.open("rb", buffering=0) as file:
        fd = file.fileno()

        def lane(first: int) -> list[bytes]:
            buffer = memoryview(bytearray(min(_PIECE, layout.size)))
            return [_digest(fd, *layout.bounds(index), buffer) for index in range(first, layout.count, lanes)]

        by_lane: Sequence[list[bytes]]
        try:
            if lanes == 1:
                by_lane = [lane(0)]
            else:
                with ThreadPoolExecutor(lanes) as pool:
                    by_lane = list(pool.map(lane, range(lanes)))
        except DigestError as error:
            raise DigestError(f"{path}: {error}") from None
    chunks = tuple(by_lane[index % lanes][index // lanes] for index in range(layout.count))
    return ModelDigest(layout.size, chunks, layout.header, layout.lengths, layout.base)


def digest_chunk(fd: int, layout: Layout, index: int) -> bytes:
    """The digest of one chunk of an open file. Raises OSError, and DigestError when the file is shorter."""
    start, end = layout.bounds(index)
    return _digest(fd, start, end, memoryview(bytearray(min(_PIECE, end - start))))


def is_named(path: Path, root: str) -> bool:
    """True if this is the model of that name, in whichever format the name is. Raises OSError."""
    for format in _DOMAINS:
        try:
            if digest_file(path, format=format).root == root:
                return True
        except DigestError:
            continue
    return False


def slice_root(info: ModelDigest, chunks: range) -> str:
    """The name of a run of chunks, for whoever states that these bytes lie at this place of a model so large."""
    header = (info.header or 0).to_bytes(4, "little")
    place = info.size.to_bytes(8, "little") + header + chunks.start.to_bytes(4, "little")
    return blake3(_SLICE_DOMAIN + place + b"".join(info.chunks[chunks.start : chunks.stop])).hexdigest()


def _split(data: bytes, size: int) -> tuple[bytes, ...]:
    return tuple(data[at : at + size] for at in range(0, len(data), size))


def chunk_length(data: int) -> int:
    """Bytes of a chunk of format 2, but for the last, where the data section has `data` bytes."""
    length = LEAST_CHUNK
    while length * MOST_CHUNKS < data:
        length *= 2
    return length


def _digest(fd: int, start: int, end: int, buffer: memoryview) -> bytes:
    hasher = blake3()
    for at in range(start, end, _PIECE):
        piece = buffer[: end - at]
        if not read_at(fd, piece, at):
            raise DigestError("became shorter while it was read")
        hasher.update(piece)
    return hasher.digest()


def _header_of(fd: int, size: int) -> int:
    """The bytes before the data section of a model file. Raises DigestError when it is none."""
    start = memoryview(bytearray(_LENGTH))
    if not read_at(fd, start, 0):
        raise DigestError(f"no model file: {size} bytes are no header")
    header = _LENGTH + int.from_bytes(start, "little")
    _require_header(header, size)
    return header


def _require_header(header: int, size: int) -> None:
    if not _LENGTH <= header <= min(size, _LENGTH + MAX_HEADER) or header % _ALIGNMENT:
        raise DigestError(f"no model file: its header cannot have {header} of {size} bytes")
