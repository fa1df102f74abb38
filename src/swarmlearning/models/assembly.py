"""A model being put together from the bytes that arrive, in one pass.

A piece small enough for the processor's cache is received, digested and written to the partial file while it is
there. What a chunk's digest has not confirmed yet is in the file too, but does not count: the next attempt, even after
a restart, digests the file from its beginning and goes on at the first byte that is missing or not confirmed.
"""

import os
import threading
from pathlib import Path
from typing import Final, cast

from blake3 import blake3

from swarmlearning.models.store import TensorStore
from swarmlearning.tensors.digest import CHUNK, ModelDigest
from swarmlearning.tensors.file import write_at

PIECE: Final = 2**18
_thread: Final = threading.local()


class WrongChunk(Exception):
    """The bytes are not those of the model; the text names the chunk, which is to be fetched once more.

    `mixed`: the bytes had come from several origins, so no source is to blame yet.
    """

    def __init__(self, text: str, mixed: bool) -> None:
        super().__init__(text)
        self.mixed = mixed


class Assembly:
    """Belongs to one thread."""

    def __init__(self, store: TensorStore, info: ModelDigest) -> None:
        """Goes on with the bytes of an earlier attempt, as far as they are right. Raises `StoreError`."""
        self.info = info
        self._store = store
        self._path = store.partial(info.root)
        self._file, resumed = store.open_partial(info)
        self._buffer = _piece_buffer()
        self._at = 0  # bytes in the file
        self._pending = 0  # bytes in the buffer, which come after them
        self._chunk = blake3()
        self._mixed = False
        if resumed:
            self._take_up()

    @property
    def offset(self) -> int:
        """Bytes held; the next one needed."""
        return self._at + self._pending

    @property
    def complete(self) -> bool:
        return self._at == self.info.size

    @property
    def room(self) -> memoryview:
        """Room for the next bytes; never empty until the model is complete."""
        return self._buffer[self._pending : min(PIECE, self._chunk_end - self._at)]

    def new_origin(self) -> None:
        """Marks the point from which the bytes come from another source."""
        self._mixed = self.offset % CHUNK > 0

    def advance(self, count: int) -> None:
        """Accepts the `count` bytes that were put into `room`. Raises `WrongChunk`, and `StoreError` on a full disk."""
        self._pending += count
        if not self.room:
            self._digest(self._flush())

    def commit(self) -> Path:
        """Moves the complete model into the store; returns its path there. Raises `StoreError`."""
        self.close()
        return self._store.commit(self._path, self.info)

    def close(self) -> None:
        """Keeps what has come, for the next attempt."""
        if not self._file.closed:
            with self._file:
                self._flush()
                self._file.truncate(self._at)

    @property
    def _chunk_end(self) -> int:
        return min((self._at // CHUNK + 1) * CHUNK, self.info.size)

    def _take_up(self) -> None:
        while not self.complete and (count := os.preadv(self._file.fileno(), [self.room], self._at)):
            self._at += count
            try:
                self._digest(self._buffer[:count])
            except WrongChunk:
                return

    def _flush(self) -> memoryview:
        """Writes what is in the buffer; returns it."""
        piece = self._buffer[: self._pending]
        with self._store.writing(self._path, self.info.size):
            write_at(self._file.fileno(), piece, self._at)
        self._at += self._pending
        self._pending = 0
        return piece

    def _digest(self, piece: memoryview) -> None:
        """Counts the bytes written last; at the end of a chunk, checks it."""
        self._chunk.update(piece)
        if self._at % CHUNK and not self.complete:
            return
        index = (self._at - 1) // CHUNK
        found, self._chunk = self._chunk.digest(), blake3()
        mixed, self._mixed = self._mixed, False
        if found != self.info.chunks[index]:
            self._at = index * CHUNK
            raise WrongChunk(f"chunk {index}: the bytes are not those that the digest names", mixed)


def _piece_buffer() -> memoryview:
    """Room for one piece, the same for all attempts of a thread: fresh memory costs more than a small model."""
    if not hasattr(_thread, "piece"):
        _thread.piece = memoryview(bytearray(PIECE))
    return cast(memoryview, _thread.piece)
