"""Merging a part of a result again, from the contributions, to see whether its mergers have merged it rightly."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from swarmlearning.merge.back import code_back
from swarmlearning.merge.faults import Faulty
from swarmlearning.merge.merging import MergeError
from swarmlearning.merge.ranges import merge_range
from swarmlearning.merge.streaming import OnRead, Range
from swarmlearning.models.store import NotHeldError, StoreError, TensorStore
from swarmlearning.rounds.checks import Piece, Recheck, Rechecked, Uncheckable
from swarmlearning.rounds.events import Dropped, Event
from swarmlearning.rounds.slices import MergeSlice
from swarmlearning.sl.layouts import chunks_of, data_in
from swarmlearning.sl.merging import in_thread
from swarmlearning.sl.slices import NO_SLICE, SliceWork
from swarmlearning.sl.unusable import Unusable
from swarmlearning.tensors.digest import DigestError, ModelDigest, digest_chunk
from swarmlearning.tensors.file import read_header

logger = logging.getLogger("swarm.SL")


class Recomputing:
    """Belongs to one event loop. `slices` fetches ranges of contributions; `count` is called with the bytes that a
    merge has read, in any thread."""

    def __init__(
        self, store: TensorStore, slices: SliceWork, emit: Callable[[Event], None], count: Callable[[int], None]
    ) -> None:
        self._store = store
        self._slices = slices
        self._emit = emit
        self._count = count

    async def recheck(self, task: Recheck, members: Sequence[str]) -> None:
        """Merges the pieces again and compares them; `members` may have the round's base."""
        recipe = task.recipe
        merged = task.merged or task.result
        with self._store.pinned(merged, recipe.base, *(one.digest for one in recipe.contributors)):
            try:
                info = self._store.digest_info(merged)
                for piece in task.pieces:
                    work = MergeSlice(recipe, NO_SLICE, piece.start, piece.stop, task.seconds)
                    await self._slices.gather(work, info, chunks_of(info.layout, piece.start, piece.stop), members)
                wrong = await in_thread(lambda read: self._wrong(task, info, read), self._count)
            except NotHeldError as error:
                if not self._store.has(merged):
                    self._emit(Dropped(merged))
                self._emit(Uncheckable(task.result, str(error)))
            except (Unusable, MergeError, StoreError) as error:
                who = f"the model of {error.exclusion.uid}: " if isinstance(error, Unusable) else ""
                logger.warning("Round %d cannot be checked here: %s%s", recipe.round, who, error)
                self._emit(Uncheckable(task.result, f"{who}{error}"))
            else:
                self._emit(Rechecked(task.result, wrong))

    def _wrong(self, task: Recheck, info: ModelDigest, on_read: OnRead) -> tuple[int, ...]:
        """The slices in which the result has other bytes. Blocks. Raises `MergeError` and `StoreError`."""
        scratch = self._store.temporary()
        try:
            with self._store.writing(scratch, info.size):
                wrong = {each.slice for each in task.pieces if not self._is_right(each, task, info, scratch, on_read)}
                return tuple(sorted(wrong))
        finally:
            scratch.unlink(missing_ok=True)

    def _is_right(self, piece: Piece, task: Recheck, info: ModelDigest, scratch: Path, on_read: OnRead) -> bool:
        chunks = chunks_of(info.layout, piece.start, piece.stop)
        if (data := data_in(info.layout, chunks)) is None:
            return True
        try:
            self._merge(task, data, scratch, on_read)
        except Faulty as error:
            logger.warning("A model of round %d should have been left out: %s", task.recipe.round, error)
            return False
        with scratch.open("rb", buffering=0) as file:
            try:
                return all(
                    digest_chunk(file.fileno(), info.layout, index) == info.chunks[index]
                    for index in chunks
                    if index > 0  # the header is known from the models
                )
            except DigestError as error:
                raise StoreError(f"{scratch}: {error}") from error

    def _merge(self, task: Recheck, data: Range, scratch: Path, on_read: OnRead) -> None:
        recipe, path = task.recipe, self._slices.path
        merge_range(
            recipe.method,
            self._slices.codings.sources(recipe, self._store.digest_info(task.result), path),
            path(recipe.base) if recipe.base else None,
            scratch,
            read_header(self._store.path(task.merged or task.result)),
            data,
            on_read=on_read,
        )
        if (coding := self._slices.codings.of(recipe.back, self._store.digest_info(task.result))) is not None:
            change = self._store.temporary()
            try:
                code_back(coding, path(recipe.base), scratch, change, data, on_read)
            finally:
                change.unlink(missing_ok=True)
