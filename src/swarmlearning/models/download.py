"""One model on its way from the file servers that hold it, one after another.

It runs in a thread with blocking sockets, which moves several times what asyncio HTTP clients do. When a source stops
in the middle, the next one goes on at that byte. When the download ends early, a later one (even after a restart)
does.

A chunk that one source sent whole and that does not fit its digest is that source's fault. A chunk that somebody else
had begun is fetched again from its start before anyone is blamed.

A source is given up when in `stall_seconds` it brings less of the model than `LEAST_RATE` requires, whatever else it
sends, or when it sends more bytes than the model can need on the wire. Slow is not dead, so a whole download has no
time limit.
"""

import asyncio
import contextlib
import http.client
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from swarmlearning.models.assembly import Assembly, WrongChunk
from swarmlearning.models.body import Body, Fault, SourceError, body_of
from swarmlearning.models.compression import CODING
from swarmlearning.models.connections import Connection, Connections, Source, reason, text_of
from swarmlearning.models.fileserver import HEIGHT_HEADER, LIST_HEADER
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.models.tlsstream import TlsStream
from swarmlearning.tensors.digest import DigestError, ModelDigest

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]
Turn = Callable[[Source], None]

LEAST_RATE: Final = 1024
"""Bytes of the model per second below which a source is given up; a 1 GB model would need twelve days."""

_MAX_LIST_BYTES: Final = 4 * 2**20  # the chunk list of a model of one terabyte
_LIST_BYTES: Final = re.compile(r"[0-9]{1,7}")
_MAX_DETAIL_BYTES: Final = 4096
_REPORT_SECONDS: Final = 0.1
_FRAMING_BYTES: Final = 2**20
_FRAMING_SHARE: Final = 64  # TLS adds a seven-hundredth, zstd to what it cannot compress less than a two-hundredth
_BLAME: Final[tuple[Fault, ...]] = ("invalid", "too-slow", "unreachable", "not-held")


class TransferError(Exception):
    """A model could not be fetched; the message lists each source and what went wrong there.

    `fault` is the gravest of the sources' faults; it names no source, so it may be made public.
    """

    def __init__(self, text: str, fault: Fault = "unreachable") -> None:
        super().__init__(text)
        self.fault = fault


