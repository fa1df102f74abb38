"""Fetches models from the file servers of other nodes, checking every chunk before it is kept.

A download runs in a thread with blocking sockets, which moves several times what asyncio HTTP clients do. It asks its
sources one after another. Checked chunks go to the partial file, the chunk under way is in memory: when a source
stops in the middle, the next one goes on at that byte. When a download ends early, the unfinished chunk goes to the
file too, and a later fetch (even after a restart) goes on there.

A chunk that one source sent whole and that does not fit its digest is that source's fault. A chunk that somebody else
had begun is fetched again from its start before anyone is blamed.
"""

import asyncio
import contextlib
import http.client
import json
import logging
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, cast

from swarmlearning.sl.fileserver import LIST_HEADER
from swarmlearning.sl.store import StoreError, TensorStore
from swarmlearning.tensors.digest import CHUNK, DigestError, ModelDigest

logger = logging.getLogger(__name__)

Source = tuple[str, int]
Progress = Callable[[int], None]

_MAX_LIST_BYTES: Final = 4 * 2**20  # the chunk list of a model of one terabyte
_MAX_DETAIL_BYTES: Final = 4096
_REPORT_SECONDS: Final = 0.1
_KEPT_PER_SOURCE: Final = 4
_thread: Final = threading.local()


class TransferError(Exception):
    """A model could not be fetched; the message lists each source and what went wrong there."""


class _SourceError(Exception):
    """What went wrong at one source."""


class _MixedChunk(Exception):
    """A chunk with bytes from several origins is wrong: nobody is to blame yet, it is to be fetched once more."""


class Fetcher:
    """Fetches models into `store`, at most `workers` at a time; belongs to one event loop.

    `connect_seconds` bounds each step of connecting, `stall_seconds` the wait for the next bytes; slow is not dead,
    so a whole transfer has no time limit. Connections are kept for the next fetch, for at most `idle_seconds` (less
    than the 75 s that the servers keep them).
    """

    def __init__(
        self,
        client_context: ssl.SSLContext,
        store: TensorStore,
        *,
        workers: int = 4,
        connect_seconds: float = 5.0,
        stall_seconds: float = 30.0,
        idle_seconds: float = 60.0,
    ) -> None:
        self._store = store
        self._connections = _Connections(client_context, connect_seconds, stall_seconds, idle_seconds)
        self._threads = ThreadPoolExecutor(workers, "fetch")
        self._downloads: dict[str, _Download] = {}

    async def fetch(self, digest: str, sources: Sequence[Source], progress: Progress | None = None) -> Path:
        """The file of model `digest`, fetched unless it is held; each of `sources`, (host, port), is asked once.

        `progress` is called in the event loop with the bytes held so far, at most ten times a second and at the end.
        Callers that want the same model share one download and their sources; it stops soon after the last of them
        is cancelled. Raises `TransferError`, and `StoreError` when the disk is full.
        """
        while (download := self._downloads.get(digest)) is not None and download.stopped.is_set():
            await asyncio.wait([download.result])  # it still has the partial file open
        if self._store.has(digest):
            return self._store.path(digest)
        if download is None:
            download = self._begin(digest, sources)
        with download.joined(sources, progress):
            return await asyncio.shield(download.result)

    async def close(self) -> None:
        """Stops what is running and closes all connections; partial files stay."""
        running = [download.result for download in self._downloads.values()]
        for download in self._downloads.values():
            download.stop()
        if running:
            await asyncio.wait(running)
        self._threads.shutdown()
        self._connections.close()

    def _begin(self, digest: str, sources: Sequence[Source]) -> "_Download":
        download = _Download(digest, sources, self._store, self._connections)
        download.result = asyncio.get_running_loop().run_in_executor(self._threads, download.run)
        self._downloads[digest] = download

        def ended(result: asyncio.Future[Path]) -> None:
            del self._downloads[digest]
            result.exception()  # seen, even when nobody waits any more

        download.result.add_done_callback(ended)
        return download


