"""One model on its way from the file servers that hold it, one after another.

It runs in a thread with blocking sockets, which moves several times what asyncio HTTP clients do. When a source stops
in the middle, the next one goes on at that byte. When the download ends early, a later one (even after a restart)
does.

A chunk that one source sent whole and that does not fit its digest is that source's fault. A chunk that somebody else
had begun is fetched again from its start before anyone is blamed.
"""

import asyncio
import contextlib
import http.client
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from swarmlearning.address import join
from swarmlearning.models.assembly import Assembly, WrongChunk
from swarmlearning.models.body import Body, SourceError, body_of
from swarmlearning.models.compression import CODING
from swarmlearning.models.connections import Connection, Connections, Source, reason
from swarmlearning.models.fileserver import LIST_HEADER
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.models.tlsstream import TlsStream
from swarmlearning.tensors.digest import DigestError, ModelDigest

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]

_MAX_LIST_BYTES: Final = 4 * 2**20  # the chunk list of a model of one terabyte
_MAX_DETAIL_BYTES: Final = 4096
_REPORT_SECONDS: Final = 0.1


class TransferError(Exception):
    """A model could not be fetched; the message lists each source and what went wrong there."""


class Download:
    """One model on its way. `run` works in a thread; what is public otherwise belongs to the event loop."""

    result: asyncio.Future[Path]

    def __init__(
        self,
        digest: str,
        size: int | None,
        sources: Sequence[Source],
        store: TensorStore,
        connections: Connections,
    ) -> None:
        self.stopped = threading.Event()
        self._digest = digest
        self._size = size
        self._sources = list(sources)  # may grow while `run` walks along it
        self._store = store
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._callers = 0
        self._listeners: list[Progress] = []
        self._assembly: Assembly | None = None
        self._reported = 0.0
        self._lock = threading.Lock()
        self._stream: TlsStream | None = None

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
        """Makes `run` end soon: its connection is shut down under it."""
        self.stopped.set()
        with self._lock:
            if self._stream is not None:
                self._stream.shutdown()

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
            self._assembly = Assembly(self._store, info)
        faults: list[str] = []
        for source in self._sources:
            if self.stopped.is_set():
                break
            try:
                assembly = self._take_from(source)
            except SourceError as error:
                logger.info("model %s from %s: %s", self._digest, join(*source), error)
                faults.append(f"{join(*source)} {error}")
            else:
                path = assembly.commit()
                self._report(assembly.offset)
                return path
        if self.stopped.is_set():
            raise TransferError(f"model {self._digest}: fetching has been stopped")
        raise TransferError(
            f"model {self._digest} cannot be fetched: {'; '.join(faults) or 'no node is known to hold it'}"
        )

    def _take_from(self, source: Source) -> Assembly:
        """Everything that is missing, from one source. Raises `SourceError`."""
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
        with self._exchange(source, "/bundle", {"Accept-Encoding": CODING}) as response:
            body = body_of(response)
            info = self._read_list(response, body)
            assembly = self._assembly = Assembly(self._store, info)
            self._receive(body, assembly)
        return assembly

    def _take_rest(self, source: Source, assembly: Assembly) -> Assembly:
        assembly.new_origin()
        if not assembly.complete:
            with self._exchange(source, "", {"Range": f"bytes={assembly.offset}-"}) as response:
                self._receive(body_of(response), assembly)
        return assembly

    def _read_list(self, response: http.client.HTTPResponse, body: Body) -> ModelDigest:
        length = response.getheader(LIST_HEADER, "")
        if not length.isdecimal() or int(length) > _MAX_LIST_BYTES:
            raise SourceError("sent no usable chunk list")
        data = bytearray(int(length))
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

    def _receive(self, body: Body, assembly: Assembly) -> None:
        body.expect(assembly.info.size - assembly.offset)
        while not assembly.complete:
            _fill_room(body, assembly)
            now = time.monotonic()
            if now - self._reported >= _REPORT_SECONDS:
                self._reported = now
                self._report(assembly.offset)
        body.finish()

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
                raise SourceError(f"answered {response.status}: {_detail(response)}")
            yield response
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
            # The last two: an address that none can be; it is what another node says of itself.
            raise SourceError(reason(error)) from error

    def _send(self, connection: Connection, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        with self._lock:
            self._stream = connection.stream
        try:
            if self.stopped.is_set():
                raise SourceError("stopped")
            connection.request("GET", path, headers=headers)
            return connection.getresponse()
        except BaseException:
            with self._lock:
                self._stream = None
            connection.close()
            raise


def _fill_room(body: Body, assembly: Assembly) -> None:
    """The next piece of the model; what came before a failure is kept."""
    room, filled = assembly.room, 0
    try:
        while filled < len(room):
            filled += body.receive(room[filled:])
    finally:
        assembly.advance(filled)


def _detail(response: http.client.HTTPResponse) -> str:
    """What a server says about an error: a stranger's text, so it is cut and quoted."""
    try:
        body = response.read(_MAX_DETAIL_BYTES)
    except (OSError, http.client.HTTPException):
        return response.reason
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return repr(str(json.loads(body)["detail"])[:300])
    return repr(body[:100])
