"""The client's end of a TLS connection for bulk data, blocking, as `http.client` needs it.

`ssl.SSLSocket` asks the kernel twice for each record of 16 KiB, and Python once. This takes what has come, up to a
piece that fits the processor's cache, which costs a fifth less CPU time for a model (docs/performance.md).
"""

import io
import socket
import ssl
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE: Final = 2**18


class TlsStream:
    """Belongs to one thread, but for `shutdown`. Everything raises OSError, of which TLS failures are a kind."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        """Shakes hands over a connected socket, which belongs to the stream from now on."""
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing)
        self._piece = memoryview(bytearray(_PIECE))
        self._readers = 0
        self._closed = False
        try:
            self._handshake()
        except BaseException:
            self.close()
            raise

    def settimeout(self, seconds: float) -> None:
        """For each wait, not for a whole transfer."""
        self._plain.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def makefile(self, mode: str) -> io.BufferedReader:
        """For reading; the stream stays open until it is closed, too."""
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def recv_into(self, room: memoryview) -> int:
        """Takes what has come, waiting if that is nothing; 0 at the end of the stream."""
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

    def shutdown(self) -> None:
        """Ends it from another thread: the one that waits here gets the end of the stream."""
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
        """Closes it so that the peer learns at once that nobody reads on.

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
                self._flush()  # also the alert that says why it fails
            self._receive()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._plain.sendall(self._outgoing.read())

    def _receive(self) -> None:
        if count := self._plain.recv_into(self._piece):
            self._incoming.write(self._piece[:count])
        else:
            self._incoming.write_eof()


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
