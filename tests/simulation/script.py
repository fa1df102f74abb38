"""A site's ML process: trains, hands its model over, loads merged models, and ends when the training is over."""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulation.clock import Thunk
from simulation.invariants import RESET
from simulation.models import name
from swarmlearning.ledger.bodies import OpenSession
from swarmlearning.rounds.events import (
    Action,
    AnswerClosed,
    AnswerOpened,
    AnswerSynced,
    Deliver,
    DeliveryFailed,
    Evaluated,
    Event,
    Fail,
    MLDisconnected,
    ModelReceived,
    SessionRequested,
)

if TYPE_CHECKING:
    from simulation.site import Site

STRUCTURE = "5" * 64
AGAIN_SECONDS = 5.0
"""Seconds until an operator, who has reset the contract, starts the training again."""


@dataclass
class Process:
    """An ML process. `loaded` is the model it trains from, empty at first; `waits` while it has handed one over."""

    name: str
    left: int
    loaded: str = ""
    handed: int = 0
    waits: bool = False
    loading: bool = False
    closing: bool = False
    hung: bool = False
    parked: list[Thunk] = field(default_factory=list)


class Script:
    """A site's training script: one process after the other."""

    def __init__(self, site: "Site") -> None:
        self.site, self.swarm = site, site.swarm
        self.process: Process | None = None
        self.poisoned = False
        self.failed: str | None = None
        self.final = ""
        self._born = 0
        self.begin()

    def begin(self) -> None:
        """Prepares for a new process of the SL, which has received no event yet."""
        self.process = None
        self._said: deque[tuple[Process, Event]] = deque()
        self._speaker: Process | None = None

    # --- its processes ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        site, plan = self.site, self.site.plan
        if self.process is not None or not site.alive or not site.link.ready:
            return
        self._born += 1
        self.failed = None
        self.process = Process(f"{site.uid}.{site.life}.{self._born}", plan.rounds)
        session = OpenSession(
            merge_method=self.swarm.method,
            min_peers=self.swarm.min_peers,
            structure=STRUCTURE,
            weightage=plan.weightage,
            sync_frequency=8,
            checkin=plan.checkin,
            epochs=1,
            adaptive=plan.adaptive,
            may_lead=plan.settings.make_me_admin,
            initial=plan.settings.initial,
            outer=self.swarm.outer,
        )
        self._says(self.process, SessionRequested(session))

    def lose(self) -> None:
        if self.process is not None:
            self.swarm.note(self.site.uid, "loses its ML process")
            self._end(well=False)

    def hang(self, hung: bool) -> None:
        """Hangs the process, or lets it continue."""
        if self.process is not None:
            self.process.hung = hung
            if not hung:
                for thunk in self.process.parked:
                    self.swarm.clock.after(0.0, thunk)
                self.process.parked = []

    def _end(self, well: bool) -> None:
        if self.process is not None:
            self._says(self.process, MLDisconnected(well))
            self.process = None

    # --- between it and the SL --------------------------------------------------------------------------------------

    def _says(self, process: Process, event: Event) -> None:
        """Sends an event of an ML process; its events stay in order."""
        self._said.append((process, event))
        self.site.at(0.001, self._listen)

    def _listen(self) -> None:
        self._speaker, event = self._said.popleft()
        if isinstance(event, SessionRequested):
            self.site.set_attendance(event)
        else:
            self.site.tell(event)

    def answer(self, action: Action) -> None:
        """Delivers a message of the SL to the process that sent last, if that is still there."""
        if self.process is not None and self.process is self._speaker:
            self._answer(self.process, action)

    def _answer(self, process: Process, action: Action) -> None:
        match action:
            case AnswerOpened():
                self._after(process, self.site.plan.begins, lambda: self._hand_over(process))
            case Deliver(digest):
                assert process.waits, f"{self.site.uid} delivers to an ML process that does not wait"
                assert not process.loading, f"{self.site.uid} delivers a second model before the first is loaded"
                if digest in self.site.store.held:
                    process.loading = True
                    self._after(process, 0.2, lambda: self._load(process, digest))
                else:
                    self.site.tell(DeliveryFailed(digest))
            case AnswerSynced(interval, over):
                assert process.waits, f"{self.site.uid} answers an ML process that does not wait"
                assert not process.closing, f"{self.site.uid} lets an ML process go on that has closed"
                assert interval >= 1
                process.waits = False
                process.left -= 1
                if over:
                    self.final = process.loaded
                    self.swarm.witness.ended(self.site)
                    self._after(process, 0.5, lambda: self._end(well=True))
                else:
                    seconds = self.site.plan.train * interval / 8 if process.left else 0.1
                    self._after(process, seconds, lambda: self._hand_over(process))
            case AnswerClosed():
                assert process.waits
                assert process.closing
                self.final = process.loaded
                self.swarm.witness.ended(self.site)
                self._end(well=True)
            case Fail(text):
                self.failed = text
                self.swarm.note(self.site.uid, f"fails its ML process: {text}")
                self.swarm.witness.failed(self.site, text)
                self._end(well=False)
                if RESET in text:
                    self.site.at(AGAIN_SECONDS, self.start)

    # --- what it does -----------------------------------------------------------------------------------------------

    def _after(self, process: Process, seconds: float, thunk: Thunk) -> None:
        """Calls `thunk` later, if the process is alive by then and does not hang."""

        def due() -> None:
            if self.process is not process:
                return
            if process.hung:
                process.parked.append(due)
            else:
                thunk()

        self.swarm.clock.after(seconds, due)

    def _hand_over(self, process: Process) -> None:
        if not self.site.alive:
            return
        process.handed += 1
        process.closing = process.left <= 0
        process.waits = True
        digest, witness = name(process.name, str(process.handed), process.loaded), self.swarm.witness
        witness.made_from[digest] = process.loaded
        witness.handed[digest] = frozenset({digest})
        if self.poisoned:
            witness.poisoned.add(digest)
        self.site.store.put(digest)
        self.site.store.private.add(digest)
        self._says(process, ModelReceived(digest, self.site.swarm.size, process.closing))

    def _load(self, process: Process, digest: str) -> None:
        process.loaded, process.loading = digest, False
        self._says(process, Evaluated(self.swarm.dice.random(), None, 1, 1))