class Download:
    """One model on its way. `run` works in a thread; what is public otherwise belongs to the event loop."""

    result: asyncio.Future[Path]

    def __init__(
        self,
        digest: str,
        size: int | None,
        height: int | None,
        sources: Sequence[Source],
        store: TensorStore,
        connections: Connections,
        stall_seconds: float,
    ) -> None:
        self.stopped = threading.Event()
        self._digest = digest
        self._size = size
        self._headers = {} if height is None else {HEIGHT_HEADER: str(height)}
        self._sources = list(sources)  # may grow while `run` walks along it
        self._store = store
        self._connections = connections
        self._stall_seconds = stall_seconds
        self._loop = asyncio.get_running_loop()
        self._callers = 0
        self._listeners: list[Progress] = []
        self._watchers: list[Turn] = []
        self._used: Source | None = None  # the source at work
        self._assembly: Assembly | None = None
        self._reported = 0.0
        self._brought = 0  # bytes of the model since its source was last given more time
        self._lock = threading.Lock()
        self._stream: TlsStream | None = None

    @contextlib.contextmanager
    def joined(self, sources: Sequence[Source], progress: Progress | None, turn: Turn | None) -> Iterator[None]:
        """Counts a caller in, and out; the last one out stops the download."""
        self._callers += 1
        self._sources += [source for source in sources if source not in self._sources]
        if progress is not None:
            self._listeners.append(progress)
        if turn is not None:
            self._watchers.append(turn)
            if self._used is not None:
                turn(self._used)
        try:
            yield
        finally:
            if progress is not None:
                self._listeners.remove(progress)
            if turn is not None:
                self._watchers.remove(turn)
            self._callers -= 1
            if not self._callers:
                self.stop()

    def stop(self) -> None:
        """Makes `run` end soon: its connection is shut down under it."""
        self.stopped.set()
        with self._lock:
            if self._stream is not None:
                self._stream.shutdown()

    def run(self) -> Path:
        """The path of the model once it is in the store. Raises `TransferError` and `StoreError`."""
        with self._store.pinned(self._digest):
            try:
                return self._run()
            except StoreError:
                self._store.forget(self._digest)  # on a full disk others need the room
                raise
            finally:
                if self._assembly is not None:
                    self._assembly.close()

    def _run(self) -> Path:
        info = self._store.partial_info(self._digest)
        if info is not None:
            self._assembly = Assembly(self._store, info)
        faults: list[Fault] = []
        texts: list[str] = []
        for source in self._sources:
            if self.stopped.is_set():
                break
            self._loop.call_soon_threadsafe(self._take_turns, source)
            try:
                assembly = self._take_from(source)
            except SourceError as error:
                if self.stopped.is_set():
                    break  # its connection was shut down here: the source has no fault
                logger.info("model %s from %s: %s", self._digest, text_of(source), error)
                faults.append(error.fault)
                texts.append(f"{text_of(source)} {error}")
            else:
                path = assembly.commit()
                self._report(assembly.offset)
                return path
        if self.stopped.is_set():
            raise TransferError(f"model {self._digest}: fetching has been stopped")
        gravest: Fault = min(faults, key=_BLAME.index) if faults else "not-held"
        raise TransferError(
            f"model {self._digest} cannot be fetched: {'; '.join(texts) or 'no node is known to hold it'}", gravest
        )

    def _take_from(self, source: Source) -> Assembly:
        """Everything that is missing, from one source. Raises `SourceError` whatever it sends, and `StoreError`."""
        try:
            return self._take_all(source)
        except (SourceError, StoreError):
            raise
        except Exception as error:  # nothing that a source sends may end this node
            logger.exception("model %s from %s", self._digest, text_of(source))
            raise SourceError(f"sent what cannot be understood: {error!r:.200}") from error

    def _take_all(self, source: Source) -> Assembly:
        while True:
            try:
                if self._assembly is None:
                    return self._take_bundle(source)
                return self._take_rest(source, self._assembly)
            except WrongChunk as error:
                if not error.mixed:
                    raise SourceError(f"sent wrong bytes, {error}") from error
                logger.info("model %s: a chunk begun by another source is wrong, fetched again", self._digest)

    def _take_bundle(self, source: Source) -> Assembly:
        with self._exchange(source, "/bundle", {"Accept-Encoding": CODING}) as (stream, response):
            body = body_of(response)
            info = self._read_list(stream, response, body)
            assembly = self._assembly = Assembly(self._store, info)
            self._receive(stream, body, assembly)
        return assembly

    def _take_rest(self, source: Source, assembly: Assembly) -> Assembly:
        assembly.new_origin()
        if not assembly.complete:
            with self._exchange(source, "", {"Range": f"bytes={assembly.offset}-"}) as (stream, response):
                self._receive(stream, body_of(response), assembly)
        return assembly

    def _read_list(self, stream: TlsStream, response: http.client.HTTPResponse, body: Body) -> ModelDigest:
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
        if self._size not in (None, info.size):
            raise SourceError(f"has a model of {info.size} bytes; those of this training have {self._size}")
        return info

    def _receive(self, stream: TlsStream, body: Body, assembly: Assembly) -> None:
        missing = assembly.info.size - assembly.offset
        body.expect(missing)
        stream.allow(_on_the_wire(missing), self._stall_seconds)
        self._brought = 0
        while not assembly.complete:
            self._fill_room(stream, body, assembly)
        body.finish()

    def _fill_room(self, stream: TlsStream, body: Body, assembly: Assembly) -> None:
        """Receives the next piece of the model; what came before a failure is kept."""
        room, filled = assembly.room, 0
        try:
            while filled < len(room):
                count = body.receive(room[filled:])
                filled += count
                self._note(stream, count, assembly.offset + filled)
        finally:
            assembly.advance(filled)

    def _note(self, stream: TlsStream, count: int, held: int) -> None:
        """Gives the source more time when it has brought enough, and reports progress now and then."""
        self._brought += count
        if self._brought >= LEAST_RATE * self._stall_seconds:
            self._brought = 0
            stream.extend(self._stall_seconds)
        now = time.monotonic()
        if now - self._reported >= _REPORT_SECONDS:
            self._reported = now
            self._report(held)

    def _report(self, held: int) -> None:
        self._loop.call_soon_threadsafe(self._call_listeners, held)

    def _call_listeners(self, held: int) -> None:
        for listener in self._listeners:
            listener(held)

    def _take_turns(self, source: Source) -> None:
        self._used = source
        for watcher in self._watchers:
            watcher(source)

    @contextlib.contextmanager
    def _exchange(
        self, source: Source, part: str, headers: dict[str, str]
    ) -> Iterator[tuple[TlsStream, http.client.HTTPResponse]]:
        """A connection and a successful answer to a request for the model on it.

        The connection is kept if the answer is read to its end.
        """
        connection, response = self._ask(source, f"/models/{self._digest}{part}", headers)
        try:
            if response.status not in (200, 206):
                fault: Fault = "not-held" if response.status == 404 else "unreachable"
                raise SourceError(f"answered {response.status}: {_detail(response)}", fault)
            yield connection.stream, response
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
                self._connections.keep(source, connection)

    def _ask(self, source: Source, path: str, headers: dict[str, str]) -> tuple[Connection, http.client.HTTPResponse]:
        kept = self._connections.take(source)
        if kept is not None:
            # The server may have closed it meanwhile; then a new one answers the same request.
            with contextlib.suppress(OSError, http.client.HTTPException):
                return kept, self._send(kept, path, headers)
        try:
            connection = self._connections.connect(source)
            return connection, self._send(connection, path, headers)
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            # The last two: an address that none can be; it is what another node announces.
            raise SourceError(reason(error), "unreachable") from error

    def _send(self, connection: Connection, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        with self._lock:
            self._stream = connection.stream
        try:
            if self.stopped.is_set():
                raise SourceError("stopped", "unreachable")
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
