"""What one source brings of a model, put together in one pass.

A piece small enough for the processor's cache is received, digested and written to the partial file while it is there.
"""

import threading
from typing import Final, cast

from blake3 import blake3

from swarmlearning.models.claims import Claim
from swarmlearning.models.parts import Parts

PIECE: Final = 2**18
_thread: Final = threading.local()


class Receiver:
    """The chunks of one claim on their way. Belongs to one thread."""

    def __init__(self, parts: Parts, claim: Claim) -> None:
        self._parts = parts
        self._claim = claim
        self._buffer = _piece_buffer()
        self._start, self._end = parts.layout.bounds(claim.first)
        self._at = self._start  # where the bytes that are written end
        self._pending = 0  # bytes in the buffer, which come after them
        self._chunk = blake3()

    @property
    def pending(self) -> int:
        """Bytes that are here of the chunk on its way."""
        return self._at + self._pending - self._start

    @property
    def done(self) -> bool:
        """True once all chunks of the claim are confirmed: others may have taken over some of them."""
        return self._claim.first >= self._claim.end

    @property
    def room(self) -> memoryview:
        """Room for the next bytes; never empty until it is done."""
        return self._buffer[self._pending : min(PIECE, self._end - self._at)]

    def advance(self, count: int) -> None:
        """Accepts the `count` bytes that were put into `room`.

        Raises `WrongChunk`, `Overtaken`, and `StoreError` on a full disk.
        """
        self._pending += count
        if not self.room:
            self._flush()

    def _flush(self) -> None:
        piece = self._buffer[: self._pending]
        self._parts.write(self._claim, piece, self._at)
        self._chunk.update(piece)
        self._at, self._pending = self._at + len(piece), 0
        if self._at < self._end:
            return
        self._parts.confirm(self._claim, self._chunk.digest())
        if not self.done:
            self._chunk = blake3()
            self._start, self._end = self._parts.layout.bounds(self._claim.first)


def _piece_buffer() -> memoryview:
    """Room for one piece, the same for all attempts of a thread: fresh memory costs more than a small model."""
    if not hasattr(_thread, "piece"):
        _thread.piece = memoryview(bytearray(PIECE))
    return cast(memoryview, _thread.piece)
