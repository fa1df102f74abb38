"""One model gathered from the file servers that hold it: what its threads do, one for each source that is asked.

The first source is asked for all. When that takes long, others are asked for parts of it at the same time
(`claims.py`); when one stops, another goes on with what it has not brought. A chunk comes from one source, so one that
does not fit its digest is that source's fault. Sources that have only some of the chunks tell which.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from swarmlearning.models.body import Fault, SourceError
from swarmlearning.models.connections import Source, text_of
from swarmlearning.models.exchange import Exchange, Lacking, Stopped, Wanted
from swarmlearning.models.parts import Parts
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.tensors.digest import ModelDigest, slice_root

logger = logging.getLogger(__name__)

_IDLE_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 1.0  # the same for a source that may get more chunks meanwhile
_REPORT_SECONDS: Final = 0.1
_BLAME: Final[tuple[Fault, ...]] = ("misshapen", "invalid", "too-slow", "unreachable", "not-held")
_MAY_HAVE_IT: Final[frozenset[Fault]] = frozenset({"unreachable", "too-slow"})


class TransferError(Exception):
    """A model could not be fetched; the message lists each source and what went wrong there.

    `fault` is the gravest of the sources' faults; it names no source, so it may be made public. `silent`: nothing has
    come from any of them, or not any more. `unresponsive`: each may well have the model, but was not reached or was too
    slow.
    """

    def __init__(self, text: str, *faults: Fault, silent: bool = False) -> None:
        super().__init__(text)
        self.unresponsive = _MAY_HAVE_IT.issuperset(faults)
        self.fault: Fault = min(faults, key=_BLAME.index) if faults else "unreachable"
        self.silent = silent


class News(NamedTuple):
    """What is called in the threads: when a source is asked, has brought so many bytes, and is not asked any more (for
    this fault); and now and then with the bytes that are here.
    """

    asked: Callable[[Source], object]
    brought: Callable[[Source, int], object]
    left: Callable[[Source, Fault | None], object]
    held: Callable[[int], object]


class Gathering:
    """Any thread may call; `work` is for as many threads as sources are to be asked at once."""

    def __init__(
        self,
        wanted: Wanted,
        sources: Sequence[Source],
        exchange: Callable[[Source], Exchange],
        store: TensorStore,
        news: News,
    ) -> None:
        self.path: Path | None = None
        """The file in the store, once all that is wanted is there."""
        self._wanted = wanted
        self._digest = wanted.digest
        self._exchange = exchange
        self._store = store
        self._news = news
        self._lock = threading.Condition()
        self._beginning = threading.Lock()
        self._known = list(sources)
        self._untried = list(sources)
        self._asked: set[Exchange] = set()
        self._over = False
        self._working = 0
        self._parts: Parts | None = None
        self._faults: list[Fault] = []
        self._answered = False
        self._texts: list[str] = []
        self._failure: StoreError | None = None
        self._before, self._begun = 0, 0.0  # bytes that were here as it began, and when that was
        self._reported = 0.0

    @property
    def over(self) -> bool:
        """True once it is to end, for whatever reason."""
        return self._over

    def add(self, sources: Sequence[Source]) -> None:
        """More that hold the model."""
        with self._lock:
            new = [source for source in sources if source not in self._known]
            self._known += new
            self._untried += new

    def takes_longer_than(self, seconds: float) -> bool:
        """True if the sources at work will need longer for the rest, as they do now, and another one is known."""
        parts = self._parts
        if self._over or not self._untried:
            return False
        if parts is None:  # not even the chunk list is here
            return True
        chunks = self._chunks(parts)
        held, all_of_it = parts.size_of(chunks), parts.layout.length(chunks)
        return (held - self._before) * seconds < (all_of_it - held) * (time.monotonic() - self._begun)

    def set_aside(self) -> None:
        """The slowest source makes room for one that has not been asked yet; it comes to its turn again."""
        with self._lock:
            slowest = min(self._asked, key=Exchange.speed, default=None)
            if slowest is not None and self._untried and not self._over:
                self._untried.append(slowest.source)
                slowest.stop()

    def stop(self) -> None:
        """Makes all threads end soon; what has come is kept for the next attempt."""
        with self._lock:
            self._over = True
            for exchange in self._asked:
                exchange.stop()
            self._lock.notify_all()

    def work(self) -> None:
        """Asks one source after another, until the model is here or none is left."""
        with self._lock:
            self._working += 1
        try:
            try:
                while (source := self._next()) is not None:
                    with self._asking(source) as exchange:
                        self._take_from(exchange)
            finally:
                self._leave()
        except StoreError as error:
            self._failure = error
            self.stop()

    def outcome(self) -> Path:
        """The model's path, once all threads have ended. Raises `TransferError` and `StoreError`."""
        if self.path is not None:
            return self.path
        if self._failure is not None:
            if self._wanted.chunks is None:
                self._store.forget(self._digest)  # on a full disk others need the room
            raise self._failure
        if self._over:
            raise TransferError(f"model {self._digest}: fetching has been stopped")
        why = "; ".join(self._texts) or "no node is known to hold it"
        silent = bool(self._faults) and not self._answered
        raise TransferError(
            f"model {self._digest} cannot be fetched: {why}", *(self._faults or ["not-held"]), silent=silent
        )

    # --- inside -----------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        """The last thread to leave closes the file. Raises `StoreError`."""
        with self._lock:
            self._working -= 1
            last = not self._working
        with self._beginning:
            if last and self._parts is not None:
                parts, self._parts = self._parts, None
                parts.close()

    def _next(self) -> Source | None:
        if self._parts is None and (info := self._kept()) is not None:
            with contextlib.suppress(SourceError):  # what is here is not cut as it would have to be
                self._finished(self._begin(info))
        with self._lock:
            return None if self._over or not self._untried else self._untried.pop(0)

    @contextlib.contextmanager
    def _asking(self, source: Source) -> Iterator[Exchange]:
        """Inside the block the source is asked; what it does wrong ends the block, and is noted."""
        exchange, fault = self._exchange(source), None
        self._news.asked(source)
        with self._lock:
            self._asked.add(exchange)
            if self._over:
                exchange.stop()
        try:
            yield exchange
        except Stopped:
            pass
        except SourceError as error:
            fault = self._blame(source, error)
        except StoreError:
            raise
        except Exception as error:  # nothing that a source sends may end this node
            logger.exception("model %s from %s", self._digest, text_of(source))
            fault = self._blame(source, SourceError(f"sent what cannot be understood: {error!r:.200}"))
        finally:
            self._news.brought(source, exchange.brought)
            self._news.left(source, fault)
            with self._lock:
                self._asked.discard(exchange)
                self._lock.notify_all()

    def _blame(self, source: Source, error: SourceError) -> Fault:
        logger.info("model %s from %s: %s", self._digest, text_of(source), error)
        with self._lock:
            self._faults.append(error.fault)
            self._answered = self._answered or not error.silent
            self._texts.append(f"{text_of(source)} {error}")
        return error.fault

    def _take_from(self, exchange: Exchange) -> None:
        """All that this source can bring. Raises `SourceError`, `StoreError` and `Stopped`."""
        note = partial(self._note, exchange)
        if self._parts is None and self._wanted.chunks is None and not self._wanted.begun:
            with contextlib.suppress(Lacking):
                exchange.bundle(self._begin, note)
        if (parts := self._parts) is None:
            parts = self._begin(exchange.chunk_list())
        chunks = self._chunks(parts)
        while not self._finished(parts):
            if exchange.stopped:
                raise Stopped
            if (claim := parts.claim(exchange.holding, chunks)) is None:
                self._wait_for_others(exchange, parts, chunks)
                continue
            try:
                exchange.take(parts, claim, note)
            except Lacking:
                exchange.look(parts)
            finally:
                parts.release(claim)

    def _wait_for_others(self, exchange: Exchange, parts: Parts, chunks: range) -> None:
        """Others bring the last chunks, and may yet fail to; meanwhile this source may get more."""
        if not parts.are_on_their_way(chunks):
            raise SourceError("has none of the chunks that are missing", "not-held")
        with self._lock:
            self._lock.wait(_IDLE_SECONDS if exchange.holding.here is None else _LOOK_SECONDS)
        if exchange.holding.here is not None and not self._over:
            exchange.look(parts)

    def _chunks(self, parts: Parts) -> range:
        return range(parts.layout.count) if self._wanted.chunks is None else self._wanted.chunks

    def _kept(self) -> ModelDigest | None:
        """The chunk list of an earlier attempt, where it tells all that is needed."""
        parts = self._store.parts(self._digest)
        info = parts.info if parts else None
        stated, chunks = self._wanted.stated, self._wanted.chunks
        if info is None or stated is None or chunks is None:
            return info
        return info if info.layout == stated.layout and slice_root(info, chunks) == stated.root else None

    def _begin(self, info: ModelDigest) -> Parts:
        """Opens the parts of the model. Raises `SourceError` for chunks that it cannot have, and `StoreError`."""
        with self._beginning:
            if self._parts is not None:
                return self._parts
            wanted, known = self._wanted, info
            if wanted.chunks is not None and not 0 <= wanted.chunks.start < wanted.chunks.stop <= info.layout.count:
                raise SourceError(f"has a model of {info.layout.count} chunks, not one with those wanted")
            if wanted.stated is not None:
                known = ModelDigest.unstated(info.layout)
            parts = self._store.parts(self._digest, known)
            assert parts is not None
            if parts.layout != info.layout:
                raise SourceError("has a model that is cut in another way")
            parts.open()
            if wanted.begun and (begun := self._store.parts(wanted.begun)) is not None:
                with begun.used():
                    parts.copy_from(begun)
            if wanted.stated is not None and wanted.chunks is not None:
                parts.state(wanted.chunks, info.chunks[wanted.chunks.start : wanted.chunks.stop])
            self._before, self._begun = parts.size_of(self._chunks(parts)), time.monotonic()
            self._parts = parts
            return parts

    def _finished(self, parts: Parts) -> bool:
        """Moves a model that is complete into the store."""
        with self._lock:
            chunks = self._chunks(parts)
            if self.path is None and not self._over and parts.has(chunks):
                if parts.complete and self._wanted.stated is None:
                    self._store.commit_parts(parts)
                held = self._store.has(self._digest)
                self.path = self._store.path(self._digest) if held else parts.path
                self._news.held(parts.size_of(chunks))
        if self.path is not None:
            self.stop()
        return self._over

    def _note(self, exchange: Exchange, pending: int) -> None:
        """Reports progress now and then, and writes down which chunks are here."""
        parts, now = self._parts, time.monotonic()
        assert parts is not None
        if now - self._reported < _REPORT_SECONDS:
            return
        self._reported = now
        self._news.held(parts.size_of(self._chunks(parts)) + pending)
        self._news.brought(exchange.source, exchange.brought)
        parts.note_at_times()
