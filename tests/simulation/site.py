"""One SL: the real round machine, and a simulated driver that performs its actions.

Its link with the ledger, its store, what it does with models and its ML process have modules of their own.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulation import checks, models, slices
from simulation.invariants import RESET
from simulation.ledger import FOUNDER
from simulation.life import Living
from simulation.link import Link
from simulation.locks import Lock
from simulation.script import Script
from simulation.store import Store
from swarmlearning.choices import CheckinMode
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.steps import made_of
from swarmlearning.node.joining import LEAVE_SECONDS
from swarmlearning.rounds.checks import Recheck
from swarmlearning.rounds.events import (
    Action,
    Cancel,
    Carried,
    Carry,
    ChainAdvanced,
    Event,
    Fetch,
    Finish,
    Keep,
    Merge,
    Merged,
    ModelReceived,
    Release,
    Released,
    Send,
    SessionRequested,
    SetTimer,
    TimerFired,
    Verify,
    Work,
)
from swarmlearning.rounds.machine import RoundMachine
from swarmlearning.rounds.settings import RoundSettings
from swarmlearning.rounds.slices import Assemble, Assembled, FetchSlice, MergeSlice, WeighModels

if TYPE_CHECKING:
    from simulation.swarm import Swarm

SETTINGS = RoundSettings(make_me_admin=True, full_quorum_seconds=30.0, leader_failure_seconds=600.0, initial="merged")


@dataclass(frozen=True)
class Plan:
    """The plan of a site: `rounds` hand-overs with `train` seconds between, the first after it `begins`, then the
    closing one; `work` seconds a merge, `transfer` seconds a model; `lag` more seconds for each of its messages, on
    average. `silent`: its merges cannot be seen to move. It `joins` after so many seconds, or (infinity) when told."""

    rounds: int = 2
    train: float = 1.0
    begins: float = 0.1
    work: float = 0.1
    transfer: float = 0.05
    lag: float = 0.0
    silent: bool = False
    checkin: CheckinMode = "snapshot"
    adaptive: bool = False
    weightage: int = 1
    settings: RoundSettings = SETTINGS
    joins: float = 0.0


class Site(Living):
    """An SL by its UID, with a certificate of its organisation. `finished`: it has left as it should; `dead`: it is
    gone for good; `shielded`: others are refused its models, and if it is `walled`, for ever; `breaking`: transfers
    from it break in the middle; `dripping`: what it contributes comes so slowly that it never ends, `trickling`: so do
    results; `revoked`: nobody has anything to do with it any more; `lies`: what it states of slices is false; `lock`:
    its privacy lock."""

    def __init__(self, swarm: "Swarm", uid: str, plan: Plan, sn: int) -> None:
        super().__init__(swarm.clock)
        self.swarm, self.uid, self.plan = swarm, uid, plan
        self.papers, self.organisation = "SL", FOUNDER
        self.finished = self.dead = self.jammed = self.shielded = self.walled = self.breaking = False
        self.dripping = self.trickling = self.revoked = self.lies = False
        self.lock: Lock | None = None
        self.machine: RoundMachine | None = None
        self.decided_on = 0  # the height of the newest state that the machine knows
        self.work: dict[Work, models.Task] = {}
        self.store = Store(self, swarm.dice)
        self.script = Script(self)
        self.link = Link(self, sn)

    @property
    def serves(self) -> bool:
        """Whether others get all models from it that they need, as far as it is up to its link."""
        return not (self.walled or self.dripping or self.trickling)

    @property
    def came_too_late(self) -> bool:
        """Whether its ML process has been refused because training was over; nobody starts it again."""
        failed = self.script.failed
        return failed is not None and RESET not in failed

    # --- its process ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the SL, which finds an SN, registers, and starts its ML process."""
        self.begin()
        self.machine, self.work = None, {}
        self.store.begin()
        self.script.begin()
        self.link = Link(self, self.link.number)
        self.swarm.note(self.uid, f"starts, incarnation {self.life}")
        self.link.look_for_sn()

    def crash(self) -> None:
        """Kills SL and ML process; the store stays as it was."""
        self.alive = False
        self.script.process = None
        self.swarm.note(self.uid, "crashes")

    @property
    def may_leave(self) -> bool:
        """True if the node is there to receive a signal to end."""
        return self.alive and not self.frozen and not self.finished and self.link.ready

    def leave(self) -> None:
        """Stops the node: its ML process is gone, and it sends `Leave`."""
        self.swarm.note(self.uid, "is told to leave")
        self.machine = self.script.process = None
        self._say_good_bye()

    def _say_good_bye(self) -> None:
        self.link.leave()
        self.at(LEAVE_SECONDS, self._stop)

    def _stop(self) -> None:
        self.alive = False

    def freeze(self) -> None:
        self.frozen = True
        self.swarm.note(self.uid, "is frozen")

    def thaw(self) -> None:
        if self.frozen:
            self.swarm.note(self.uid, "goes on")
            self.wake()
            self.link.look_for_sn()

    @property
    def leads(self) -> bool:
        """True if it leads according to the ledger."""
        current = self.swarm.log.training(-1).round
        return current is not None and current.leader == self.uid

    # --- its machine ------------------------------------------------------------------------------------------------

    def set_attendance(self, event: SessionRequested) -> None:
        """Opens a session for an ML process; the first one starts the machine, unless the site is leaving."""
        if not self.link.ready:
            return
        if self.machine is None:
            training = self.swarm.log.training(self.link.height)
            self.decided_on = self.link.height
            released = tuple(self.store.released.values()) if self.lock else None
            coded = tuple(self.store.coded.values())
            settings = checks.settings_of(self)
            self.machine = RoundMachine(self.uid, self.life, training, settings, self.store.held, released, coded)
        self.tell(event)
        if self.swarm.sliced:
            self.tell(slices.link_of(self))
        self.advanced(self.link.height)

    def advanced(self, height: int) -> None:
        """Hands the state at this height to the machine."""
        self.decided_on = max(self.decided_on, height)
        training = self.swarm.log.training(height)
        if self.machine is not None:
            self.swarm.witness.coded.shows(self, training)
        leader = training.round.leader if training.round else ""
        self.tell(ChainAdvanced(training, height, network.last_height(self.swarm.log.chains[height].world, leader)))
        if self.machine is not None:
            self.swarm.witness.work.decided(self)

    def tell(self, event: Event) -> None:
        """Hands an event to the machine and performs its actions."""
        if self.machine is None:
            return
        for action in self.machine.handle(event, self.time):
            self._perform(action)
        match event:
            case (
                ModelReceived(digest=digest)
                | Merged(result=digest)
                | Assembled(result=digest)
                | Carried(result=digest)
                | Released(_, digest)
            ):
                self.store.known(digest)
        if isinstance(event, Merged | Assembled):
            for digest in made_of(event.step):
                self.store.known(digest)

    @property
    def fetching(self) -> set[str]:
        """Returns the models that are being fetched."""
        return {work.digest for work in self.work if isinstance(work, Fetch)}

    def ended(self, task: models.Task) -> None:
        """Removes work that is not in progress any more."""
        if self.work.get(task.work) is task:
            del self.work[task.work]

    def _perform(self, action: Action) -> None:
        match action:
            case Send(body):
                self.swarm.witness.work.sends(self, body)
                self.link.send(body, self.decided_on)
            case (
                Fetch()
                | Merge()
                | MergeSlice()
                | FetchSlice()
                | Assemble()
                | WeighModels()
                | Recheck()
                | Carry()
                | Release()
            ):
                self.swarm.witness.begins(self, action)
                self.work[action] = models.begin(self, action)
            case Cancel(work):
                if work in self.work:
                    self.work.pop(work).cancel()
            case Verify(digest):
                self.store.job(self.plan.work, lambda: models.verify(self, digest))
            case SetTimer(timer, seconds):
                self.at(seconds, lambda: self.tell(TimerFired(timer, self.store.moved * self.swarm.size)))
            case Keep(digests):
                self.swarm.witness.tidies(self, digests)
                self.store.keep(set(digests))
            case Finish():
                self._finish()
            case _:
                self.script.answer(action)

    def _finish(self) -> None:
        self.swarm.witness.finished(self)
        self.finished = True
        self.swarm.note(self.uid, "has finished")
        self._say_good_bye()
