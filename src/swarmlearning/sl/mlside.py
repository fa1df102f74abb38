"""The ML process as its SL sees it: messages of the local channel in, events of the round machine out, and back.

It numbers sessions and deliveries, takes over the models that are handed over, and checks what can be judged here
alone. What follows from it is the round machine's to decide.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import msgspec

from swarmlearning.channel import messages
from swarmlearning.channel.framing import ChannelError
from swarmlearning.channel.messages import FromML, FromSL, Open
from swarmlearning.ledger.bodies import OpenSession
from swarmlearning.ledger.contracts.training.outer import OuterOptimizer
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.rounds.events import Evaluated, MLDisconnected, ModelReceived, SessionRequested, SiteFailed
from swarmlearning.rounds.phases import OutOfOrder
from swarmlearning.rounds.settings import RoundSettings
from swarmlearning.sl.handing import copy_handed, is_foreign, link_readable
from swarmlearning.sl.mlchannel import MLChannel
from swarmlearning.sl.scriptpace import ScriptPace
from swarmlearning.sl.stopwatch import Stopwatch, Work
from swarmlearning.sl.structures import KnownStructure
from swarmlearning.tensors.digest import Format
from swarmlearning.tensors.file import TensorFileError, file_size, read_header, require_mergeable
from swarmlearning.tensors.structure import NO_ROLES, Structure, describe_difference, labels, stepped
from swarmlearning.views.times import Script
from swarmlearning.views.training import TrainingProgress

logger = logging.getLogger("swarm.SL")

MERGED_FILE: Final = "merged-{}.safetensors"

MLEvent: TypeAlias = SessionRequested | ModelReceived | Evaluated | MLDisconnected | SiteFailed


class Shared(NamedTuple):
    """A folder for the channel, on the file system of the data directory, and the group that may use it too."""

    folder: Path
    group: int | None


class MLSide:
    """Serves one ML process after another.

    `on_event` is called in the event loop for whatever happens, and raises `OutOfOrder` for what must not happen now.
    """

    def __init__(
        self,
        directory: Path,
        incarnation: int,
        settings: RoundSettings,
        store: TensorStore,
        on_event: Callable[[MLEvent], None],
        watch: Stopwatch,
        shared: Shared | None = None,
    ) -> None:
        """`directory`: for the channel, unless `shared` names a folder for it, and the list of the model's
        tensors."""
        folder, group = shared or (directory / "channel", None)
        self.channel = MLChannel(folder, self._on_message, self._on_left, group)
        self.session: Open | None = None
        self.served = False  # True once the ML process has the message that training is over
        self.model = ""  # digest of the model that was handed over last
        self.format: Format = 1  # of the names that models get from now on
        self.model_size = 0  # bytes of each model of the session
        self.known = KnownStructure(directory / "structure.txt")
        self._incarnation = incarnation
        self._settings = settings
        self._store = store
        self._on_event = on_event
        self._watch = watch
        self._training: Work | None = None
        self._loading: Work | None = None
        self._pace = ScriptPace()
        self._trained = messages.Progress(session="", steps=0, epochs=0)
        self._sessions = 0
        self._sequence = 0
        self._deliveries = 0
        self._clean = False

    def progress(self) -> tuple[int, TrainingProgress | None]:
        """Returns steps trained, and the progress of the training, if there is one. May be called in any thread."""
        trained, session = self._trained, self.session
        if session is None:
            return trained.steps, None
        return trained.steps, TrainingProgress(
            epochs=trained.epochs,
            total_epochs=session.total_epochs,
            batches_per_second=trained.batches_per_second,
            samples_per_second=trained.samples_per_second,
            eta_seconds=trained.eta_seconds,
        )

    @property
    def session_id(self) -> str:
        """Names the session: no other one of this node has the same."""
        return f"{self._incarnation}-{self._sessions}"

    # --- to the ML process ------------------------------------------------------------------------------------------

    def deliver(self, digest: str) -> None:
        """Hands the ML process a merged model to load. Raises OSError and `StoreError`."""
        self._delivery().unlink(missing_ok=True)
        self._deliveries += 1
        path = self._delivery()
        link_readable(self._store.path(digest), path, self.channel.group)
        self._loading = self._watch.begin("load")
        self._send(messages.Merged(self.session_id, self._sequence, path.name, digest))

    def lend_spare(self) -> None:
        """Puts a spare file where the next model is written; not for another user, who could not overwrite it."""
        if self.channel.group is None:
            self._store.lend(self.channel.file(messages.SPARE_FILE))

    def opened(self) -> None:
        """Reports that the session is open."""
        if self.session is not None:
            self._train(self.session.sync_frequency)
        self._send(messages.Opened(self.session_id))

    def synced(self, interval: int, over: bool) -> None:
        """Lets the ML process train on for `interval` batches, or end because training is over."""
        self.served = over
        if not over:
            self._train(interval)
        self._send(messages.Synced(self.session_id, self._sequence, interval, over))

    def closed(self) -> None:
        """Lets the ML process end: training is over everywhere."""
        self.served = True
        self._send(messages.Closed(self.session_id, self._sequence))

    def show(self, text: str) -> None:
        """Shows a line in the training log while the ML process waits."""
        self._send(messages.Waiting(text))

    def fail(self, text: str) -> None:
        """Ends the ML process' training; the text has the reason and advice."""
        self._send(messages.Failed(text))

    def _send(self, message: FromSL) -> None:
        self.channel.send(message)

    # --- what is measured -------------------------------------------------------------------------------------------

    def script(self) -> Script | None:
        """What is known of the script; None while none is connected."""
        return self._pace.seen() if self.session is not None else None

    def _train(self, interval: int) -> None:
        self._training = self._watch.begin("train")
        self._pace.trains(interval)

    def _end_work(self) -> None:
        """Whatever the script was doing has ended."""
        for work in (self._training, self._loading):
            if work is not None:
                self._watch.end(work)
        self._training = self._loading = None
        self._pace.waits()

    # --- from the ML process ----------------------------------------------------------------------------------------

    async def _on_message(self, message: FromML) -> None:
        try:
            await self._handle(message)
        except OutOfOrder as error:
            raise ChannelError(f"{type(message).__name__} came out of order: {error}") from error

    async def _handle(self, message: FromML) -> None:
        match message:
            case Open():
                self._open(message)
            case messages.Sync() | messages.Close():
                await self._take_over(message)
            case messages.Evaluated(loss=loss, metric=metric, epochs=epochs, total_epochs=total):
                self._delivery().unlink(missing_ok=True)
                self._end_work()
                self._on_event(Evaluated(loss, metric, epochs, total))
            case messages.EvaluationFailed(message=text):
                logger.error("The ML process cannot use the merged model: %s", text)
            case messages.Progress():
                self._trained = message
                self._pace.progress(message)
            case messages.Kill(ok=ok, message=text):
                logger.info("The ML process leaves: %s", text)
                self._clean = ok

    def _on_left(self) -> None:
        self._end_work()
        if self.session is not None:
            self.session = None
            self._on_event(MLDisconnected(self._clean))

    def _open(self, message: Open) -> None:
        if message.version != messages.VERSION:
            raise ChannelError(f"local channel version {message.version}; this SL node supports {messages.VERSION}")
        specs = message.specs
        try:
            self.model_size = file_size(specs)
            require_mergeable(specs)
        except TensorFileError as error:
            raise ChannelError(f"no model can have this structure: {error}") from error
        structure = _structure(message)
        digest = structure.digest
        session = _session(message, digest, self._settings)
        self.session, self._clean, self._sequence, self.served = message, False, 0, False
        self.model = ""
        self._sessions += 1
        logger.info(
            "Opening session of contract %s: minPeers %d, syncFrequency %d",
            message.training_contract,
            message.min_peers,
            message.sync_frequency,
        )
        logger.info("Model structure %s: %d tensors, listed in %s", digest, len(specs), self.known.path)
        self.known.learn(structure, digest)
        self._on_event(SessionRequested(session, message.holds))

    async def _take_over(self, message: messages.Sync | messages.Close) -> None:
        """Moves a model that was handed over into the store."""
        if self.session is None or message.session != self.session_id:
            raise ChannelError("no session is open on this channel; send Open first")
        self._sequence = message.sequence
        self._end_work()
        path = self.channel.file(message.file)
        with self._store.pinned() as pin:
            try:
                with self._watch.during("take-over"):
                    path = await asyncio.to_thread(self._own, path)
                    _check_structure(path, self.session)
                    info = await self._store.adopt(path, pin, self.format)
            except (StoreError, TensorFileError) as error:
                reason = f"the model handed over by the ML process cannot be used: {error}"
                self._on_event(SiteFailed(reason))
                return
            self.model = info.root
            self._on_event(ModelReceived(info.root, info.size, isinstance(message, messages.Close)))

    def _own(self, path: Path) -> Path:
        """This model, or a copy if it is another user's, who could still change the file. Raises `StoreError`."""
        if not is_foreign(path):
            return path
        copy = self._store.temporary()
        try:
            with self._store.writing(path, self.model_size):
                copy_handed(path, copy, self.model_size)
        except StoreError:
            copy.unlink(missing_ok=True)
            raise
        return copy

    def stepped_parameters(self, structure: str) -> frozenset[str]:
        """The tensors that an outer optimizer steps, of models of the structure with this digest; none where this site
        does not know it."""
        return stepped(self.known.last) if self.known.roles(structure) else frozenset()

    def _delivery(self) -> Path:
        return self.channel.file(MERGED_FILE.format(self._deliveries))