class _Connections:
    """Connections to file servers, kept between requests: a TLS handshake costs more than a small model."""

    def __init__(
        self, context: ssl.SSLContext, connect_seconds: float, stall_seconds: float, idle_seconds: float
    ) -> None:
        self._context = context
        self._connect_seconds = connect_seconds
        self._stall_seconds = stall_seconds
        self._idle_seconds = idle_seconds
        self._kept: dict[Source, list[tuple[float, http.client.HTTPSConnection]]] = {}
        self._lock = threading.Lock()

    def connect(self, source: Source) -> http.client.HTTPSConnection:
        """A new connection. Raises OSError."""
        host, port = source
        connection = http.client.HTTPSConnection(host, port, context=self._context, timeout=self._connect_seconds)
        connection.connect()
        connection.sock.settimeout(self._stall_seconds)
        return connection

    def take(self, source: Source) -> http.client.HTTPSConnection | None:
        """A kept connection, which the server may have closed meanwhile."""
        with self._lock:
            self._close_older_than(time.monotonic() - self._idle_seconds)
            kept = self._kept.get(source)
            return kept.pop()[1] if kept else None

    def keep(self, source: Source, connection: http.client.HTTPSConnection) -> None:
        """Keeps a connection whose last answer has been read to its end."""
        with self._lock:
            self._close_older_than(time.monotonic() - self._idle_seconds)
            kept = self._kept.setdefault(source, [])
            if len(kept) < _KEPT_PER_SOURCE:
                kept.append((time.monotonic(), connection))
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            self._close_older_than(float("inf"))

    def _close_older_than(self, moment: float) -> None:
        for source, kept in list(self._kept.items()):
            for since, connection in kept:
                if since < moment:
                    connection.close()
            self._kept[source] = [entry for entry in kept if entry[0] >= moment]
            if not self._kept[source]:
                del self._kept[source]


