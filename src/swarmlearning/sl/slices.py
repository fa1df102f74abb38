"""An SL's work with slices of a round's model: fetching ranges of contributions, merging them, putting slices together.

What is here of a result lies in the store under the name of its recipe until all of it is. The chunks of a slice are
those of its data, and of the first one the header, too, which all models of a training share.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from random import random
from typing import TYPE_CHECKING, Final

from swarmlearning.choices import Transfer
from swarmlearning.errors import first_cause
from swarmlearning.ledger.contracts.training.serving import coded_as, rounds_of
from swarmlearning.ledger.contracts.training.slices import Contributor, Slice, change_name
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.merge.merging import MergeError, UnmergeableError
from swarmlearning.merge.parts import PartError
from swarmlearning.merge.ranges import gram_part, merge_range
from swarmlearning.merge.streaming import OnRead, Range
from swarmlearning.models.connections import Source
from swarmlearning.models.parts import Parts
from swarmlearning.models.pins import Pin
from swarmlearning.models.store import NotHeldError, StoreError, TensorStore
from swarmlearning.models.transfer import Fetcher, Stated, TransferError
from swarmlearning.rounds.events import Dropped, Event, LocalFailure
from swarmlearning.rounds.exclusions import exclusion_of
from swarmlearning.rounds.slices import (
    Assemble,
    Assembled,
    FetchSlice,
    MergeSlice,
    SliceFetched,
    SliceMerged,
    SliceMissing,
    SlicesLost,
    SliceUnmergeable,
    WeighModels,
)
from swarmlearning.sl.arrivals import Arrivals
from swarmlearning.sl.backslices import BackSlices
from swarmlearning.sl.codings import Codings
from swarmlearning.sl.influences import Found, Influences
from swarmlearning.sl.layouts import NOTHING, NoLayout, chunks_of, copy_start, data_in
from swarmlearning.sl.merging import in_thread
from swarmlearning.sl.patience import STALL_SECONDS, patiently
from swarmlearning.sl.surveys import Surveys, survey_of
from swarmlearning.sl.turns import Turns
from swarmlearning.sl.unusable import Unusable, blaming
from swarmlearning.tensors.digest import Layout, ModelDigest, slice_root
from swarmlearning.tensors.file import TensorFileError, read_header

if TYPE_CHECKING:
    from swarmlearning.sl.links import Links

NO_SLICE: Final = -1
"""In the place of a slice's index: ranges are fetched for a check, and not to merge a slice."""
FROM_ONE: Final = 2
"""Parts of models, and of the result, that come from one member at a time: while one is asked for, the other one fills
the link. More would need new connections, which open slowly behind a link that is full."""

logger = logging.getLogger("swarm.SL")


