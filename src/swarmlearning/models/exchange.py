"""What a node asks the file server of another for, while it downloads a model from it.

A source is given up when in `stall_seconds` it brings less of the model than `LEAST_RATE` requires, whatever else it
sends, or when it sends more bytes than the model can need on the wire.
"""

import contextlib
import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Final

from swarmlearning.models.body import Body, Fault, SourceError, body_of
from swarmlearning.models.compression import CODING
from swarmlearning.models.connections import Connection, Connections, Source, reason
from swarmlearning.models.fileserver import HEIGHT_HEADER, LIST_HEADER
from swarmlearning.models.parts import Claim, Overtaken, Parts, WrongChunk
from swarmlearning.models.receiving import Receiver
from swarmlearning.models.tlsstream import TlsStream
from swarmlearning.tensors.digest import DigestError, ModelDigest

LEAST_RATE: Final = 1024
"""Bytes of the model per second below which a source is given up; a 1 GB model would need twelve days."""

_MAX_LIST_BYTES: Final = 4 * 2**20  # the chunk list of a model of one terabyte, in format 1
_LIST_BYTES: Final = re.compile(r"[0-9]{1,7}")
_MAX_DETAIL_BYTES: Final = 4096
_FRAMING_BYTES: Final = 2**20
_FRAMING_SHARE: Final = 64  # TLS adds a seven-hundredth, zstd to what it cannot compress less than a two-hundredth

Note = Callable[[int], None]
"""Called with the bytes of a chunk on its way that are here, whenever more have come."""


class Stopped(Exception):
    """Nobody wants the model any more."""


