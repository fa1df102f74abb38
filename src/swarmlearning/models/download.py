"""A download that callers share: its threads, its progress, and its result in the event loop.

Each source has a thread with blocking sockets, which moves several times what asyncio HTTP clients do. When the
download ends early, a later one (even after a restart) goes on with the chunks that are here. Slow is not dead, so a
whole download has no time limit.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Final, Protocol

from swarmlearning.models.body import Fault
from swarmlearning.models.connections import Source
from swarmlearning.models.exchange import Exchange, Wanted
from swarmlearning.models.gathering import Gathering, News, TransferError
from swarmlearning.models.store import StoreError, TensorStore

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]


class Watcher(Protocol):
    """Is told in the event loop what the sources of a download do."""

    def asked(self, source: Source) -> None:
        """It is asked from now on, perhaps beside others."""

    def brought(self, source: Source, size: int) -> None:
        """So many bytes more have come from it."""

    def left(self, source: Source, fault: Fault | None) -> None:
        """It is not asked any more; for this fault, if it has one."""


AT_ONCE: Final = 4
"""Sources that are asked at the same time."""
HELP_SECONDS: Final = 1.0
"""One source more is asked every so often, while the rest of the model would need longer than this."""


class Download:
    """One model, or some chunks of one, on their way. Belongs to the event loop; `result` is the path of the file."""

    def __init__(
        self,
        wanted: Wanted,
        sources: Sequence[Source],
        exchange: Callable[[Source], Exchange],
        store: TensorStore,
        threads: Executor,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.result: asyncio.Future[Path] = self._loop.create_future()
        call = self._loop.call_soon_threadsafe
        news = News(
            asked=lambda source: call(self._note_asked, source),
            brought=lambda source, size: call(self._note_brought, source, size),
            left=lambda source, fault: call(self._note_left, source, fault),
            held=lambda held: call(self._report, held),
        )
        self._gathering = Gathering(wanted, sources, exchange, store, news)
        self._threads = threads
        self._workers = 0
        self._callers = 0
        self._looked = 0
        self._listeners: list[Progress] = []
        self._watchers: list[Watcher] = []
        self._asked: dict[Source, int] = {}  # those at work, and the bytes that they have brought
        self._held = 0
        self._pin = contextlib.ExitStack()
        self._pin.enter_context(store.pinned(wanted.digest))
        self._employ()
        self._help = self._loop.call_later(HELP_SECONDS, self._look)

    @property
    def ending(self) -> bool:
        """True once nobody can join it any more; its partial file is open until `result` is there."""
        return self._gathering.over or self.result.done()

    @contextlib.contextmanager
    def joined(self, sources: Sequence[Source], progress: Progress | None, watcher: Watcher | None) -> Iterator[None]:
        """Counts a caller in, and out; the last one out stops the download."""
        self._callers += 1
        self._gathering.add(sources)
        if progress is not None:
            self._listeners.append(progress)
        if watcher is not None:
            self._watchers.append(watcher)
            for source in self._asked:
                watcher.asked(source)
        try:
            yield
        finally:
            if progress is not None:
                self._listeners.remove(progress)
            if watcher is not None:
                self._watchers.remove(watcher)
            self._callers -= 1
            if not self._callers:
                self.stop()

    def stop(self) -> None:
        """Ends it soon."""
        self._gathering.stop()

    def _employ(self) -> None:
        """One more thread, where more sources may be asked."""
        if not self._gathering.over:
            self._workers += 1
            self._loop.run_in_executor(self._threads, self._gathering.work).add_done_callback(self._ended)

    def _look(self) -> None:
        """Asks another source to help where that is worth it."""
        self._looked += 1
        if self._gathering.takes_longer_than(HELP_SECONDS):
            if self._workers < AT_ONCE:
                self._employ()
            elif self._looked.bit_count() == 1:  # ever less often: these may be the best there are
                self._gathering.set_aside()
        self._help = self._loop.call_later(HELP_SECONDS, self._look)

    def _ended(self, working: "asyncio.Future[None]") -> None:
        """A thread has no source left, or the model is here; the last one brings the outcome."""
        self._workers -= 1
        if (error := working.exception()) is not None:
            logger.error("a download has failed unexpectedly", exc_info=error)
        if self._workers and self._gathering.path is None:
            return
        if not self.result.done():
            try:
                self.result.set_result(self._gathering.outcome())
            except (TransferError, StoreError) as failure:
                self.result.set_exception(failure)
        self._help.cancel()
        if not self._workers:
            self._pin.close()

    def _report(self, held: int) -> None:
        self._held = max(self._held, held)  # chunks of several sources are on their way
        for listener in self._listeners:
            listener(self._held)

    def _note_asked(self, source: Source) -> None:
        self._asked[source] = 0
        for watcher in self._watchers:
            watcher.asked(source)

    def _note_brought(self, source: Source, size: int) -> None:
        more = size - self._asked.get(source, size)
        if more > 0:
            self._asked[source] = size
            for watcher in self._watchers:
                watcher.brought(source, more)

    def _note_left(self, source: Source, fault: Fault | None) -> None:
        self._asked.pop(source, None)
        for watcher in self._watchers:
            watcher.left(source, fault)