class SliceWork:
    """Belongs to one event loop. `sources` gives the addresses of members; `measured` measures a transfer from them;
    `count` is called with the bytes that a merge has read, in any thread; `height` is that of the ledger; `own` is the
    model that the script has handed over last; `arrivals` are of models that are pushed here; `codings` tell how
    changes of models are coded."""

    def __init__(
        self,
        store: TensorStore,
        fetcher: Fetcher,
        emit: Callable[[Event], None],
        sources: Callable[[Sequence[str]], Mapping[Source, str]],
        measured: Callable[[Mapping[Source, str]], AbstractContextManager["Links"]],
        count: Callable[[int], None],
        height: Callable[[], int],
        own: Callable[[], str],
        arrivals: Arrivals | None = None,
        codings: Codings | None = None,
    ) -> None:
        self._store = store
        self._fetcher = fetcher
        self._emit = emit
        self._sources = sources
        self._measured = measured
        self._count = count
        self._height = height
        self._own = own
        self._arrivals = arrivals
        self.codings = codings or Codings(store)
        self._back = BackSlices(store, self.codings, self.path, count)
        self._turns = defaultdict[str, Turns](partial(Turns, FROM_ONE))
        self.influences = Influences(fetcher, height)
        self.surveys = Surveys(fetcher, height)

    def sums(self, kind: str, name: str, index: int) -> bytes | None:
        """What this node knows of the models' `influence` in a slice that it has merged, or its `statistics` of one."""
        return (self.surveys if kind == "statistics" else self.influences).of(name, index)

    # --- merging ------------------------------------------------------------------------------------------------------

    async def merge(self, task: MergeSlice, members: Sequence[str]) -> None:
        """Merges a slice, or surveys it; `members` may have the round's base."""
        recipe, index = task.recipe, task.slice
        digests = [one.digest for one in recipe.contributors]
        with self._store.pinned(recipe.name, change_name(recipe.name), recipe.base, *digests):
            try:
                info = self._reference(recipe.base, *digests)
                chunks = chunks_of(info.layout, task.start, task.stop)
                await self.gather(task, info, chunks, members)
                work = self._survey if recipe.survey else self._merge
                done = await in_thread(lambda read: work(task, info, chunks, read), self._count)
            except Unusable as fault:
                logger.info("Slice %d of round %d is not merged: %s", index, recipe.round, fault)
                self._emit(SliceUnmergeable(recipe.name, index, fault.exclusion))
            except NotHeldError as error:
                for digest in filter(None, (recipe.base, *digests)):
                    if not self._store.has(digest):
                        self._emit(Dropped(digest))
                self._emit(LocalFailure(task, str(error)))
            except (MergeError, StoreError, NoLayout) as error:
                logger.warning("Slice %d of round %d cannot be merged here: %s", index, recipe.round, error)
                self._emit(LocalFailure(task, str(error), permanent=isinstance(error, UnmergeableError)))
            else:
                self._emit(done)

    async def gather(self, task: MergeSlice, info: ModelDigest, chunks: range, members: Sequence[str]) -> None:
        """Fetches this range of all models that are not here, each from its contributor. Raises `Unusable`, and
        `StoreError`."""
        wanted = list[Contributor]()
        for one in task.recipe.contributors:
            if not self._store.has(one.digest):
                wanted.append(one)
            elif why := self.codings.fault_of(task.recipe, info, one.digest):
                raise Unusable(one.uid, "structure", why)
        try:
            async with asyncio.TaskGroup() as group:
                fetching = [group.create_task(self._get(one, info, chunks, task)) for one in wanted]
                if task.recipe.base and not self._store.has(task.recipe.base):
                    group.create_task(self._get_base(task.recipe.base, info, chunks, members))
        except ExceptionGroup as failures:  # a full disk, mostly: the others are cancelled with the first
            raise first_cause(failures) from failures
        for done in fetching:
            if (fault := done.result()) is not None:
                raise fault

    async def _get(self, one: Contributor, info: ModelDigest, chunks: range, task: MergeSlice) -> Unusable | None:
        """Fetches a range of a contributor's model in its turn: so early slices come first. To whom checks the result
        nobody pushes it."""
        if not chunks:
            return None
        sources, layout = self._sources([one.uid]), self.codings.layout(task.recipe, info, one.digest)
        try:
            async with asyncio.timeout(task.seconds) as limit, self._turns[one.uid].turn():
                if task.slice != NO_SLICE:
                    await self.wait_for_push(
                        one.uid, one.digest, sources, lambda parts: parts.layout == layout and parts.has(chunks)
                    )
                fetch = partial(self._fetch_range, one.digest, chunks, sources, layout.size)
                await patiently(fetch, partial(self._here, one.digest), limit)
        except TimeoutError:
            return Unusable(one.uid, "too-slow", f"chunks {chunks.start} to {chunks.stop - 1} have not come in time")
        except TransferError as error:
            logger.info("%s", error)
            found = exclusion_of(one.uid, error.fault)
            return Unusable(found.uid, found.reason, found.detail)
        why = self.codings.fault_of(task.recipe, info, one.digest)
        return Unusable(one.uid, "structure", why) if why else None

    async def _fetch_range(self, digest: str, chunks: range, sources: Mapping[Source, str], size: int) -> None:
        with self._measured(sources) as links:
            await self._ask(chunks, sources, links, digest, size)

    async def _ask(self, chunks: range, sources: Iterable[Source], links: "Links", name: str, of: int | Stated) -> None:
        """`of`: the size of a model whose root is its name, or what is stated of the chunks."""
        size, stated = (None, of) if isinstance(of, Stated) else (of, None)
        await self._fetcher.fetch_part(
            name,
            chunks,
            list(sources),
            size=size,
            height=self._height(),
            watcher=links,
            stated=stated,
            stall_seconds=STALL_SECONDS,
        )

    def _here(self, digest: str) -> int:
        parts = self._store.parts(digest)
        return parts.held if parts else 0

    async def wait_for_push(
        self, uid: str, digest: str, sources: Mapping[Source, str], is_here: Callable[[Parts], bool]
    ) -> None:
        """Waits while a site that nobody can connect to pushes its model, until enough of it is here; what has not come
        by then is to be fetched."""
        if self._arrivals is None or not sources or any(len(source) == 2 for source in sources):
            return

        def has_come() -> bool:
            parts = self._store.parts(digest)
            return self._store.has(digest) or (parts is not None and is_here(parts))

        near = next(source[:2] for source in sources)
        with self._measured({near: uid}) as links:
            links.asked(near)
            await self._arrivals.wait(uid, digest, has_come, lambda size: links.brought(near, size))

    async def _get_base(self, base: str, info: ModelDigest, chunks: range, members: Sequence[str]) -> None:
        """Fetches a range of the round's base: what all models have in common is found by it. Raises `StoreError`."""
        sources = self._sources(members)
        try:
            await self._fetch_range(base, chunks, sources, info.size)
        except TransferError as error:
            raise StoreError(f"the base of the round cannot be fetched: {error}") from error

    def _merge(self, task: MergeSlice, info: ModelDigest, chunks: range, on_read: OnRead) -> SliceMerged:
        """Merges what is here, in a thread. Raises `Unusable`, `MergeError`, `StoreError`."""
        recipe, change = task.recipe, ""
        parts = self._store.parts(recipe.name, ModelDigest.unstated(info.layout))
        coded = self._back.parts(recipe.name, recipe.base, recipe.back, info)
        assert parts is not None
        with parts.used():
            if parts.has(chunks) and (coded is None or coded.has(chunks)):
                change = slice_root(coded.info, chunks) if coded else ""
            else:
                self._write(task, info, chunks, parts, on_read)
                change = self._back.code(recipe, info, chunks, parts, coded, on_read) if coded else ""
                parts.own(chunks)
        return SliceMerged(recipe.name, task.slice, slice_root(parts.info, chunks), change)

    def _write(self, task: MergeSlice, info: ModelDigest, chunks: range, parts: Parts, on_read: OnRead) -> None:
        reference, recipe = self._store.path(info.root), task.recipe
        if chunks.start == 0:
            with self._store.writing(parts.path, info.size):
                copy_start(reference, parts.path, info.layout.bounds(0)[1])
        if (data := data_in(info.layout, chunks)) is None:
            return
        previous, header = self.path(recipe.base) if recipe.base else None, read_header(reference)
        with blaming():
            sums = merge_range(
                recipe.method,
                self.codings.sources(recipe, info, self.path),
                previous,
                parts.path,
                header,
                data,
                influence=True,
                on_read=on_read,
            )
        if sums is not None:
            self.influences.keep(recipe.name, task.slice, sums)

    def _survey(self, task: MergeSlice, info: ModelDigest, chunks: range, on_read: OnRead) -> SliceMerged:
        """Surveys what is here, in a thread. Raises `Unusable`, `MergeError`, `StoreError`."""
        recipe, header = task.recipe, read_header(self._store.path(info.root))
        previous, part = self.path(recipe.base) if recipe.base else None, data_in(info.layout, chunks) or NOTHING
        with blaming():
            models = self.codings.sources(recipe, info, self.path)
            found = gram_part(models, previous, header, part, survey_of(recipe), on_read=on_read)
        self.surveys.keep(recipe.name, task.slice, found)
        return SliceMerged(recipe.name, task.slice, found.digest)

    # --- slices that others have merged -------------------------------------------------------------------------------

    async def fetch(self, task: FetchSlice) -> None:
        """Fetches a slice that others have merged, or their statistics of it, after ranges that it is to merge itself.

        Slices of one member come in an order by chance, another one at each site: so all that it has merged is soon
        somewhere else, too, and a link that is cut then keeps nobody waiting.
        """
        asked = (*task.others, *task.holders)
        sources = self._sources(asked)
        if task.statistics_of:
            await self._fetch_statistics(task, list(sources))
            return
        base = task.coded.base if task.coded else ""
        with self._store.pinned(task.recipe, change_name(task.recipe), base), self._measured(sources) as links:
            try:
                info = self._reference()
                chunks = chunks_of(info.layout, task.start, task.stop)
                if chunks:
                    ask = partial(self._ask, chunks, sources, links)
                    async with self._turns[asked[0]].turn(1.0 + random()):
                        if not await self._back.obtain(task, info, chunks, ask):
                            await ask(task.recipe, Stated(info.layout, task.root))
                links.ended()
            except (TransferError, NoLayout) as error:
                links.ended(error.fault if isinstance(error, TransferError) else "failed")
                logger.info("Slice %d of %s: %s", task.slice, task.recipe[:16], error)
                self._emit(SliceMissing(task.recipe, task.slice, str(error)))
            except StoreError as error:
                links.ended("failed")
                self._emit(LocalFailure(task, str(error)))
            else:
                self._emit(SliceFetched(task.recipe, task.slice, task.root))

    async def _fetch_statistics(self, task: FetchSlice, sources: Sequence[Source]) -> None:
        try:
            info = self._reference()
            part = data_in(info.layout, chunks_of(info.layout, task.start, task.stop)) or NOTHING
            await self.surveys.fetch(task, read_header(self._store.path(info.root)), part, sources)
        except (TransferError, NoLayout, StoreError, TensorFileError) as error:
            logger.info("%s", error)
            self._emit(SliceMissing(task.recipe, task.slice, str(error)))
        else:
            self._emit(SliceFetched(task.recipe, task.slice, task.root))

    async def weigh(self, task: WeighModels) -> None:
        """Finds the coefficients, from the statistics of all slices."""
        try:
            header = read_header(self._store.path(self._reference().root))
            found = await asyncio.to_thread(self.surveys.weigh, task, header)
        except (NoLayout, StoreError, TensorFileError, PartError) as error:
            logger.warning("The models of round %d are not weighed here: %s", task.recipe.round, error)
            self._emit(LocalFailure(task, str(error)))
        else:
            self._emit(found or SlicesLost(task.recipe.name))

    async def assemble(
        self, task: Assemble, slices: Sequence[Slice], models: int, pin: Pin
    ) -> Assembled | SlicesLost | LocalFailure:
        """Makes a model of all slices, and adds it to `pin`. `models`: how many it is merged from; 0: their influence
        is of no interest."""
        try:
            info = await asyncio.to_thread(self._whole, task, slices)
        except StoreError as error:
            return LocalFailure(task, str(error))
        if info is None:
            return SlicesLost(task.recipe)
        pin.add(info.root)
        found = await self._influences(task, info, slices, models) if models else ()
        return Assembled(task.recipe, info.root, info.size, found)

    async def _influences(self, task: Assemble, info: ModelDigest, slices: Sequence[Slice], models: int) -> Found:
        told: dict[int, tuple[Range, list[Source]]] = {}
        for at, each in enumerate(slices):
            part = data_in(info.layout, chunks_of(info.layout, each.start, each.stop))
            mergers = [uid for uid, root in each.roots.items() if root == each.root]
            if part is not None:
                told[at] = part, list(self._sources(mergers))
        return await self.influences.of_all(task.recipe, models, read_header(self._store.path(info.root)), told)

    def _whole(self, task: Assemble, slices: Sequence[Slice]) -> ModelDigest | None:
        """The model made of all slices, now or before; None where one of them is not here. Raises `StoreError`."""
        made = self._store.name_of(task.recipe)
        parts = None if self._store.has(made) else self._store.parts(task.recipe)
        if parts is None and not self._store.has(made):
            return None
        info = parts.info if parts else self._store.digest_info(made)
        for root, each in zip(task.roots, slices, strict=True):
            chunks = chunks_of(info.layout, each.start, each.stop)
            if (parts and not parts.has(chunks)) or slice_root(info, chunks) != root:
                return None
        return self._store.commit_parts(parts) if parts else info

    # --- models that are here -----------------------------------------------------------------------------------------

    def layout(self, transfer: Transfer, base: str) -> Layout | None:
        """How this training's models are cut, or changes of this base; None where none of its models is here."""
        try:
            reference = self._reference(base)
            coding = self.codings.of(transfer, reference)
        except (NoLayout, NotHeldError, TensorFileError):
            return None
        return coding.layout(base) if coding else reference.layout

    def size_of(self, digest: str, training: Training, otherwise: int) -> int | None:
        """Bytes of the file of a change that a site contributes to a training, None where that is not known here;
        `otherwise` for all other models."""
        if (transfer := coded_as(training, digest)) == "float32":
            return otherwise
        found = filter(None, (self.layout(transfer, each.base) for each in rounds_of(training)))
        return next((layout.size for layout in found), None)

    def _reference(self, *others: str) -> ModelDigest:
        """The chunk list of a model of this training that is here. Raises `NoLayout`."""
        for digest in (self._own(), *others):
            if digest and self._store.has(digest):
                info = self._store.digest_info(digest)
                if info.header is not None and not info.layout.is_coded:
                    return info
        raise NoLayout("no model of this training is here yet")

    def path(self, digest: str) -> Path:
        """The file of a model, of which perhaps only parts are here."""
        return self._store.path(digest) if self._store.has(digest) else self._store.partial(digest)
