"""Carries out the round machine's decisions: sends, fetches, merges, checks and keeps models, and reports outcomes.

Each piece of work is a task that is cancelled when the machine does not need it any more. While it runs, and until the
machine has seen its outcome, the models it concerns are pinned in the store.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from swarmlearning.ledger.contracts.training.recipes import contributions
from swarmlearning.ledger.contracts.training.state import Round, Training, alive, state_of
from swarmlearning.ledger.contracts.training.steps import made_of, takes_steps
from swarmlearning.ledger.contracts.training.transfers import is_coded, transfer_in
from swarmlearning.merge.merging import MergeError, UnmergeableError
from swarmlearning.models.pins import Pin
from swarmlearning.models.store import NotHeldError, StoreError, TensorStore
from swarmlearning.models.transfer import Fetcher, Source, TransferError
from swarmlearning.node.follower import Follower
from swarmlearning.node.sender import Sender
from swarmlearning.rounds.checks import Recheck
from swarmlearning.rounds.events import (
    Cancel,
    Carried,
    Carry,
    Deliver,
    DeliveryFailed,
    Dropped,
    Event,
    Fetch,
    Fetched,
    FetchFailed,
    Keep,
    LocalFailure,
    Merge,
    Release,
    Send,
    SetTimer,
    SiteFailed,
    TimerFired,
    Verify,
)
from swarmlearning.rounds.slices import Assemble, Assembled, FetchSlice, MergeSlice, SlicesLost, WeighModels
from swarmlearning.sl.addresses import Holders
from swarmlearning.sl.arrivals import Arrivals
from swarmlearning.sl.giving import Giving
from swarmlearning.sl.links import Links
from swarmlearning.sl.merging import carry_over, merge_round
from swarmlearning.sl.mlside import MLSide
from swarmlearning.sl.narration import Narrator
from swarmlearning.sl.outersteps import DifferentStep, OuterSteps
from swarmlearning.sl.pushed import pusher_of
from swarmlearning.sl.recomputing import Recomputing
from swarmlearning.sl.slices import SliceWork
from swarmlearning.sl.soundness import Soundness, is_result
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.sl.submitting import Submitting
from swarmlearning.sl.tasks import Tasks
from swarmlearning.sl.wayback import WayBack
from swarmlearning.tensors.digest import Layout

logger = logging.getLogger("swarm.SL")

Effect = (
    Send
    | Fetch
    | Merge
    | MergeSlice
    | FetchSlice
    | Assemble
    | WeighModels
    | Recheck
    | Carry
    | Release
    | Cancel
    | Verify
    | SetTimer
    | Keep
    | Deliver
)


class Effects:
    """Works on one training contract after another; `emit` is called in the event loop with each outcome."""

    def __init__(
        self,
        tasks: Tasks,
        follower: Follower,
        sender: Sender,
        store: TensorStore,
        fetcher: Fetcher,
        ml: MLSide,
        narrator: Narrator,
        emit: Callable[[Event], None],
        watch: Stopwatch,
        giving: Giving,
    ) -> None:
        self.contract = ""
        self.decided_on = follower.chain  # the newest that the machine knows
        self.moved = 0  # bytes fetched and merged
        self.received = 0  # bytes fetched
        self._tasks = tasks
        self._follower = follower
        self._sender = sender
        self._store = store
        self._fetcher = fetcher
        self._ml = ml
        self._narrator = narrator
        self._emit = emit
        self._watch = watch
        self._giving = giving
        giving.failed = narrator.local_failure
        self._kept: frozenset[str] | None = None
        self.arrivals = Arrivals()
        self.sources = Holders(follower).sources
        self._slices = SliceWork(
            store,
            fetcher,
            emit,
            self.sources,
            lambda sources: Links(watch, sources, self._came),
            self._count,
            lambda: follower.chain.height,
            lambda: ml.model,
            self.arrivals,
            giving.changes.codings,
        )
        self.sums = self._slices.sums
        self._outer = OuterSteps(store, emit, ml.stepped_parameters, self._count)
        self._back = WayBack(store, giving, emit, self._count)
        self._recomputing = Recomputing(store, self._slices, emit, self._count)
        self._submitting = Submitting(sender, narrator, emit, watch, lambda: self.contract)
        self._soundness = Soundness(store, ml, narrator, watch)

    def perform(self, action: Effect) -> None:
        """Begins what the machine has decided; its outcome is emitted later."""
        match action:
            case Send(body):
                self._tasks.start(self._submitting.send(body, self.decided_on))
            case Fetch():
                self._tasks.start(self._fetch(action), action)
            case Merge():
                self._tasks.start(self._merge(action, state_of(self.decided_on.world, self.contract)), action)
            case MergeSlice():
                self._tasks.start(self._slices.merge(action, tuple(self._training.members)), action)
            case FetchSlice():
                self._tasks.start(self._slices.fetch(action), action)
            case Assemble():
                self._tasks.start(self._assemble(action), action)
            case WeighModels():
                self._tasks.start(self._slices.weigh(action), action)
            case Recheck():
                self._tasks.start(self._recomputing.recheck(action, tuple(self._training.members)), action)
            case Carry():
                self._tasks.start(self._carry(action), action)
            case Release():
                self._tasks.start(self._release(action), action)
            case Cancel(work):
                self._tasks.cancel(work)
            case Verify(digest):
                self._tasks.start(self._verify(digest))
            case SetTimer():
                self._tasks.start(self._wait(action))
            case Keep(digests):
                self._keep(frozenset(digests))
            case Deliver(digest):
                self._tasks.start(self._deliver(digest, self._ml.session_id))

    def layout(self, state: Training, current: Round) -> Layout | None:
        """How what sites contribute to a round is cut, where this node knows."""
        return self._slices.layout(transfer_in(state, current.base), current.base)

    @property
    def _training(self) -> Training:
        return state_of(self._follower.chain.world, self.contract)

    # --- other sites' models ----------------------------------------------------------------------------------------

    async def _fetch(self, action: Fetch) -> None:
        digest = action.digest
        if fault := self._soundness.known_fault(digest):
            self._emit(FetchFailed(digest, fault, "invalid"))
            return
        sources = self.sources(action.holders)
        with self._store.pinned(digest) as pin, Links(self._watch, sources, self._came) as links:
            try:
                if pusher := pusher_of(self._follower.chain, self._training, self._sender.author.uid, digest):
                    await self._slices.wait_for_push(pusher, digest, sources, lambda parts: parts.complete)
                await self._get(action, list(sources), links, pin)
                links.ended()
            except TransferError as error:
                links.ended(error.fault)
                self._narrator.not_fetched(digest, str(error))
                self._emit(FetchFailed(digest, str(error), error.fault))
            except DifferentStep as error:
                links.ended("failed")
                if error.own:
                    raise
                self._narrator.bad_result(digest, str(error))
                self._emit(FetchFailed(digest, str(error), "invalid"))
            except (StoreError, MergeError) as error:
                links.ended("failed")
                self._narrator.local_failure(str(error))
                self._emit(LocalFailure(action, str(error)))
            else:
                training = self._training
                if fault := await self._soundness.check(digest, training) if is_result(training, digest) else "":
                    self._emit(FetchFailed(digest, fault, "invalid"))
                else:
                    await self._giving.made_public(digest, *made_of(self._training.steps.get(digest)))
                    self._emit(Fetched(digest))

    async def _get(self, action: Fetch, sources: Sequence[Source], links: Links, pin: Pin) -> None:
        """Fetches a model; a result of an outer step is made of what was merged, and that of its change, where that can
        be; it has its momentum then. Raises `TransferError`, `StoreError`, `MergeError` and `DifferentStep`."""

        async def get(wanted: str, size: int | None) -> None:
            height, own = self._follower.chain.height, self._ml.model_size
            known = size or self._slices.size_of(wanted, self._training, own)
            await self._fetcher.fetch(wanted, sources, size=known, height=height, watcher=links, begun=action.begun)

        await self._outer.obtain(self._training, action.digest, self._back.getting(self._training, get, pin), pin)

    def _came(self, size: int) -> None:
        """Bytes that have been fetched."""
        self.moved += size
        self.received += size

    # --- results ----------------------------------------------------------------------------------------------------

    async def _deliver(self, digest: str, session: str) -> None:
        with self._store.pinned(digest):
            try:
                fault = await self._soundness.fault(digest, self._training)
                if session != self._ml.session_id:
                    return
                if fault:
                    self._emit(DeliveryFailed(digest))
                else:
                    self._ml.deliver(digest)
            except NotHeldError:
                self._emit(DeliveryFailed(digest) if session == self._ml.session_id else Dropped(digest))
            except (OSError, StoreError) as error:
                if session == self._ml.session_id:
                    self._emit(SiteFailed(f"cannot hand the merged model over: {error}"))

    # --- merging ----------------------------------------------------------------------------------------------------

    async def _merge(self, task: Merge, training: Training) -> None:
        """Merges the models of a round of `training`, as it was when that was decided."""
        needed = [entry.digest for entry in task.submissions if entry.weight]
        steps = training.round is not None and takes_steps(training, training.round)
        stepped_from = self._outer.needed(training, task.base) if steps and {*needed} - {task.base} else []
        based = [task.base] if is_coded(training, task.base) and {*needed} - {task.base} else []
        with self._store.pinned(*needed, task.base, *stepped_from) as pin:
            if gone := [each for each in (*needed, *stepped_from, *based) if not self._store.has(each)]:
                for digest in gone:
                    self._emit(Dropped(digest))
                return
            try:
                with self._watch.during("merge") as work:
                    ml, codings = self._ml, self._giving.changes.codings
                    merged = await merge_round(
                        task, training, self._store, self._count, pin, ml.format, codings, ml.known.roles
                    )
                    if stepped_from and merged.result not in ("", task.base):
                        merged = await self._outer.stepped(training, merged, task.base, pin)
                    work.bytes = sum(entry.size for entry in task.submissions if entry.weight)
            except (MergeError, StoreError) as error:
                self._narrator.local_failure(str(error))
                self._emit(LocalFailure(task, str(error), permanent=isinstance(error, UnmergeableError)))
            else:
                self._soundness.made_here(merged.result)
                if merged.result:
                    await self._giving.made_public(merged.result, merged.change, *made_of(merged.step))
                self._emit(merged)

    async def _assemble(self, task: Assemble) -> None:
        slicing = next((each for each in self._training.slicings if each.recipe == task.recipe), None)
        if slicing is None:
            self._emit(SlicesLost(task.recipe))
        else:
            current, there = self._training.round, alive(self._training)
            leads = current is not None and current.leader == self._sender.author.uid
            told = leads and all(there & each.roots.keys() for each in slicing.slices)  # who is lost does not tell
            models = len(contributions(self._training, current, slicing.excluded)) if current and told else 0
            with self._store.pinned(task.recipe, task.base) as pin:
                done = await self._slices.assemble(task, slicing.slices, models, pin)
                if task.base and isinstance(done, Assembled):
                    done = await self._outer.of_slices(self._training, task, done, pin)
                if isinstance(done, Assembled):
                    await self._giving.made_public(done.result, *made_of(done.step))
                self._emit(done)

    async def _carry(self, task: Carry) -> None:
        with self._store.pinned(task.digest, task.base, task.onto) as pin:
            try:
                with self._watch.during("carry"):
                    info = await carry_over(task, self._store, self._count, pin)
            except (MergeError, StoreError) as error:
                logger.warning("What was trained here since %s is not used: %s", task.base[:16], error)
                self._emit(Carried(task.digest, task.onto, "", 0))
            else:
                logger.info("What was trained here in %d missed rounds is carried over", task.missed)
                self._emit(Carried(task.digest, task.onto, info.root, info.size))

    async def _release(self, task: Release) -> None:
        """Makes of a model what the site gives of it."""
        await self._giving.give(task, self.decided_on, self.contract, self._sender.author.uid, self._emit)

    def _count(self, moved: int) -> None:
        """Bytes that a merge has got through; called from its threads."""
        self.moved += moved

    # --- the store and time -----------------------------------------------------------------------------------------

    async def _verify(self, digest: str) -> None:
        if not await self._store.verify(digest):
            self._emit(Dropped(digest))

    def _keep(self, digests: frozenset[str]) -> None:
        """Removes models that are not needed any more: none where some were only added, as with every submission."""
        before, self._kept = self._kept, digests
        if before is not None and digests > before:
            self._store.needed = digests
        else:
            self._tasks.start(self._tidy(self._store.retain(digests)))

    async def _tidy(self, removal: Awaitable[None]) -> None:
        await removal
        self._ml.lend_spare()

    async def _wait(self, action: SetTimer) -> None:
        await asyncio.sleep(action.seconds)
        self._emit(TimerFired(action.timer, self.moved))
