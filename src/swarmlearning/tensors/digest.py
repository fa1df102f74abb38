"""The digest of a model: a root over the BLAKE3 digests of its 8 MiB chunks.

The chunk list, stored beside the model, lets a receiver check each chunk as it arrives, resume, fetch chunks from
several holders, and hash in parallel. Its bytes are a domain tag, the model's size and the chunk digests; the root
is the BLAKE3 of exactly these bytes, so the root alone proves a list, and the list each chunk.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

from swarmlearning.tensors.file import read_at

CHUNK: Final = 8 * 2**20
_DOMAIN: Final = b"swarm-model-1"
_DIGEST: Final = 32
_PIECE: Final = 2**18  # read and digested while it is in the processor's cache


class DigestError(Exception):
    """Bytes are not those that a digest names; the text contains which."""


@dataclass(frozen=True)
class ModelDigest:
    """`size` in bytes and one 32-byte BLAKE3 digest for each chunk; the last chunk may be shorter than CHUNK."""

    size: int
    chunks: tuple[bytes, ...]

    @property
    def root(self) -> str:
        """The model's name: 64 lower-case hex digits."""
        return blake3(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """The chunk list: domain tag, size as u64 little-endian, chunk digests."""
        return _DOMAIN + self.size.to_bytes(8, "little") + b"".join(self.chunks)

    @classmethod
    def from_bytes(cls, data: bytes) -> "ModelDigest":
        """The inverse of `to_bytes`; raises DigestError on anything else. Compare `root` before trusting it."""
        if data[: len(_DOMAIN)] != _DOMAIN:
            raise DigestError(f"not a chunk list: does not begin with {_DOMAIN.decode()!r}")
        body = data[len(_DOMAIN) :]
        size = int.from_bytes(body[:8], "little")
        if len(body) != 8 + _chunk_count(size) * _DIGEST:
            raise DigestError(f"chunk list of {len(data)} bytes does not fit a model of {size} bytes")
        return cls(size, tuple(body[at : at + _DIGEST] for at in range(8, len(body), _DIGEST)))


def digest_file(path: Path, threads: int = 2) -> ModelDigest:
    """Digest a file chunk by chunk in `threads` threads, with one piece of memory each.

    Raises OSError, and DigestError when the file becomes shorter meanwhile.
    """
    with path.open("rb", buffering=0) as file:
        fd = file.fileno()
        size = os.fstat(fd).st_size
        count = _chunk_count(size)
        lanes = max(1, min(threads, count))

        def lane(first: int) -> list[bytes]:
            buffer = memoryview(bytearray(min(_PIECE, size)))
            return [chunk(index * CHUNK, buffer) for index in range(first, count, lanes)]

        def chunk(start: int, buffer: memoryview) -> bytes:
            hasher, end = blake3(), min(start + CHUNK, size)
            for at in range(start, end, _PIECE):
                piece = buffer[: end - at]
                if not read_at(fd, piece, at):
                    raise DigestError(f"{path}: became shorter while it was read")
                hasher.update(piece)
            return hasher.digest()

        if lanes == 1:
            return ModelDigest(size, tuple(lane(0)))
        with ThreadPoolExecutor(lanes) as pool:
            by_lane = list(pool.map(lane, range(lanes)))
    return ModelDigest(size, tuple(by_lane[index % lanes][index // lanes] for index in range(count)))


def _chunk_count(size: int) -> int:
    return -(-size // CHUNK)
