"""Pushes chunks of a model to the file server of a node that is to merge them, from one that nobody can connect to.

How they are taken there is in `pushes.py`. A push that breaks off is gone on with: the other side tells which chunks it
has. Requests are short, a few chunks each, so that one that fails costs little.
"""

import http.client
import threading
from collections.abc import Callable, Iterator, Sequence
from io import FileIO
from typing import Final

from swarmlearning.models.connections import Connection, Connections, Source, reason
from swarmlearning.models.fileserver import HEIGHT_HEADER
from swarmlearning.models.pacing import Bucket
from swarmlearning.models.parts import unpacked
from swarmlearning.models.tlsstream import TlsStream
from swarmlearning.tensors.digest import Layout, ModelDigest
from swarmlearning.tensors.file import read_at

AT_ONCE: Final = 4 * 2**20
"""Bytes of a request, or one chunk."""
_PIECE: Final = 2**16
_MOST_ANSWERED: Final = 2**20


class PushError(Exception):
    """The other side has not taken it; `status` is its answer's, 0 where there is none."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Push:
    """One model on its way to one node. Its methods belong to one thread, but for `stop`.

    `fault`: why whoever shows this certificate (DER) is not to have the model, empty where it is; nothing is sent
    before that is known. `stall_seconds`: in which bytes have to leave, or an answer to come. `pace`: the limit for
    sending, where there is one. `sent` is called with bytes that have arrived there, as far as
    the kernel reports that, or else have left.
    """

    def __init__(
        self,
        info: ModelDigest,
        source: Source,
        connections: Connections,
        fault: Callable[[bytes], str],
        stall_seconds: float,
        pace: Bucket | None = None,
        sent: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._info = info
        self._path = f"/models/{info.root}/chunks"
        self._source = source
        self._connections = connections
        self._fault = fault
        self._stall_seconds = stall_seconds
        self._pace = pace
        self._sent = sent
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Makes what runs end soon, with `PushError`: the connection is shut down under it."""
        with self._lock:
            self._stopped.set()
            if self._connection is not None:
                self._connection.stream.shutdown()

    def begin(self, height: int) -> bytes:
        """Pushes the chunk list; returns for each chunk a byte that is not zero if it is there. Raises `PushError`.

        `height`: that of the ledger on which it was seen that the other side is to take it.
        """
        data = self._info.to_bytes()
        return self._put(self._path, len(data), lambda: iter([memoryview(data)]), height)

    def chunks(self, file: FileIO, run: range, height: int) -> bytes:
        """Pushes these chunks of the model's file; returns as `begin` does. Raises `PushError`, and OSError where the
        file cannot be read."""
        layout = self._info.layout
        start, end = layout.bounds(run.start)[0], layout.bounds(run.stop - 1)[1]

        def pieces() -> Iterator[memoryview]:
            room = memoryview(bytearray(_PIECE))
            for at in range(start, end, _PIECE):
                piece = room[: end - at]
                if not read_at(file.fileno(), piece, at):
                    raise PushError("the model's file became shorter while it was pushed")
                yield piece

        return self._put(f"{self._path}/{run.start}-{run.stop}", end - start, pieces, height)

    def _put(self, path: str, size: int, pieces: Callable[[], Iterator[memoryview]], height: int) -> bytes:
        try:
            kept = self._connections.take(self._source)
            if kept is not None:
                try:  # the server may have closed it meanwhile
                    return self._ask(kept, path, size, pieces(), height)
                except (OSError, http.client.HTTPException):
                    if self._stopped.is_set():
                        raise
            return self._ask(self._connections.connect(self._source), path, size, pieces(), height)
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            raise PushError("stopped" if self._stopped.is_set() else reason(error)) from error

    def _ask(self, connection: Connection, path: str, size: int, pieces: Iterator[memoryview], height: int) -> bytes:
        stream = connection.stream
        with self._lock:
            self._connection = connection
            if self._stopped.is_set():
                stream.shutdown()
        try:
            if fault := self._fault(stream.peer_certificate() or b""):
                raise PushError(fault)
            stream.allow(_MOST_ANSWERED, self._stall_seconds)
            before = stream.arrived()
            connection.putrequest("PUT", path, skip_accept_encoding=True)
            for name, value in ((HEIGHT_HEADER, height), ("content-length", size)):
                connection.putheader(name, str(value))
            connection.endheaders()
            for piece in pieces:
                if self._pace is not None:
                    self._stopped.wait(self._pace.turn(len(piece)))
                stream.extend(self._stall_seconds)
                stream.sendall(piece)
                before = self._count(stream, before, len(piece))
            stream.extend(self._stall_seconds)
            here = self._answer(connection)
            self._count(stream, before, 0)
            return here
        except BaseException:
            connection.close()
            raise
        finally:
            with self._lock:
                self._connection = None

    def _count(self, stream: TlsStream, before: int | None, written: int) -> int | None:
        """Tells how many bytes have arrived since `before` of them had; returns how many have."""
        now = stream.arrived()
        self._sent(written if now is None or before is None else now - before)
        return now

    def _answer(self, connection: Connection) -> bytes:
        response = connection.getresponse()
        count, body = self._info.layout.count, response.read(_PIECE)
        if response.status != 200:
            connection.close()
            raise PushError(f"answered {response.status}: {body[:300]!r}", response.status)
        if len(body) != -(-count // 8) or response.length:
            connection.close()
            raise PushError(f"sent no list of {count} chunks")
        if response.will_close:
            connection.close()
        else:
            self._connections.keep(self._source, connection)
        return unpacked(body, count)


def next_run(layout: Layout, here: bytes | bytearray, wanted: Sequence[range]) -> range | None:
    """The first chunks of those wanted that are not there, for one request; None where all are."""
    for chunks in wanted:
        for first in chunks:
            if not here[first]:
                stop = first + 1
                while stop < chunks.stop and not here[stop] and layout.length(range(first, stop + 1)) <= AT_ONCE:
                    stop += 1
                return range(first, stop)
    return None
