"""The chunks of a model that are here already, while the others still come.

The partial file has the place of every chunk, and a note beside it says which of them are confirmed: of what lies in
the file nothing else counts. After a restart, or when somebody else has written to the file, the chunks that the note
names, and no others, are digested before they are trusted. A confirmed chunk can be served and merged as one of a whole
model.

The digests of all chunks are known from the beginning where the model's name is its root. A result that several sites
merge is kept under another name, that of its recipe, and the digests of its chunks become known one after another
(`state`, `own`); once all are here it is committed under its root.
"""

import contextlib
import errno
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import Final, Protocol

from swarmlearning.models.claims import Claim, Claims, Holding
from swarmlearning.tensors.digest import DigestError, Layout, ModelDigest, digest_chunk
from swarmlearning.tensors.file import read_at, write_at

_COPIED: Final = 2**18  # bytes at a time
_NOTE_SECONDS: Final = 1.0


class WrongChunk(Exception):
    """The bytes are not those of the model; the text names the chunk, which is to be fetched once more."""


class Overtaken(Exception):
    """Another source brings the chunk, or has brought it."""


class Files(Protocol):
    """Where parts lie: the store. Its methods raise `StoreError`."""

    def open_partial(self, info: ModelDigest, name: str = "") -> tuple[FileIO, bool]:
        """The file, read and write, and whether it was begun before."""
        ...

    def partial(self, digest: str) -> Path: ...

    def noted(self, digest: str) -> Path: ...

    def writing(self, path: Path, needed: int) -> AbstractContextManager[None]: ...

    def write_stated(self, name: str, info: ModelDigest) -> None:
        """Keeps what is known of the chunk list of a model whose root is not known."""
        ...


