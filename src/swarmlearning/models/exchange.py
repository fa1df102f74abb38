"""What a node asks the file server of another for, while it downloads a model from it.

A source is given up when in `stall_seconds` it brings less of the model than `LEAST_RATE` requires, whatever else it
sends, or when it sends more bytes than the model can need on the wire. One that brings little holds nobody up: others
overtake it.
"""

import contextlib
import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from swarmlearning.models.body import LEAST_RATE, Body, Fault, SourceError, body_of
from swarmlearning.models.claims import Claim, Holding
from swarmlearning.models.compression import CODING
from swarmlearning.models.connections import Connection, Connections, Source, is_silence, reason
from swarmlearning.models.fileserver import HEIGHT_HEADER, LIST_HEADER
from swarmlearning.models.parts import Overtaken, Parts, WrongChunk, unpacked
from swarmlearning.models.receiving import Receiver
from swarmlearning.models.tlsstream import TlsStream
from swarmlearning.tensors.digest import DIGEST_BYTES, DigestError, Layout, ModelDigest, slice_root

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_MAX_LIST_BYTES: Final = 4 * 2**20  # the chunk list of a model of one terabyte, in format 1
_LIST_BYTES: Final = re.compile(r"[0-9]{1,7}")
_MAX_DETAIL_BYTES: Final = 4096
_FRAMING_BYTES: Final = 2**20
_FRAMING_SHARE: Final = 64  # TLS adds a seven-hundredth, zstd to what it cannot compress less than a two-hundredth

Note = Callable[[int], None]
"""Called with the bytes of a chunk on its way that are here, whenever more have come."""


class Stopped(Exception):
    """Nobody wants the model any more, or not from this source for now."""


class Lacking(Exception):
    """The source does not have all of the chunks that it was asked for."""


class Stated(NamedTuple):
    """What is known of some chunks of a file whose own root is not: how the file is cut, and the root of these chunks
    (`tensors.digest.slice_root`)."""

    layout: Layout
    root: str


class Wanted(NamedTuple):
    """What is fetched: a model, or only these `chunks` of it; `size` of the whole model, where it is known.

    `stated`: where `digest` is no root but the name under which parts of a result are kept, the proof of those chunks'
    digests. `begun`: another name under which chunks of it may be here.
    """

    digest: str
    size: int | None = None
    chunks: range | None = None
    stated: Stated | None = None
    begun: str = ""


