"""The driver: feeds one round machine with what happens at this node, and does what it asks for.

It connects the machine (pure) with the chain, the ML process, the store, the transfer and the merge. It decides
nothing about rounds itself.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from swarmlearning.address import split
from swarmlearning.api.client import Refusal
from swarmlearning.channel import messages
from swarmlearning.channel.framing import ChannelError
from swarmlearning.channel.messages import FromML, Open
from swarmlearning.ledger.apply import state_of
from swarmlearning.ledger.bodies import Depose, Lost, OpenSession, Publish, Submit, TrainingBody
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.codes import Code, is_transient
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.merge.merging import MergeError, UnmergeableError
from swarmlearning.models.store import NotHeldError, StoreError, TensorStore
from swarmlearning.models.transfer import Fetcher, TransferError
from swarmlearning.node.errors import Superseded
from swarmlearning.node.follower import Follower
from swarmlearning.node.sender import Sender
from swarmlearning.rounds.events import (
    Accepted,
    Action,
    AnswerClosed,
    AnswerOpened,
    AnswerSynced,
    Cancel,
    Carried,
    Carry,
    ChainAdvanced,
    Deliver,
    DeliveryFailed,
    Dropped,
    Evaluated,
    Event,
    Fail,
    Fetch,
    Fetched,
    FetchFailed,
    Finish,
    Keep,
    LocalFailure,
    Merge,
    Merged,
    MLDisconnected,
    ModelReceived,
    Refused,
    Send,
    SessionRequested,
    SetTimer,
    Timer,
    TimerFired,
    Verify,
    Work,
)
from swarmlearning.rounds.machine import RoundMachine
from swarmlearning.rounds.settings import RoundSettings
from swarmlearning.sl.merging import carry_over, merge_round
from swarmlearning.sl.mlchannel import MLChannel
from swarmlearning.sl.remarks import Remarks
from swarmlearning.tensors.file import TensorFileError, file_size, read_header, require_mergeable
from swarmlearning.tensors.structure import describe_difference, structure_digest, structure_text
from swarmlearning.views.names import node_names
from swarmlearning.views.render import participation_text, waiting_text
from swarmlearning.views.training import participation

logger = logging.getLogger("swarm.SL")

WAITING_SECONDS = 10.0
"""How often an ML process that waits is told for whom."""
MAX_EVENTS = 1024
MERGED_FILE = "merged-{}.safetensors"


class Driver:
    """One SL node at work. `run` returns when training is over and everybody holds the final model."""

    def __init__(
        self,
        settings: RoundSettings,
        follower: Follower,
        sender: Sender,
        store: TensorStore,
        fetcher: Fetcher,
        directory: Path,
    ) -> None:
        """`directory`: for the channel, and the list of the model's tensors."""
        self.channel = MLChannel(directory / "channel", self._heard, self._ml_left)
        self._structure_file = directory / "structure.txt"
        self._trained = messages.Progress(session="", steps=0, epochs=0)
        self.moved = 0
        self.ml_served = False  # whether the ML process has been told that training is over
        self._settings = settings
        self._follower = follower
        self._sender = sender
        self._store = store
        self._fetcher = fetcher
        self._contract = ""
        self._machine: RoundMachine | None = None
        self._remarks: Remarks | None = None
        self._open: Open | None = None
        self._model_size = 0
        self._sessions = 0
        self._sequence = 0
        self._deliveries = 0
        self._well = False
        self._events: asyncio.Queue[Event] = asyncio.Queue(MAX_EVENTS)
        self._keep: frozenset[str] = frozenset()
        self._fresh: set[str] = set()
        self._tidying = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()
        self._work: dict[Work, asyncio.Task[None]] = {}
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def progress(self) -> tuple[int, int, dict[str, Any] | None]:
        """For heartbeats, from any thread: steps trained, bytes moved, and how far the training is, if there is one."""
        said, session = self._trained, self._open
        training = None
        if session is not None:
            training = {
                "epochs": said.epochs,
                "total_epochs": session.total_epochs,
                "batches_per_second": said.batches_per_second,
                "samples_per_second": said.samples_per_second,
                "eta_seconds": said.eta_seconds,
            }
        return said.steps, self.moved, training

    async def run(self) -> None:
        """Takes part until training is over. Raises `Superseded` when this node was started again elsewhere."""
        try:
            self._start(self._follow())
            self._start(self._handle_events())
            self._start(self._tell_waiting())
            await self._failure
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            await self.channel.stop()

    # --- what happens -----------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        async for chain in self._follower.chains():
            if self._machine is not None:
                advanced = self._advanced(chain)
                await self._remark(chain, advanced.training)
                await self._events.put(advanced)

    async def _remark(self, chain: Chain, state: Training) -> None:
        """Tells the user what the ledger says about merges, before the ML process goes on from the result."""
        for remark in self._remarks.new(state, node_names(chain.world)) if self._remarks else []:
            if remark.fatal:
                await self._fail(remark.text)
                continue
            logger.warning("%s", remark.text)
            if remark.own:
                await self.channel.send(messages.Waiting(remark.text))

    def _advanced(self, chain: Chain) -> ChainAdvanced:
        state = state_of(chain.world, self._contract)
        leader = state.round.leader if state.round else ""
        return ChainAdvanced(state, chain.height, network.last_height(chain.world, leader))

    async def _heard(self, message: FromML) -> None:
        match message:
            case Open():
                await self._session_asked(message)
            case messages.Sync() | messages.Close():
                await self._parameters_handed(message)
            case messages.Evaluated(loss=loss, metric=metric, epochs=epochs, total_epochs=total):
                self._delivery().unlink(missing_ok=True)
                await self._events.put(Evaluated(loss, metric, epochs, total))
            case messages.EvaluationFailed(message=text):
                logger.error("The ML process cannot use the merged model: %s", text)
            case messages.Progress():
                self._trained = message
            case messages.Kill(ok=ok, message=text):
                logger.info("The ML process leaves: %s", text)
                self._well = ok

    async def _session_asked(self, message: Open) -> None:
        if message.version != messages.VERSION:
            raise ChannelError(f"local channel version {message.version}; this SL node speaks {messages.VERSION}")
        specs = message.specs
        try:
            self._model_size = file_size(specs)
            require_mergeable(specs)
        except TensorFileError as error:
            raise ChannelError(f"no model can have this structure: {error}") from error
        chain = self._follower.chain
        uid, incarnation = self._sender.author.uid, self._sender.author.incarnation
        if self._machine is None or self._contract != message.training_contract:
            self._contract = message.training_contract
            training, held = state_of(chain.world, self._contract), self._store.held()
            self._remarks = Remarks(uid, self._settings.non_finite, training)
            self._machine = RoundMachine(uid, incarnation, training, self._settings, held)
        self._open, self._well, self._sequence, self.ml_served = message, False, 0, False
        self._sessions += 1
        structure = structure_digest(specs)
        await self._events.put(
            SessionRequested(
                OpenSession(
                    merge_method=message.merge_method,
                    min_peers=message.min_peers,
                    structure=structure,
                    weightage=message.node_weightage,
                    sync_frequency=message.sync_frequency,
                    checkin=message.checkin_model_on_train_end,
                    epochs=message.total_epochs,
                    adaptive=message.use_adaptive_sync,
                    may_lead=self._settings.make_me_admin,
                    initial=self._settings.initial,
                    frozen=message.fixed.frozen,
                    classes=message.fixed.classes,
                    features=message.fixed.features,
                ),
                message.holds,
            )
        )
        await self._events.put(self._advanced(chain))
        logger.info(
            "Opening session of contract %s: minPeers %d, syncFrequency %d",
            self._contract,
            message.min_peers,
            message.sync_frequency,
        )
        logger.info("Model structure %s: %d tensors, listed in %s", structure, len(specs), self._structure_file)
        try:
            self._structure_file.write_text(structure_text(specs), encoding="utf-8")
        except OSError as error:
            logger.warning("%s cannot be written: %s", self._structure_file, error.strerror)

    async def _parameters_handed(self, message: messages.Sync | messages.Close) -> None:
        if self._open is None or message.session != self._session_id:
            raise ChannelError("no session is open on this channel; send Open first")
        self._sequence = message.sequence
        path = self.channel.file(message.file)
        try:
            self._check_structure(path, self._open)
            async with self._tidying:
                info = await self._store.adopt(path)
                self._fresh.add(info.root)
        except (StoreError, TensorFileError) as error:
            await self._fail(f"the model handed over by the ML process cannot be used: {error}")
            return
        await self._events.put(ModelReceived(info.root, info.size, isinstance(message, messages.Close)))

    def _check_structure(self, path: Path, session: Open) -> None:
        if difference := describe_difference(session.specs, read_header(path).specs):
            raise TensorFileError(f"the parameters do not have the structure of this session: {difference}")

    def _ml_left(self) -> None:
        if self._open is not None:
            self._open = None
            self._events.put_nowait(MLDisconnected(self._well))

    async def _handle_events(self) -> None:
        while True:
            event = await self._events.get()
            assert self._machine is not None
            for action in self._machine.handle(event):
                await self._perform(action)
            match event:
                case ModelReceived(digest=digest) | Merged(result=digest) | Carried(result=digest):
                    self._fresh.discard(digest)

    async def _tell_waiting(self) -> None:
        """The user sees in the training log who is waited for."""
        while True:
            await asyncio.sleep(WAITING_SECONDS)
            if waiting := self._machine.waiting if self._machine else None:
                text = waiting_text(waiting, node_names(self._follower.chain.world))
                logger.info("%s", text)
                await self.channel.send(messages.Waiting(text))

    # --- what the machine asks for ----------------------------------------------------------------------------------

    async def _perform(self, action: Action) -> None:
        match action:
            case Send(body):
                self._start(self._send(body))
            case Fetch():
                self._begin(action, self._fetch(action))
            case Merge():
                self._begin(action, self._merge(action))
            case Carry():
                self._begin(action, self._carry(action))
            case Cancel(work):
                if task := self._work.pop(work, None):
                    task.cancel()
            case Verify(digest):
                self._start(self._verify(digest))
            case SetTimer(timer, seconds):
                self._start(self._wake(timer, seconds))
            case Keep(digests):
                self._keep = frozenset(digests)
                self._start(self._tidy())
            case Deliver(digest):
                await self._deliver(digest)
            case AnswerOpened():
                await self.channel.send(messages.Opened(self._session_id))
            case AnswerSynced(interval, over):
                self.ml_served = over
                await self.channel.send(messages.Synced(self._session_id, self._sequence, interval, over))
            case AnswerClosed():
                self.ml_served = True
                await self.channel.send(messages.Closed(self._session_id, self._sequence))
            case Fail(text):
                await self._fail(text)
            case Finish():
                world = self._follower.chain.world
                text = participation_text(participation(state_of(world, self._contract)), node_names(world))
                logger.info("Training of contract %s is over and every live member holds the model", self._contract)
                logger.info("Participation %s", text)
                if not self._failure.done():
                    self._failure.set_result(None)

    async def _send(self, body: TrainingBody | Lost) -> None:
        contract = network.CONTRACT if isinstance(body, Lost) else self._contract
        try:
            height = await self._sender.send(contract, body)
        except Refusal as refusal:
            if refusal.code == Code.OLD_INCARNATION and not isinstance(body, Lost | Depose):
                raise Superseded(refusal.detail) from refusal
            level = logging.DEBUG if is_transient(refusal.code) else logging.WARNING
            logger.log(level, "%s refused: %s", type(body).__name__, refusal)
            await self._events.put(Refused(body, refusal.code, refusal.detail, refusal.height))
        else:
            self._log_sent(body)
            await self._events.put(Accepted(body, height))

    def _log_sent(self, body: TrainingBody | Lost) -> None:
        match body:
            case Publish(round=number, result=result, receipt=receipt) if result:
                logger.info("Round %d: merged %d models into %s", number, len(receipt.contributions), result[:16])
            case Submit(round=number, submission=kind, digest=digest):
                logger.info("Round %d: checked in %s model %s", number, kind, digest[:16])

    async def _fetch(self, action: Fetch) -> None:
        world = self._follower.chain.world
        known = (network.node(world, uid) for uid in action.holders)
        sources = [split(node.addresses["fs"]) for node in known if node and "fs" in node.addresses]
        async with self._tidying:
            pass  # a tidying that began before this model was wanted must not remove it
        try:
            await self._fetcher.fetch(action.digest, sources, self._count_moved(), self._model_size)
        except TransferError as error:
            logger.warning("Cannot get model %s: %s", action.digest[:16], error)
            await self._events.put(FetchFailed(action.digest, str(error)))
        except StoreError as error:
            logger.error("%s", error)
            await self._events.put(LocalFailure(action, str(error)))
        else:
            await self._events.put(Fetched(action.digest))

    def _count_moved(self) -> Callable[[int], None]:
        """Counts the bytes of one file on its way."""
        before = 0

        def moved(held: int) -> None:
            nonlocal before
            self.moved += max(0, held - before)
            before = held

        return moved

    def missed(self, digest: str) -> None:
        """A peer has asked for a model that is not in the store."""
        if self._machine is not None and not self._events.full():
            self._events.put_nowait(Dropped(digest))

    async def _verify(self, digest: str) -> None:
        if not await self._store.verify(digest):
            await self._events.put(Dropped(digest))

    async def _merge(self, task: Merge) -> None:
        state = state_of(self._follower.chain.world, self._contract)
        assert state.terms is not None
        if gone := [entry.digest for entry in task.submissions if entry.weight and not self._store.has(entry.digest)]:
            for digest in gone:
                await self._events.put(Dropped(digest))
            return
        try:
            async with self._tidying:
                merged = await merge_round(task, state.terms, self._store, self._count)
                self._fresh.add(merged.result)
        except (MergeError, StoreError) as error:
            logger.error("%s", error)
            await self._events.put(LocalFailure(task, str(error), permanent=isinstance(error, UnmergeableError)))
        else:
            await self._events.put(merged)

    async def _carry(self, task: Carry) -> None:
        try:
            async with self._tidying:
                info = await carry_over(task, self._store, self._count)
                self._fresh.add(info.root)
        except (MergeError, StoreError) as error:
            logger.warning("What was trained here since %s is not used: %s", task.base[:16], error)
            await self._events.put(Carried(task.digest, task.onto, "", 0))
        else:
            logger.info("What was trained here in %d missed rounds is carried over", task.missed)
            await self._events.put(Carried(task.digest, task.onto, info.root, info.size))

    def _count(self, moved: int) -> None:
        """Bytes that a merge has got through; called from its threads."""
        self.moved += moved

    async def _wake(self, timer: Timer, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._events.put(TimerFired(timer, self.moved))

    async def _tidy(self) -> None:
        async with self._tidying:
            await self._store.retain(self._keep | self._fresh)
            self._store.lend(self.channel.file(messages.SPARE))

    async def _deliver(self, digest: str) -> None:
        self._delivery().unlink(missing_ok=True)
        self._deliveries += 1
        path = self._delivery()
        try:
            os.link(self._store.path(digest), path)
        except NotHeldError:
            await self._events.put(DeliveryFailed(digest))
            return
        except (OSError, StoreError) as error:
            await self._fail(f"cannot hand the merged model over: {error}")
            return
        await self.channel.send(messages.Merged(self._session_id, self._sequence, path.name, digest))

    async def _fail(self, text: str) -> None:
        logger.error("%s", text)
        await self.channel.send(messages.Failed(text))

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _session_id(self) -> str:
        return f"{self._sender.author.incarnation}-{self._sessions}"

    def _delivery(self) -> Path:
        return self.channel.file(MERGED_FILE.format(self._deliveries))

    def _begin(self, work: Work, doing: Coroutine[Any, Any, None]) -> None:
        """Starts work that may be cancelled."""
        task = self._work[work] = self._start(doing)

        def forget(ended: asyncio.Task[None]) -> None:
            if self._work.get(work) is ended:
                del self._work[work]

        task.add_done_callback(forget)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs `work` beside; what it raises ends the node."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            self._failure.set_exception(error)
