"""The client's end of a TLS connection for bulk data, blocking, as `http.client` needs it.

`ssl.SSLSocket` calls the kernel twice for each record of 16 KiB, and Python once. This reads what has come, up to a
piece that fits the processor's cache, which costs a fifth less CPU time for a model (docs/performance.md).

What a peer may cost is bounded here, below HTTP and compression, so that nothing it sends can get around it: `allow`
sets how many bytes it may send and until when. How much of that is of use is for the caller to judge, who allows more.
"""

import io
import select
import socket
import ssl
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from swarmlearning.models.links import arrived
from swarmlearning.models.pacing import Bucket

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE: Final = 2**18
_HANDSHAKE_BYTES: Final = 2**20
_AT_ONCE: Final = 2**16
"""Bytes that a thread waits for where it knows that more are to come: behind a thin link each packet would wake it.
With twice as many, rounds of two sites took a tenth longer."""
_RECORD: Final = 2**14 + 2**9  # bytes of the largest TLS record, and some more
_MOMENT_MS: Final = 250
"""How long it waits for them; then it takes what has come."""
_SCRAP: Final = 512  # bytes: less than a full packet of any link
_FREE_SCRAPS: Final = 256
_SCRAP_SECONDS: Final = 0.001


class TooManyBytes(OSError):
    """The peer has sent more than it was allowed to."""


class TlsStream:
    """Belongs to one thread, but for `shutdown`. Everything raises OSError, of which TLS failures are a kind."""

    def __init__(
        self, plain: socket.socket, context: ssl.SSLContext, host: str, seconds: float, pace: Bucket | None = None
    ) -> None:
        """Shakes hands, within `seconds`, over a connected socket, which belongs to the stream from now on.

        What comes passes through the limit of `pace`, where there is one; the peer has no less time for that. A `host`
        that is a name is stated (SNI): a reverse proxy passes connections on by it. Raises ValueError for a name that
        none can be.
        """
        self._left = 0
        self._deadline = 0.0
        self._scraps = 0
        self._expected, self._waits_for = 0, 1
        self._plain = plain
        self._pace = pace
        self._ended = threading.Event()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._piece = memoryview(bytearray(_PIECE))
        self._come = select.poll()
        self._come.register(plain, select.POLLIN)
        self._readers = 0
        self._closed = False
        self.allow(_HANDSHAKE_BYTES, seconds)
        try:
            self._handshake()
        except BaseException:
            self.close()
            raise

    def allow(self, count: int, seconds: float) -> None:
        """Sets how many bytes the peer may still send, as they are on the wire, and how long this waits for them."""
        self._left, self._scraps = count, 0
        self.extend(seconds)

    def extend(self, seconds: float) -> None:
        """Sets how long this waits for the peer from now on."""
        self._deadline = time.monotonic() + seconds

    def expect(self, count: int) -> None:
        """States that the peer is to send at least so many bytes more before it waits for an answer. What comes of them
        is then read in larger pieces."""
        self._expected = count

    def peer_certificate(self) -> bytes | None:
        """The peer's certificate (DER)."""
        return self._tls.getpeercert(binary_form=True)

    def sendall(self, data: bytes | memoryview) -> None:
        self._expected = 0
        self._tls.write(data)
        self._flush()

    def makefile(self, mode: str) -> io.BufferedReader:
        """For reading; the stream stays open until it is closed, too."""
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def recv_into(self, room: memoryview) -> int:
        """Reads what has come, waiting if that is nothing; returns 0 at the end of the stream."""
        filled = 0
        while filled < len(room):
            try:
                count = cast(int, self._tls.read(len(room) - filled, room[filled:]))  # typeshed: bytearray, bytes
            except ssl.SSLWantReadError:
                self._flush()  # TLS may have something to answer
                if filled:
                    break
                self._receive()
            except ssl.SSLEOFError:
                break
            else:
                if not count:
                    break
                filled += count
        return filled

    def arrived(self) -> int | None:
        """Bytes that have arrived at the peer so far; None where the kernel does not report it."""
        return arrived(self._plain)

    def shutdown(self) -> None:
        """Ends it from another thread: the one that waits here gets the end of the stream."""
        self._ended.set()
        with suppress(OSError):  # closed by the peer
            self._plain.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closed = True
        if not self._readers:
            self._plain.close()

    def reader_closed(self) -> None:
        self._readers -= 1
        if self._closed:
            self.close()

    def abort(self) -> None:
        """Closes it so that the peer notices at once that nobody reads any more.

        After an ordinary close in the middle of a body it may wait a minute: TCP then keeps announcing a full window.
        """
        with suppress(OSError):
            self._plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._plain.close()

    def _handshake(self) -> None:
        while True:
            try:
                return self._tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            finally:
                self._flush()  # also the alert with the reason of the failure
            self._receive()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._limit_wait()
            self._plain.sendall(self._outgoing.read())

    def _receive(self) -> None:
        count = self._take() if self._pace is None else self._take_slowly(self._pace)
        if not count:
            self._incoming.write_eof()
            return
        self._left -= count
        if self._left < 0:
            raise TooManyBytes("sends more bytes than its answer can have")
        if count < _SCRAP:
            self._wait_for_more()
        self._incoming.write(self._piece[:count])

    def _take(self, most: int = _PIECE) -> int:
        """Puts what has come into the piece, at most so much; returns how many bytes."""
        self._limit_wait()
        missing = self._expected - _RECORD  # some of a record may be here already: TLS does not tell
        self._wait_a_moment(min(missing, _AT_ONCE, most))
        return self._plain.recv_into(self._piece, most)

    def _wait_a_moment(self, count: int) -> None:
        """Waits for so many bytes, but not for long: a slow peer is not a silent one."""
        self._wake_at(max(1, count))
        if count > 1 and not self._come.poll(_MOMENT_MS):
            self._wake_at(1)

    def _wake_at(self, count: int) -> None:
        if count != self._waits_for:
            self._plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._waits_for = count

    def _take_slowly(self, pace: Bucket) -> int:
        """The same when its turn comes, for which the peer need not answer."""
        size, count = pace.piece(), 0
        wait = pace.turn(size)
        try:
            if wait:
                self._ended.wait(wait)
                self._deadline += wait
            count = self._take(size)
        finally:
            pace.back(size - count)
        return count

    def _limit_wait(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._plain.settimeout(left)

    def _wait_for_more(self) -> None:
        """A peer that sends byte by byte must not keep a processor busy."""
        self._scraps += 1
        if self._scraps > _FREE_SCRAPS:
            time.sleep(_SCRAP_SECONDS)


class _Reader(io.RawIOBase):
    def __init__(self, stream: TlsStream) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, room: "WriteableBuffer") -> int:
        return self._stream.recv_into(memoryview(room))

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._stream.reader_closed()