class Parts:
    """Any thread may call. The file is open while somebody uses it (`used`)."""

    def __init__(self, files: Files, name: str, info: ModelDigest) -> None:
        """`info`: with `UNSTATED` for chunks whose digests are not known yet."""
        self.name = name
        self.layout: Layout = info.layout
        self.held = 0
        """Bytes of the chunks that are confirmed."""
        self._files = files
        self._path = files.partial(name)
        self._digests = list(info.chunks)
        self._here = bytearray(self.layout.count)
        self._claims = Claims(self.layout, self._here)
        self._lock = Lock()
        self._opening = Lock()
        self._users = 0
        self._file: FileIO | None = None
        self._left: tuple[int, int, int] | None = None  # the file, as it was when the last user had closed it
        self._noted, self._noted_at = b"", time.monotonic()
        self._restated = False  # digests have become known that are not written down

    @property
    def info(self) -> ModelDigest:
        """The chunk list as far as it is known."""
        layout = self.layout
        return ModelDigest(layout.size, tuple(self._digests), layout.header, layout.lengths, layout.base)

    @property
    def path(self) -> Path:
        """The file, for whoever makes chunks and owns them then."""
        return self._path

    @property
    def complete(self) -> bool:
        return self.held == self.layout.size

    def bitmap(self) -> bytes:
        """Which chunks are here, a bit each; the first one is the highest bit of the first byte."""
        return packed(self._here)

    def has(self, chunks: range) -> bool:
        """True if all these chunks are here."""
        return all(self._here[index] for index in chunks)

    def size_of(self, chunks: range) -> int:
        """Bytes that are here of these chunks."""
        if len(chunks) == len(self._here):
            return self.held
        return sum(self._length(index) for index in chunks if self._here[index])

    def opened_for_reading(self) -> FileIO | None:
        """The file, when some chunk is here; blocks while chunks of an earlier process are digested.

        It stays readable once the model is whole. Raises `StoreError`.
        """
        if not self._users and self._left != self._stat():
            with self.used():
                pass
        try:
            return self._path.open("rb", buffering=0) if self.held else None
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Inside the block the file is open; blocks while chunks of an earlier process are digested.

        Raises `StoreError`, also at the end, where it notes which chunks are confirmed.
        """
        self.open()
        try:
            yield
        finally:
            self.close()

    def open(self) -> None:
        """Begins to use it; `close` ends that. Blocks and raises as `used` does."""
        with self._opening:
            if self._file is None:
                self._file, resumed = self._files.open_partial(self.info, self.name)
                if not resumed or self._left != self._stat():  # of an earlier process, or somebody has changed it
                    self._here[:], self.held = bytes(len(self._here)), 0
                    if resumed:
                        self._take_up()
            self._users += 1

    def close(self) -> None:
        with self._opening:
            self._users -= 1
            if self._users or self._file is None:
                return
            with self._lock:
                file, self._file = self._file, None
            with file:
                if self._path.exists():  # not committed, and not forgotten
                    file.truncate(min(file.seek(0, os.SEEK_END), self.layout.size))
                    self.note()
                self._left = self._stat()

    # --- chunks that come from other nodes ----------------------------------------------------------------------------

    def claim(self, holding: Holding, wanted: range) -> Claim | None:
        """Chunks among those wanted for a source that is free, None where there are none for it now."""
        with self._lock:
            return self._claims.take(holding, wanted)

    def release(self, claim: Claim) -> None:
        """What the source has not brought is free for others."""
        with self._lock:
            self._claims.release(claim)

    def are_on_their_way(self, wanted: range) -> bool:
        """True if some source brings one of these chunks."""
        with self._lock:
            return self._claims.are_on_their_way(wanted)

    def write(self, claim: Claim, piece: memoryview, offset: int) -> None:
        """Puts bytes of the chunk that is on its way into the file. Raises `Overtaken`, and `StoreError`."""
        with self._lock, self._files.writing(self._path, self.layout.size):
            write_at(self._fd(claim), piece, offset + self._shift(claim))

    def confirm(self, claim: Claim, digest: bytes) -> None:
        """The chunk that was on its way is written, with this digest.

        Raises `WrongChunk`, `Overtaken`, and `StoreError`.
        """
        with self._lock:
            fd = self._fd(claim)
            if digest != self._digests[claim.first]:
                raise WrongChunk(f"chunk {claim.first}: the bytes are not those that the digest names")
            if claim.aside is not None:
                with self._files.writing(self._path, self.layout.size):
                    self._put_in_place(fd, claim)
            self._add(claim.first)
            claim.first, claim.since = claim.first + 1, time.monotonic()

    def finish(self) -> None:
        """Cuts off what sources that were not the first have left. Raises OSError when chunks are missing."""
        with self._lock:
            if not self.complete:
                raise OSError(errno.EIO, "chunks are missing")
            os.truncate(self._path, self.layout.size)

    def note(self) -> None:
        """Writes down which chunks are confirmed, and what is known of their digests, for whoever goes on after a
        crash. Raises `StoreError`."""
        with self._lock, self._files.writing(self._path, self.layout.size):
            if self._restated:
                self._files.write_stated(self.name, self.info)
                self._restated = False
            if self._noted != self._here:
                self._files.noted(self.name).write_bytes(self._here)
                self._noted = bytes(self._here)
            self._noted_at = time.monotonic()

    def note_at_times(self) -> None:
        """The same once a second, however many sources say that something has come."""
        if time.monotonic() - self._noted_at >= _NOTE_SECONDS:
            self.note()

    def copy_from(self, other: "Parts") -> None:
        """Takes the chunks that are here under another name, too, with the digests that they have in this model.

        For users of both. Raises `StoreError`.
        """
        if other.layout != self.layout:
            return
        with self._lock, self._files.writing(self._path, self.layout.size):
            assert self._file is not None
            assert other._file is not None
            target, source = self._file.fileno(), other._file.fileno()
            for index, digest in enumerate(self._digests):
                if other._here[index] and other._digests[index] == digest and not self._here[index]:
                    copy_range(source, target, *self.layout.bounds(index))
                    if digest_chunk(target, self.layout, index) == digest:
                        self._add(index)

    # --- chunks of a model whose root is not known --------------------------------------------------------------------

    def state(self, chunks: range, digests: Sequence[bytes]) -> None:
        """Somebody who is trusted in this, or could prove it, has stated the digests of these chunks.

        A chunk that is here under another digest is dropped.
        """
        with self._lock:
            for index, digest in zip(chunks, digests, strict=True):
                if self._here[index] and self._digests[index] != digest:
                    self._here[index] = 0
                    self.held -= self._length(index)
                self._digests[index] = digest
            self._restated = True

    def own(self, chunks: range) -> tuple[bytes, ...]:
        """Digests these chunks as this node has written them into the file, states and confirms them.

        For users. Raises `StoreError`.
        """
        assert self._file is not None
        with self._files.writing(self._path, self.layout.size):
            try:
                found = tuple(digest_chunk(self._file.fileno(), self.layout, index) for index in chunks)
            except DigestError as error:
                raise OSError(errno.EIO, str(error)) from error
        self.state(chunks, found)
        with self._lock:
            for index in chunks:
                self._add(index)
        return found

    # --- inside ---------------------------------------------------------------------------------------------------

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _take_up(self) -> None:
        assert self._file is not None
        try:
            noted = self._files.noted(self.name).read_bytes()
        except OSError:
            return
        for index, here in enumerate(noted[: self.layout.count]):
            with contextlib.suppress(OSError, DigestError):
                if here and digest_chunk(self._file.fileno(), self.layout, index) == self._digests[index]:
                    self._add(index)

    def _length(self, index: int) -> int:
        start, end = self.layout.bounds(index)
        return end - start

    def _add(self, index: int) -> None:
        if not self._here[index]:
            self._here[index] = 1
            self.held += self._length(index)

    def _fd(self, claim: Claim) -> int:
        if self._file is None or not self._claims.is_open(claim):
            raise Overtaken
        return self._file.fileno()

    def _shift(self, claim: Claim) -> int:
        """How far behind their place the bytes of a claim lie in the file."""
        if claim.aside is None:
            return 0
        return self.layout.size + claim.aside * self.layout.longest - self.layout.bounds(claim.first)[0]

    def _put_in_place(self, fd: int, claim: Claim) -> None:
        copy_range(fd, fd, *self.layout.bounds(claim.first), self._shift(claim))


def copy_range(source: int, target: int, start: int, end: int, shift: int = 0) -> None:
    """Copies these bytes from where they are in one file, `shift` bytes further on, to their place in another. Raises
    OSError."""
    buffer = memoryview(bytearray(min(_COPIED, end - start)))
    for at in range(start, end, _COPIED):
        piece = buffer[: end - at]
        if not read_at(source, piece, at + shift):
            raise OSError(errno.EIO, "the file became shorter while it was written")
        write_at(target, piece, at)


def packed(here: bytes | bytearray) -> bytes:
    """A bit for each byte, set where that is not zero."""
    bits = "".join("1" if each else "0" for each in here)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0") or "0", 2).to_bytes(-(-len(bits) // 8), "big")


def unpacked(bits: bytes, count: int) -> bytes:
    """The inverse of `packed`, for so many chunks."""
    return bytes(bits[index // 8] >> (7 - index % 8) & 1 for index in range(count))