class Exchange:
    """One source of one model. Its methods belong to one thread, but for `stop`."""

    def __init__(
        self, wanted: Wanted, source: Source, connections: Connections, height: int | None, stall_seconds: float
    ) -> None:
        self.source = source
        self.holding = Holding()
        self.brought = 0
        """Bytes of the model that this source has brought."""
        self._begun = time.monotonic()
        self._wanted = wanted
        self._spent = 0.0  # seconds in which it brought them
        self._reckoned = 0  # those of them for which it was given more time
        self._connections = connections
        self._headers = {} if height is None else {HEIGHT_HEADER: str(height)}
        self._stall_seconds = stall_seconds
        self._lock = threading.Lock()
        self._stream: TlsStream | None = None
        self._stopped = False

    def stop(self) -> None:
        """Makes what runs end soon, with `Stopped`: the connection is shut down under it."""
        with self._lock:
            self._stopped = True
            if self._stream is not None:
                self._stream.shutdown()

    @property
    def stopped(self) -> bool:
        return self._stopped

    def speed(self) -> float:
        """Bytes a second of the model since the source is asked, whatever it has been asked for."""
        return self.brought / max(time.monotonic() - self._begun, 1e-3)

    def bundle(self, begin: Callable[[ModelDigest], Parts], note: Note) -> None:
        """The chunk list, with which `begin` is called, and the whole model as long as nobody overtakes this source.

        Only the list where another source has begun meanwhile. Raises `SourceError`, `StoreError`, `Stopped`, and
        `Lacking` where the source does not have the whole model.
        """
        with self._exchange("/bundle", {"Accept-Encoding": CODING}) as (stream, response):
            body = body_of(response)
            length = response.getheader(LIST_HEADER, "")
            parts = begin(self._read_list(stream, int(length) if _LIST_BYTES.fullmatch(length) else 0, body))
            if not parts.layout.size:
                body.expect(0)
                body.finish()
            if (claim := parts.claim(self.holding, range(parts.layout.count))) is None:
                return
            try:
                if claim.first == 0:
                    self._receive(stream, body, parts, claim, parts.layout.count, note)
            finally:
                parts.release(claim)

    def chunk_list(self) -> ModelDigest:
        """The chunk list alone; of a result that is merged in parts, with the digests of the wanted chunks only.

        Raises as `bundle` does.
        """
        stated, chunks = self._wanted.stated, self._wanted.chunks
        if stated is not None and chunks is not None:
            return self._stated_list(stated, chunks)
        with self._exchange("/chunks") as (stream, response):
            return self._read_list(stream, response.length or 0, body_of(response))

    def _stated_list(self, stated: Stated, chunks: range) -> ModelDigest:
        try:
            with self._exchange(f"/chunks/{chunks.start}-{chunks.stop - 1}") as (stream, response):
                body, size = body_of(response), len(chunks) * DIGEST_BYTES
                body.expect(size)
                info = ModelDigest.partly_stated(stated.layout, chunks, self._read(stream, body, size))
        except Lacking:
            raise SourceError("has not all of these chunks", "not-held") from None
        if slice_root(info, chunks) != stated.root:
            raise SourceError("sent the chunk list of another model")
        return info

    def look(self, parts: Parts) -> None:
        """Asks which chunks are there. Raises as `bundle` does."""
        size = -(-parts.layout.count // 8)
        with self._exchange("/here") as (stream, response):
            body = body_of(response)
            body.expect(size)
            self.holding.here = unpacked(self._read(stream, body, size), parts.layout.count)

    def sums(self, kind: str, index: int, most: int) -> bytes:
        """What the source knows of the models' `influence` in a slice, or its `statistics`: at most so many bytes.

        Raises as `bundle` does.
        """
        with self._exchange(f"/{kind}/{index}") as (stream, response):
            length = response.length or 0
            if not 0 < length <= most:
                raise SourceError(f"sent {length} bytes about slice {index}, not 1 to {most}")
            return self._read(stream, body_of(response), length)

    def take(self, parts: Parts, claim: Claim, note: Note) -> None:
        """The chunks of the claim, as long as nobody overtakes this source. Raises as `bundle` does.

        A source that lacks chunks which it has said to have is at fault.
        """
        asked = claim.end  # which others may change meanwhile
        start, end = parts.layout.bounds(claim.first)[0], parts.layout.bounds(asked - 1)[1]
        try:
            with self._exchange("", {"Range": f"bytes={start}-{end - 1}"}) as (stream, response):
                self._receive(stream, body_of(response), parts, claim, asked, note)
        except Lacking:
            if self.holding.here is not None:
                raise SourceError("does not serve chunks that it says it has") from None
            raise

    def _receive(self, stream: TlsStream, body: Body, parts: Parts, claim: Claim, asked: int, note: Note) -> None:
        """Takes the chunks of the claim from a body that has those from its first to before `asked`."""
        size = parts.layout.bounds(asked - 1)[1] - parts.layout.bounds(claim.first)[0]
        body.expect(size)
        stream.allow(_on_the_wire(size), self._stall_seconds)
        receiver, begun, before = Receiver(parts, claim), time.monotonic(), self.brought
        self._reckoned = before
        try:
            while not receiver.done:
                self._fill_room(stream, body, receiver, note)
        except WrongChunk as error:
            raise SourceError(f"sent wrong bytes, {error}") from error
        except Overtaken:
            return
        finally:
            self._spent += time.monotonic() - begun
            if self.brought > before:
                self.holding.pace = self._spent / self.brought
        if claim.first == asked:
            body.finish()

    def _fill_room(self, stream: TlsStream, body: Body, receiver: Receiver, note: Note) -> None:
        """Receives the next piece of the model."""
        room, filled = receiver.room, 0
        while filled < len(room):
            stream.expect(body.to_come)
            count = body.receive(room[filled:])
            filled += count
            self.brought += count
            if self.brought - self._reckoned >= LEAST_RATE * self._stall_seconds:
                self._reckoned = self.brought
                stream.extend(self._stall_seconds)
            note(receiver.pending + filled)
        receiver.advance(filled)

    def _read_list(self, stream: TlsStream, length: int, body: Body) -> ModelDigest:
        if not 0 < length <= _MAX_LIST_BYTES:
            raise SourceError("sent no usable chunk list")
        try:
            info = ModelDigest.from_bytes(self._read(stream, body, length))
        except DigestError as error:
            raise SourceError(f"sent no usable chunk list: {error}") from error
        wanted = self._wanted
        if info.root != wanted.digest:
            raise SourceError("sent the chunk list of another model")
        if wanted.size not in (None, info.size):
            text = f"has a model of {info.size} bytes; those of this training have {wanted.size}"
            raise SourceError(text, "misshapen")
        return info

    def _read(self, stream: TlsStream, body: Body, size: int) -> bytes:
        """So many bytes, which have to come within the time that a source may be silent."""
        data = bytearray(size)
        stream.allow(_on_the_wire(size), self._stall_seconds)
        filled = 0
        while filled < size:
            filled += body.receive(memoryview(data)[filled:])
        return bytes(data)

    # --- HTTP -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _exchange(
        self, part: str, headers: Mapping[str, str] = _NO_HEADERS
    ) -> Iterator[tuple[TlsStream, http.client.HTTPResponse]]:
        """A connection and a successful answer to a request for the model on it.

        The connection is kept if the answer is read to its end.
        """
        connection, response = self._ask(f"/models/{self._wanted.digest}{part}", headers)
        try:
            if response.status == 416:
                _detail(response)  # read, so that the connection can be kept
                raise Lacking
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

    def _ask(self, path: str, headers: Mapping[str, str]) -> tuple[Connection, http.client.HTTPResponse]:
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
            raise SourceError(reason(error), "unreachable", silent=is_silence(error)) from error

    def _send(self, connection: Connection, path: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        try:
            with self._lock:
                self._stream = connection.stream
                if self._stopped:
                    raise Stopped
            connection.stream.allow(_FRAMING_BYTES, self._stall_seconds)
            connection.request("GET", path, headers={**self._headers, **headers})
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
