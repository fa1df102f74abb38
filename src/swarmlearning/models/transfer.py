"""Fetches models from the file servers of other nodes: many at a time, each of them once.

How one model comes is in `download.py` and `gathering.py`. A download mostly waits for its sources, so each of these
has a thread of its own: slow ones hold up no other.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from swarmlearning.models.body import SourceError
from swarmlearning.models.connections import Connections, Source
from swarmlearning.models.destinations import Refusal, anywhere
from swarmlearning.models.download import Download, Progress, Watcher
from swarmlearning.models.exchange import Exchange, Stated, Stopped, Wanted
from swarmlearning.models.gathering import TransferError
from swarmlearning.models.pacing import Bandwidth
from swarmlearning.models.pushing import Push
from swarmlearning.models.store import TensorStore
from swarmlearning.tensors.digest import ModelDigest

__all__ = ["Fetcher", "Source", "Stated", "TransferError"]


class Fetcher:
    """Fetches models into `store`, at most `workers` at a time; belongs to one event loop.

    `connect_seconds` bounds each step of connecting, which takes seconds where many others fill a thin link;
    `stall_seconds` the time in which a source has to bring more of the model. Connections are kept for the next fetch,
    for at most `idle_seconds` (less than the 75 s that the servers keep them). Sources at addresses that `refuse` gives
    a reason for are not connected to. All keeps to the limits of `bandwidth`, where there are any.
    """

    def __init__(
        self,
        client_context: ssl.SSLContext,
        store: TensorStore,
        *,
        workers: int = 128,
        connect_seconds: float = 10.0,
        stall_seconds: float = 30.0,
        idle_seconds: float = 60.0,
        refuse: Refusal = anywhere,
        bandwidth: Bandwidth | None = None,
    ) -> None:
        self._store = store
        self._stall_seconds = stall_seconds
        self._bandwidth = bandwidth
        down = bandwidth.down if bandwidth else None
        self._connections = Connections(client_context, connect_seconds, idle_seconds, refuse, down)
        self._threads = ThreadPoolExecutor(workers, "fetch")
        self._downloads: dict[Wanted, Download] = {}

    async def fetch(
        self,
        digest: str,
        sources: Sequence[Source],
        progress: Progress | None = None,
        size: int | None = None,
        height: int | None = None,
        watcher: Watcher | None = None,
        begun: str = "",
    ) -> Path:
        """The file of model `digest`, fetched unless it is held; each of `sources`, (host, port), is tried once.

        `height`: that of the ledger on which the caller saw that it may have the model, for sources that are behind.
        `size`, where it is known: a source that offers a model of another size is refused. `progress` is called in the
        event loop with the bytes held so far, at most ten times a second and at the end; `watcher` is told what each
        source does. `begun`: another name under which chunks of the model may be here; those are not fetched.

        Callers that want the same share one download and their sources; it stops soon after the last of them
        is cancelled. Raises `TransferError`, and `StoreError` when the disk is full.
        """
        return await self._fetch(Wanted(digest, size, begun=begun), sources, progress, height, watcher)

    async def fetch_part(
        self,
        digest: str,
        chunks: range,
        sources: Sequence[Source],
        progress: Progress | None = None,
        size: int | None = None,
        height: int | None = None,
        watcher: Watcher | None = None,
        stated: Stated | None = None,
        stall_seconds: float | None = None,
    ) -> None:
        """These chunks of model `digest`, fetched as far as they are not here: `TensorStore.open_part` reads them.

        `stated`: where `digest` is no root but the name under which parts of a result are kept, what somebody has
        stated of these chunks. What is here of them under other digests is dropped: of two statements on one slice
        fetch one at a time. `stall_seconds`: in place of the fetcher's. The rest is as for `fetch`.
        """
        wanted = Wanted(digest, size, chunks, stated)
        await self._fetch(wanted, sources, progress, height, watcher, stall_seconds)

    async def _fetch(
        self,
        wanted: Wanted,
        sources: Sequence[Source],
        progress: Progress | None,
        height: int | None,
        watcher: Watcher | None,
        stall_seconds: float | None = None,
    ) -> Path:
        key = wanted._replace(size=None, begun="")
        while (download := self._downloads.get(key)) is not None and download.ending:
            await asyncio.wait([download.result])  # it may still have the partial file open
        if self._store.has(wanted.digest):
            return self._store.path(wanted.digest)
        if download is None:
            download = self._begin(wanted, sources, height, stall_seconds or self._stall_seconds)
        with download.joined(sources, progress, watcher):
            return await asyncio.shield(download.result)

    async def sums(
        self, kind: str, name: str, index: int, source: Source, most: int, height: int | None = None
    ) -> bytes:
        """What a source knows of the models' `influence` in a slice of the result of this name, or its `statistics` in
        a survey of this name; at most so many bytes.

        Raises `TransferError`.
        """
        exchange = Exchange(Wanted(name), source, self._connections, height, self._stall_seconds)
        running = asyncio.get_running_loop().run_in_executor(self._threads, exchange.sums, kind, index, most)
        try:
            return await asyncio.shield(running)
        except (SourceError, Stopped) as error:
            raise TransferError(f"{kind} of slice {index} of {name}: {error}") from error
        except asyncio.CancelledError:
            exchange.stop()
            running.add_done_callback(lambda done: done.cancelled() or done.exception())  # retrieved
            raise

    def push(
        self, info: ModelDigest, source: Source, fault: Callable[[bytes], str], sent: Callable[[int], object]
    ) -> Push:
        """What pushes this model to a node, over the connections that are kept. See `Push`."""
        up = self._bandwidth.up if self._bandwidth else None
        return Push(info, source, self._connections, fault, self._stall_seconds, up, sent)

    async def close(self) -> None:
        """Stops what is running and closes all connections; partial files stay."""
        running = [download.result for download in self._downloads.values()]
        for download in self._downloads.values():
            download.stop()
        if running:
            await asyncio.wait(running)
        self._threads.shutdown()
        self._connections.close()

    def _begin(self, wanted: Wanted, sources: Sequence[Source], height: int | None, stall_seconds: float) -> Download:
        def exchange(source: Source) -> Exchange:
            return Exchange(wanted, source, self._connections, height, stall_seconds)

        key = wanted._replace(size=None, begun="")
        download = self._downloads[key] = Download(wanted, sources, exchange, self._store, self._threads)

        def ended(result: asyncio.Future[Path]) -> None:
            del self._downloads[key]
            result.exception()  # retrieved, even when no caller waits any more

        download.result.add_done_callback(ended)
        return download