def _check_structure(path: Path, session: Open) -> None:
    if difference := describe_difference(session.specs, read_header(path).specs):
        raise TensorFileError(f"the parameters do not have the structure of this session: {difference}")


def _structure(message: Open) -> Structure:
    """The structure on which all sites have to agree: with roles where merges of the contract depend on them, as those
    with an outer optimizer do. Coding does not: without roles it goes by shape, so that it needs none of the clients.

    Without, sites of one training may differ in what they train, and some may not know it, as clients of the original.
    Raises `ChannelError` where only some tensors have a role.
    """
    roles = message.roles
    if roles and (unstated := [spec.name for spec in message.structure if not spec.role]):
        raise ChannelError(f"the roles of these tensors are not stated, though those of others are: {labels(unstated)}")
    if message.outer is not None and not roles:
        raise ChannelError(
            "an outerOptimizer steps parameters alone, and this script does not state which tensors are; its package "
            "swarmlearning is older than this SL's: install the same version for it"
        )
    return Structure(tuple(message.specs), roles if message.outer is not None else NO_ROLES)


def _outer(message: Open) -> OuterOptimizer | None:
    """Raises `ChannelError` for numbers that no ledger takes."""
    if message.outer is None:
        return None
    try:
        return msgspec.convert(msgspec.to_builtins(message.outer), OuterOptimizer)
    except msgspec.ValidationError as error:
        raise ChannelError(f"outerOptimizer: {error}") from error


def _session(message: Open, structure: str, settings: RoundSettings) -> OpenSession:
    return OpenSession(
        merge_method=message.merge_method,
        min_peers=message.min_peers,
        structure=structure,
        weightage=message.node_weightage,
        samples=message.training_samples,
        sync_frequency=message.sync_frequency,
        checkin=message.checkin_model_on_train_end,
        epochs=message.total_epochs,
        adaptive=message.use_adaptive_sync,
        may_lead=settings.make_me_admin,
        initial=settings.initial,
        origin=settings.origin,
        frozen=message.fixed.frozen,
        classes=message.fixed.classes,
        features=message.fixed.features,
        outer=_outer(message),
    )