class Exchange:
    """One source of one model. Its methods belong to one thread, but for `stop`."""

    def __init__(
        self, digest: str, source: Source, connections: Connections, height: int | None, stall_seconds: float
    ) -> None:
        self.source = source
        self.seconds = 0.0
        """What this source has needed for its last chunk; 0: it has brought none yet."""
        self._digest = digest
        self._connections = connections
        self._headers = {} if height is None else {HEIGHT_HEADER: str(height)}
        self._stall_seconds = stall_seconds
        self._brought = 0  # bytes of the model since this source was last given more time
        self._lock = threading.Lock()
        self._stream: TlsStream | None = None
        self._stopped = False

    def stop(self) -> None:
        """Makes what runs end soon, with `Stopped`: the connection is shut down under it."""
        with self._lock:
            self._stopped = True
            if self._stream is not None:
                self._stream.shutdown()

    def bundle(self, size: int | None, begin: Callable[[ModelDigest], Parts], note: Note) -> None:
        """The chunk list, with which `begin` is called, and the whole model as long as nobody overtakes this source.

        Only the list where another source has begun meanwhile.

        `size`: that of the model, where it is known. Raises `SourceError`, `StoreError` and `Stopped`.
        """
        with self._exchange("/bundle", {"Accept-Encoding": CODING}) as (stream, response):
            body = body_of(response)
            parts = begin(self._read_list(stream, response, body, size))
            if not parts.info.size:
                body.expect(0)
                body.finish()
            if (claim := parts.claim()) is None:
                return
            try:
                if claim.first == 0:
                    self._receive(stream, body, parts, claim, parts.layout.count, note)
            finally:
                parts.release(claim)

    def take(self, parts: Parts, claim: Claim, note: Note) -> None:
        """The chunks of the claim, as long as nobody overtakes this source. Raises as `bundle` does."""
        asked = claim.end  # which others may change meanwhile
        start, end = parts.layout.bounds(claim.first)[0], parts.layout.bounds(asked - 1)[1]
        with self._exchange("", {"Range": f"bytes={start}-{end - 1}"}) as (stream, response):
            self._receive(stream, body_of(response), parts, claim, asked, note)

    def _receive(self, stream: TlsStream, body: Body, parts: Parts, claim: Claim, asked: int, note: Note) -> None:
        """Takes the chunks of the claim from a body that has those from its first to before `asked`."""
        size = parts.layout.bounds(asked - 1)[1] - parts.layout.bounds(claim.first)[0]
        body.expect(size)
        stream.allow(_on_the_wire(size), self._stall_seconds)
        self._brought = 0
        receiver = Receiver(parts, claim)
        try:
            while not receiver.done:
                self._fill_room(stream, body, receiver, note)
        except WrongChunk as error:
            raise SourceError(f"sent wrong bytes, {error}") from error
        except Overtaken:
            return
        finally:
            self.seconds = receiver.seconds or self.seconds
        if claim.first == asked:
            body.finish()

    def _fill_room(self, stream: TlsStream, body: Body, receiver: Receiver, note: Note) -> None:
        """Receives the next piece of the model."""
        room, filled = receiver.room, 0
        while filled < len(room):
            count = body.receive(room[filled:])
            filled += count
            self._brought += count
            if self._brought >= LEAST_RATE * self._stall_seconds:
                self._brought = 0
                stream.extend(self._stall_seconds)
            note(receiver.pending + filled)
        receiver.advance(filled)

    def _read_list(
        self, stream: TlsStream, response: http.client.HTTPResponse, body: Body, size: int | None
    ) -> ModelDigest:
        length = response.getheader(LIST_HEADER, "")
        if not _LIST_BYTES.fullmatch(length) or int(length) > _MAX_LIST_BYTES:
            raise SourceError("sent no usable chunk list")
        data = bytearray(int(length))
        stream.allow(_on_the_wire(len(data)), self._stall_seconds)
        filled = 0
        while filled < len(data):
            filled += body.receive(memoryview(data)[filled:])
        try:
            info = ModelDigest.from_bytes(bytes(data))
        except DigestError as error:
            raise SourceError(f"sent no usable chunk list: {error}") from error
        if info.root != self._digest:
            raise SourceError("sent the chunk list of another model")
        if size not in (None, info.size):
            raise SourceError(f"has a model of {info.size} bytes; those of this training have {size}")
        return info

    # --- HTTP -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _exchange(self, part: str, headers: dict[str, str]) -> Iterator[tuple[TlsStream, http.client.HTTPResponse]]:
        """A connection and a successful answer to a request for the model on it.

        The connection is kept if the answer is read to its end.
        """
        connection, response = self._ask(f"/models/{self._digest}{part}", headers)
        try:
            if response.status not in (200, 206):
                fault: Fault = "not-held" if response.status == 404 else "unreachable"
                raise SourceError(f"answered {response.status}: {_detail(response)}", fault)
            yield connection.stream, response
        except SourceError:
            if self._stopped:  # its connection was shut down here: the source has no fault
                raise Stopped from None
            raise
        finally:
            with self._lock:
                self._stream = None
            read_to_its_end = response.length == 0 or response.isclosed()
            response.close()
            if not read_to_its_end:
                connection.stream.abort()
            elif response.will_close:
                connection.close()
            else:
                self._connections.keep(self.source, connection)

    def _ask(self, path: str, headers: dict[str, str]) -> tuple[Connection, http.client.HTTPResponse]:
        kept = self._connections.take(self.source)
        if kept is not None:
            # The server may have closed it meanwhile; then a new one answers the same request.
            with contextlib.suppress(OSError, http.client.HTTPException):
                return kept, self._send(kept, path, headers)
        try:
            connection = self._connections.connect(self.source)
            return connection, self._send(connection, path, headers)
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            # The last two: an address that none can be; it is what another node announces.
            if self._stopped:
                raise Stopped from None
            raise SourceError(reason(error), "unreachable") from error

    def _send(self, connection: Connection, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        try:
            with self._lock:
                self._stream = connection.stream
                if self._stopped:
                    raise Stopped
            connection.stream.allow(_FRAMING_BYTES, self._stall_seconds)
            connection.request("GET", path, headers=self._headers | headers)
            return connection.getresponse()
        except BaseException:
            with self._lock:
                self._stream = None
            connection.close()
            raise


def _on_the_wire(size: int) -> int:
    """The most bytes that so many bytes of a model can need on the wire."""
    return size + size // _FRAMING_SHARE + _FRAMING_BYTES


def _detail(response: http.client.HTTPResponse) -> str:
    """Returns a server's text about its error; a stranger wrote it, so it is cut and quoted."""
    try:
        body = response.read(_MAX_DETAIL_BYTES)
    except (OSError, http.client.HTTPException):
        return response.reason
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
        return repr(str(json.loads(body)["detail"])[:300])
    return repr(body[:100])