class _Download:
    """One model on its way. `run` works in a thread; what is public otherwise belongs to the event loop."""

    result: asyncio.Future[Path]

    def __init__(self, digest: str, sources: Sequence[Source], store: TensorStore, connections: _Connections) -> None:
        self.stopped = threading.Event()
        self._digest = digest
        self._sources = list(sources)  # may grow while `run` walks along it
        self._store = store
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._callers = 0
        self._listeners: list[Progress] = []
        self._assembly: _Assembly | None = None
        self._reported = 0.0
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    @contextlib.contextmanager
    def joined(self, sources: Sequence[Source], progress: Progress | None) -> Iterator[None]:
        """Counts a caller in, and out; the last one out stops the download."""
        self._callers += 1
        self._sources += [source for source in sources if source not in self._sources]
        if progress is not None:
            self._listeners.append(progress)
        try:
            yield
        finally:
            if progress is not None:
                self._listeners.remove(progress)
            self._callers -= 1
            if not self._callers:
                self.stop()

    def stop(self) -> None:
        """Makes `run` end soon: its socket is shut down under it."""
        self.stopped.set()
        with self._lock:
            if self._socket is not None:
                with contextlib.suppress(OSError):  # closed by the peer
                    # Of TCP alone: the TLS object is in use by the other thread.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def run(self) -> Path:
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
            self._assembly = _Assembly(self._store, info)
        faults: list[str] = []
        for source in self._sources:
            if self.stopped.is_set():
                break
            try:
                assembly = self._take_from(source)
            except _SourceError as error:
                logger.info("model %s from %s:%d: %s", self._digest, *source, error)
                faults.append(f"{source[0]}:{source[1]} {error}")
            else:
                path = assembly.commit()
                self._report(assembly.offset)
                return path
        if self.stopped.is_set():
            raise TransferError(f"model {self._digest}: fetching has been stopped")
        raise TransferError(
            f"model {self._digest} cannot be fetched: {'; '.join(faults) or 'no node is known to hold it'}"
        )

    def _take_from(self, source: Source) -> "_Assembly":
        """Everything that is missing, from one source. Raises `_SourceError`."""
        while True:
            try:
                if self._assembly is None:
                    return self._take_bundle(source)
                return self._take_rest(source, self._assembly)
            except _MixedChunk:
                logger.info("model %s: a chunk begun by another source is wrong, fetched again", self._digest)

    def _take_bundle(self, source: Source) -> "_Assembly":
        with self._exchange(source, "/bundle", {}) as response:
            info = self._read_list(response)
            assembly = self._assembly = _Assembly(self._store, info)
            self._receive(response, assembly)
        return assembly

    def _take_rest(self, source: Source, assembly: "_Assembly") -> "_Assembly":
        assembly.new_origin()
        if not assembly.complete:
            with self._exchange(source, "", {"Range": f"bytes={assembly.offset}-"}) as response:
                self._receive(response, assembly)
        return assembly

    def _read_list(self, response: http.client.HTTPResponse) -> ModelDigest:
        length = response.getheader(LIST_HEADER, "")
        if not length.isdecimal() or int(length) > _MAX_LIST_BYTES:
            raise _SourceError("sent no usable chunk list")
        data = bytearray(int(length))
        filled = 0
        while filled < len(data):
            filled += _receive_some(response, memoryview(data)[filled:])
        try:
            info = ModelDigest.from_bytes(bytes(data))
        except DigestError as error:
            raise _SourceError(f"sent no usable chunk list: {error}") from error
        if info.root != self._digest:
            raise _SourceError("sent the chunk list of another model")
        return info

    def _receive(self, response: http.client.HTTPResponse, assembly: "_Assembly") -> None:
        missing = assembly.info.size - assembly.offset
        if response.length != missing:
            raise _SourceError(f"announces {response.length} bytes where {missing} are missing")
        while not assembly.complete:
            assembly.advance(_receive_some(response, assembly.room))
            now = time.monotonic()
            if now - self._reported >= _REPORT_SECONDS:
                self._reported = now
                self._report(assembly.offset)

    def _report(self, held: int) -> None:
        self._loop.call_soon_threadsafe(self._tell, held)

    def _tell(self, held: int) -> None:
        for listener in self._listeners:
            listener(held)

    @contextlib.contextmanager
    def _exchange(self, source: Source, part: str, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
        """A successful answer to a request for the model. Its connection is kept if the answer is read to its end."""
        connection, response = self._ask(source, f"/models/{self._digest}{part}", headers)
        try:
            if response.status not in (200, 206):
                raise _SourceError(f"answered {response.status}: {_detail(response)}")
            yield response
        finally:
            with self._lock:
                self._socket = None
            read_to_its_end = response.length == 0
            response.close()
            if not read_to_its_end:
                _abort(connection)
            elif response.will_close:
                connection.close()
            else:
                self._connections.keep(source, connection)

    def _ask(
        self, source: Source, path: str, headers: dict[str, str]
    ) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
        kept = self._connections.take(source)
        if kept is not None:
            # The server may have closed it meanwhile; then a new one answers the same request.
            with contextlib.suppress(OSError, http.client.HTTPException):
                return kept, self._send(kept, path, headers)
        try:
            connection = self._connections.connect(source)
            return connection, self._send(connection, path, headers)
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            # The last two: an address that none can be; it is what another node says of itself.
            raise _SourceError(_reason(error)) from error

    def _send(
        self, connection: http.client.HTTPSConnection, path: str, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        with self._lock:
            self._socket = connection.sock
        try:
            if self.stopped.is_set():
                raise _SourceError("stopped")
            connection.request("GET", path, headers=headers)
            return connection.getresponse()
        except BaseException:
            with self._lock:
                self._socket = None
            connection.close()
            raise


class _Assembly:
    """A model being put together: checked chunks in the partial file, the chunk under way in its thread's memory."""

    def __init__(self, store: TensorStore, info: ModelDigest) -> None:
        """Goes on with the bytes of an earlier download, as far as they are right. Raises `StoreError`."""
        self.info = info
        self._store = store
        self._path = store.partial(info.root)
        self._file = store.open_partial(info)
        self._chunk = _chunk_buffer()
        self._index = 0
        self._filled = 0
        self._mixed = False
        self._take_up()

    @property
    def offset(self) -> int:
        """Bytes held; the next one needed."""
        return min(self._index * CHUNK + self._filled, self.info.size)

    @property
    def complete(self) -> bool:
        return self._index == len(self.info.chunks)

    @property
    def room(self) -> memoryview:
        """Where the next bytes of the chunk under way go."""
        return self._chunk[self._filled : self.info.chunk_size(self._index)]

    def new_origin(self) -> None:
        """Says that the next bytes come from somebody else than those before."""
        self._mixed = self._filled > 0

    def advance(self, count: int) -> None:
        """Says that `count` bytes were put into `room`. Raises `_SourceError` or `_MixedChunk` for a wrong chunk."""
        self._filled += count
        size = self.info.chunk_size(self._index)
        if self._filled < size:
            return
        try:
            self.info.check_chunk(self._index, self._chunk[:size])
        except DigestError as error:
            self._filled = 0
            if self._mixed:
                raise _MixedChunk from error
            raise _SourceError(f"sent wrong bytes, {error}") from error
        self._write(self._chunk[:size])
        self._index += 1
        self._filled = 0
        self._mixed = False

    def commit(self) -> Path:
        self.close()
        return self._store.commit(self._path, self.info)

    def close(self) -> None:
        """Saves the unfinished chunk."""
        if self._file.closed:
            return
        with self._file:
            self._write(self._chunk[: self._filled])
            self._file.truncate(self.offset)

    def _take_up(self) -> None:
        while not self.complete:
            count = self._file.readinto(self.room)
            if not count:
                return
            self._filled += count
            size = self.info.chunk_size(self._index)
            if self._filled == size:
                self._filled = 0
                try:
                    self.info.check_chunk(self._index, self._chunk[:size])
                except DigestError:
                    return
                self._index += 1

    def _write(self, data: memoryview) -> None:
        with self._store.writing(self._path, self.info.size):
            at = self._index * CHUNK
            while data:
                written = os.pwrite(self._file.fileno(), data, at)
                at += written
                data = data[written:]


def _abort(connection: http.client.HTTPSConnection) -> None:
    """Closes a connection so that the server learns at once that nobody reads on.

    After an ordinary close in the middle of a body it may wait a minute: TCP then keeps announcing a full window.
    """
    if connection.sock is not None:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _chunk_buffer() -> memoryview:
    """Room for one chunk, the same for all downloads of a thread: fresh memory costs more than a small model."""
    if not hasattr(_thread, "chunk"):
        _thread.chunk = memoryview(bytearray(CHUNK))
    return cast(memoryview, _thread.chunk)


def _receive_some(response: http.client.HTTPResponse, room: memoryview) -> int:
    """The next bytes of a body, at least one; unlike `response.readinto`, keeps what came before a failure."""
    missing = response.length or 0
    try:
        count = response.fp.readinto1(room[:missing])
    except OSError as error:
        raise _SourceError(f"stopped {missing} bytes before the end: {_reason(error)}") from error
    if not count:
        raise _SourceError(f"closed the connection {missing} bytes before the end")
    response.length = missing - count
    return count


def _detail(response: http.client.HTTPResponse) -> str:
    """What a server says about an error: a stranger's text, so it is cut and quoted."""
    try:
        body = response.read(_MAX_DETAIL_BYTES)
    except (OSError, http.client.HTTPException):
        return response.reason
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return repr(str(json.loads(body)["detail"])[:300])
    return repr(body[:100])


def _reason(error: Exception) -> str:
    """Why there was no answer, in words for the operator."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"shows a certificate that is not trusted here: {error.verify_message}"
        case TimeoutError():
            return "does not answer in time"
        case ConnectionRefusedError():
            return "refuses connections: nothing listens on that port"
        case socket.gaierror() | UnicodeError():
            return "is not a known host name"
        case ssl.SSLEOFError() | ConnectionError():
            return "closed the connection; it may not trust this node's certificate"
        case http.client.HTTPException():
            return f"sent no valid HTTP answer: {error!r}"
        case _:
            return f"cannot be reached: {error}"
