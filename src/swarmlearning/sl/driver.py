"""The driver: one SL node at work. It hands events to the round machine, and the machine's decisions to those who act.

    ML process ─▶ mlside ─┐                          ┌─▶ mlside ─▶ ML process
    chain ────────────────┼─▶ events ─▶ RoundMachine ┤
    effects (outcomes) ───┘            (decides)     └─▶ effects: ledger, transfer, merge, store, timers

An event is handled at once, in the event loop, and never while another one is: actions only begin work. `narration`
reports to people, and decides nothing.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.models.links import Links
from swarmlearning.models.pacing import Bandwidth
from swarmlearning.models.pushes import Pushable
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Fetcher
from swarmlearning.node.follower import Follower
from swarmlearning.node.logs import now_in
from swarmlearning.node.sender import Sender
from swarmlearning.node.sources import RELAY
from swarmlearning.rounds.checks import CheckWanted, Uncheckable
from swarmlearning.rounds.events import (
    Action,
    AnswerClosed,
    AnswerOpened,
    AnswerSynced,
    ChainAdvanced,
    Deliver,
    Dropped,
    Event,
    Fail,
    Finish,
    SessionRequested,
    SiteFailed,
)
from swarmlearning.rounds.machine import RoundMachine
from swarmlearning.rounds.phases import OutOfOrder
from swarmlearning.rounds.settings import RoundSettings
from swarmlearning.sl.capacity import OwnLink, unlimited
from swarmlearning.sl.changes import Changes
from swarmlearning.sl.codings import Codings
from swarmlearning.sl.effects import Effects
from swarmlearning.sl.giving import Giving
from swarmlearning.sl.layouts import format_of
from swarmlearning.sl.locking import SiteLock
from swarmlearning.sl.mlside import MLSide, Shared
from swarmlearning.sl.narration import Narrator
from swarmlearning.sl.owncheck import OwnCheck
from swarmlearning.sl.pushed import pushable
from swarmlearning.sl.pushing import Pushing
from swarmlearning.sl.remarks import Remarks
from swarmlearning.sl.results import keep_final
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.sl.tasks import Tasks
from swarmlearning.sl.verifying import Verifying, answering
from swarmlearning.views.names import node_names
from swarmlearning.views.training import TrainingProgress, Waiting


class Driver:
    """`run` returns when training is over and everybody holds the final model."""

    def __init__(
        self,
        settings: RoundSettings,
        follower: Follower,
        sender: Sender,
        store: TensorStore,
        fetcher: Fetcher,
        directory: Path,
        shared_log: bool = False,
        shared: Shared | None = None,
        lock: SiteLock | None = None,
        watch: Stopwatch | None = None,
        bandwidth: Bandwidth | None = None,
    ) -> None:
        """`directory`, `shared`: see `MLSide`. `shared_log`: see `Narrator`. `lock`: the site's privacy lock.

        `watch` measures the rounds. `bandwidth`: the limits of what models may use of the link.
        """
        self._settings = settings
        self._follower = follower
        self.store = store
        self._uid, self._incarnation = sender.author.uid, sender.author.incarnation
        self.delivering: Callable[[Training], None] = lambda state: None  # its result goes to the ML process
        self.over_already = False  # whether an ML process came after the end of the training
        self._directory = directory
        self._machine: RoundMachine | None = None
        self._remarks: Remarks | None = None
        self._tasks = Tasks()
        self._watch = watch = watch or Stopwatch()
        self.ml = MLSide(directory, self._incarnation, settings, store, self._handle, watch, shared)
        watch.script = self.ml.script
        self.narrator = Narrator(self.ml.show, shared_log)
        self._changes = Changes(directory, store, Codings(store, self._buffers))
        self._own_check = OwnCheck(self._uid, store, self._changes.codings, lambda: self.ml.model)
        giving = Giving(store, self._changes, lock, watch)
        self.effects = Effects(
            self._tasks, follower, sender, store, fetcher, self.ml, self.narrator, self._handle, watch, giving
        )
        self._verifying = Verifying(
            self._uid, follower, lambda: self.contract, lambda result: self._handle(CheckWanted(result)), self._chunks
        )
        sources = self.effects.sources
        self._pushing = Pushing(self._uid, self._tasks, follower, store, fetcher, sources, self.gives)
        limits = bandwidth.limits if bandwidth else unlimited
        self.links = Links()
        self._link = OwnLink(lambda: self.effects.received, self._sent, self._merges, limits)
        self._lock = lock
        if lock:
            lock.warn, lock.tell = _in_loop(self.narrator.locked), _in_loop(self.narrator.tell)

    @property
    def contract(self) -> str:
        """The training contract, empty before the first session."""
        return self.effects.contract

    def progress(self) -> tuple[int, int, TrainingProgress | None]:
        """Returns steps trained, bytes moved, and the progress of the training, if there is one; in any thread."""
        steps, training = self.ml.progress()
        return steps, self.effects.moved, training

    async def run(self) -> None:
        """Works until training is over. Raises `Superseded` when this node was started again elsewhere."""
        try:
            async with answering(self._directory, self._verifying):
                self._tasks.start(self._follow())
                self._tasks.start(self.narrator.report_waiting(lambda: self._follower.chain, self._waiting))
                self._tasks.start(self._link.report(self._handle))
                await self._tasks.ended
        finally:
            await self._tasks.stop()
            self._pushing.close()
            await self.ml.channel.stop()

    def _sent(self) -> int:
        """Bytes of models that others have from here, fetched or pushed, as far as is known."""
        return (self.links.arrived() or self._watch.sent) + self._pushing.sent

    def _merges(self) -> bool:
        """Whether this node merges slices: others can connect to it, and not only through a relay."""
        if not self._settings.merges_slices:
            return False
        known = network.node(self._follower.chain.world, self._uid)
        return known is not None and RELAY not in known.addresses

    def _buffers(self) -> frozenset[str]:
        """The tensors that scripts call buffers, where all sites have to agree on that; in any thread."""
        terms = state_of(self._follower.chain.world, self.contract).terms
        roles = self.ml.known.roles(terms.structure) if terms else {}
        return frozenset(name for name, role in roles.items() if role == "buffer")

    def _chunks(self, digest: str) -> int:
        """Of how many chunks the data of a model is that is here; 0: it is not."""
        layout = self.store.layout_of(digest)
        return layout.count - 1 if layout else 0

    def gives(self, chain: Chain, digest: str) -> bool:
        """Whether the site's privacy lock, if it has one, lets others have this model, as the ledger stands."""
        return not self._lock or self._lock.serves(chain, self._uid, digest)

    def pushable(self, thumbprint: str, digest: str) -> Pushable | None:
        """What of a model the holder of a certificate may push to this node."""
        return pushable(self._follower.chain, self._uid, thumbprint, digest, self.effects.layout)

    def missed(self, digest: str) -> None:
        """Notes that a peer has requested a model that is not in the store."""
        self._handle(Dropped(digest))

    # --- events -----------------------------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        """Lets the machine decide. An error ends the node, whoever has caused the event.

        Only a message that the ML process must not send now is raised: it ends the channel.
        """
        try:
            if isinstance(event, SessionRequested):
                self._join(self._follower.chain)
                self.narrator.greet()
            if isinstance(event, Uncheckable):
                self._verifying.failed(event.result, event.reason)
            if self._machine is not None:
                for action in self._machine.handle(event, asyncio.get_running_loop().time()):
                    self._perform(action)
            if isinstance(event, SessionRequested):
                self._advance(self._follower.chain)
                self._handle(self._link.measured)
        except OutOfOrder:
            raise
        except Exception as error:  # noqa: BLE001 - it becomes the result of `run`
            self._tasks.finish(error)

    def _join(self, chain: Chain) -> None:
        """Makes a machine for the session's contract, unless there is one."""
        assert self.ml.session is not None
        contract = self.ml.session.training_contract
        if self._machine is None or contract != self.contract:
            self.effects.contract, self.effects.decided_on = contract, chain
            training, held = state_of(chain.world, contract), self.store.held()
            self._remarks = Remarks(self._uid, self._settings.non_finite, training)
            released = self._lock.released(contract) if self._lock else None
            coded = self._changes.released(contract)
            self._machine = RoundMachine(self._uid, self._incarnation, training, self._settings, held, released, coded)

    async def _follow(self) -> None:
        async for chain in self._follower.chains():
            if self._machine is not None:
                await self._remark(chain)
                self._advance(chain)

    def _advance(self, chain: Chain) -> None:
        self.effects.decided_on = chain
        self.ml.format = format_of(chain.world)
        state = state_of(chain.world, self.contract)
        self._watch.reached(state)
        self._pushing.follow(chain, state)
        leader = state.round.leader if state.round else ""
        now_in(self.contract, state.round.number if state.round else None)
        self._handle(ChainAdvanced(state, chain.height, network.last_height(chain.world, leader)))

    async def _remark(self, chain: Chain) -> None:
        """Reports what the ledger shows about merges, before the ML process goes on from the result.

        Where the ledger calls this site's model unusable, what it has given is checked here first.
        """
        state, names = state_of(chain.world, self.contract), node_names(chain.world)
        node = network.node(chain.world, self._uid)
        address = node.addresses.get("fs", "") if node else ""
        own = await self._own_check.verdict(state)
        for remark in self._remarks.new(state, names, own, address) if self._remarks else ():
            if remark.fatal:
                self._handle(SiteFailed(remark.text))
            else:
                self.narrator.remark(remark)

    # --- actions ----------------------------------------------------------------------------------------------------

    def _perform(self, action: Action) -> None:
        match action:
            case AnswerOpened():
                self.ml.opened()
            case AnswerSynced(interval, over):
                self.ml.synced(interval, over)
            case AnswerClosed():
                self.ml.closed()
            case Fail(text, over):
                self.over_already = over
                self.narrator.failed(text)
                self.ml.fail(text)
            case Finish():
                self._finish()
            case Deliver():
                self.delivering(state_of(self.effects.decided_on.world, self.contract))
                self.effects.perform(action)
            case _:
                self.effects.perform(action)

    def _finish(self) -> None:
        """Ends the node's work; one that came after the end of the training has nothing to report or to keep."""
        if self._uid not in state_of(self._follower.chain.world, self.contract).members:
            self._tasks.finish()
            return
        self.narrator.finished(self._follower.chain, self.contract)
        self._tasks.start(self._record())

    async def _record(self) -> None:
        """Leaves the final model and a report of the run in the data directory: the node's work is done."""
        kept = await asyncio.to_thread(keep_final, self._directory, self.store, self._follower.chain, self.contract)
        self.narrator.recorded(kept, self._directory)
        self._tasks.finish()

    def _waiting(self) -> Waiting | None:
        return self._machine.waiting if self._machine else None


def _in_loop(report: Callable[[str], None]) -> Callable[[str], None]:
    """The same function, to be called in any thread: it runs in this event loop."""
    loop = asyncio.get_running_loop()

    def later(text: str) -> None:
        loop.call_soon_threadsafe(report, text)

    return later
