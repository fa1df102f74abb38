"""Random walks of one round machine: any order of what a script, this node's work, other sites and the ledger may do.

The script behaves as the local channel's protocol has it, and every action is checked against what it waits for.
"""

import random
from collections.abc import Callable
from contextlib import suppress

from support.network import session
from support.play import Play, merged, model, receipt_of
from support.roundnode import SETTINGS
from swarmlearning.ledger.bodies import (
    CloseSession,
    Depose,
    Freeze,
    Lost,
    Missing,
    OpenSession,
    Privacy,
    Progress,
    Publish,
    ReportPerformance,
    Settle,
    Submit,
    TrainingBody,
)
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training import recovery, sessions
from swarmlearning.ledger.contracts.training import transactions as rules
from swarmlearning.ledger.contracts.training.state import Attendance, Training
from swarmlearning.rounds.checks import Recheck
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
    LocalFailure,
    Merge,
    Merged,
    MLDisconnected,
    ModelReceived,
    Refused,
    Release,
    Released,
    Send,
    SessionRequested,
    SetTimer,
    SiteFailed,
    Timer,
    TimerFired,
    Work,
)
from swarmlearning.rounds.machine import RoundMachine

UID = "b"
OTHERS = ("a", "c")
ATTENDANCES: list[Attendance] = ["present", "lost", "ml-lost", "left"]


class Script:
    """An ML process. It `waits` for its session, or for the answer to a hand-over, in which it may be `loading`."""

    def __init__(self) -> None:
        self.opened = self.waits = self.loading = self.closing = self.failed = False

    def receive(self, action: Action) -> None:
        """Checks that it waits for this."""
        match action:
            case AnswerOpened():
                assert not self.opened
                self.opened = True
            case Deliver():
                assert self.waits
                assert not self.loading
                self.loading = True
            case AnswerSynced():
                assert (self.waits, self.loading, self.closing) == (True, False, False)
                self.waits = False
            case AnswerClosed():
                assert (self.waits, self.loading, self.closing) == (True, False, True)
                self.waits = False
            case Fail():
                assert not self.failed
                self.failed = True


class Walk:
    """One walk: `step` lets one thing happen. `met` has each phase with the events that came in it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.play = Play(*OTHERS[: self.dice.randint(0, 2)])
        self.locked = seed % 3 == 0
        self.handed: set[str] = set()
        self.machine = RoundMachine(UID, 1, self.play.state, SETTINGS, (), () if self.locked else None)
        self.script: Script | None = None
        self.delivering = ""
        self.sent: list[TrainingBody | Lost] = []
        self.work: list[Work] = []
        self.timers: list[Timer] = []
        self.height = 0
        self.models = 0
        self.met: set[tuple[str, str]] = set()

    @property
    def phase(self) -> str:
        """The name of the present phase."""
        return type(self.machine._ml.phase).__name__

    def step(self) -> None:
        """Lets one thing happen, whichever is possible."""
        self.dice.choice((self._script_acts, self._script_acts, self._node_acts, self._ledger_acts, self._answered))()

    def handle(self, event: Event) -> None:
        """The machine handles the event, and what it decides is begun."""
        self.met.add((self.phase, type(event).__name__))
        for action in self.machine.handle(event, 0.0):
            match action:
                case Send(body):
                    if self.locked and isinstance(body, Submit):
                        assert body.digest not in self.handed, "a site with a lock submits what the lock has made"
                    self.sent.append(body)
                case Fetch() | Merge() | Carry() | Release():
                    self.work.append(action)
                case Cancel(work):
                    self.work = [other for other in self.work if other != work]
                case SetTimer(timer):
                    self.timers.append(timer)
                case _ if self.script:
                    if isinstance(action, Deliver):
                        self.delivering = action.digest
                    self.script.receive(action)

    # --- the script -------------------------------------------------------------------------------------------------

    def _script_acts(self) -> None:
        script = self.script
        if script is None:
            self.script = Script()
            holds = self.dice.choice(("", self.play.state.result.digest if self.play.state.result else merged(7)))
            self.handle(SessionRequested(session(adaptive=self.dice.random() < 0.3), holds))
        elif self.dice.random() < 0.08:
            self.script, self.delivering = None, ""
            self.handle(MLDisconnected(clean=script.closing))
        elif script.loading:
            script.loading = False
            lost = not script.failed and self.dice.random() < 0.2
            self.handle(DeliveryFailed(self.delivering) if lost else Evaluated(self.dice.random(), None, 1, 1))
        elif script.opened and not script.waits and not script.closing:
            script.waits, script.closing = True, self.dice.random() < 0.2
            self.models += 1
            self.handed.add(model(UID, self.models))
            self.handle(ModelReceived(model(UID, self.models), 1, script.closing))

    # --- this node's work, and time ---------------------------------------------------------------------------------

    def _node_acts(self) -> None:
        kinds = ("work", "timer", "dropped", "late", "failed")
        match self.dice.choices(kinds, weights=(50, 30, 10, 8, 1))[0]:
            case "work" if self.work:
                self.handle(self._outcome(self.work.pop(self.dice.randrange(len(self.work)))))
            case "timer" if self.timers:
                timer = self.timers.pop(self.dice.randrange(len(self.timers)))
                self.handle(TimerFired(timer, self.dice.randint(0, 3)))
            case "dropped":
                self.handle(Dropped(self.dice.choice((merged(0), merged(1), model(UID, 1), model("a", 0)))))
            case "late":
                self.handle(DeliveryFailed(merged(9)))
            case "failed":
                self.handle(SiteFailed("the model cannot be used"))

    def _outcome(self, work: Work) -> Event:
        bad = self.dice.random() < 0.2
        if isinstance(work, Release):
            return self._released(work)
        if not isinstance(work, Carry | Recheck) and self.dice.random() < 0.1:
            return LocalFailure(work, "the disk is full", permanent=bad)
        match work:
            case Fetch(digest):
                return FetchFailed(digest, "refused") if bad else Fetched(digest)
            case Carry(digest, _, onto):
                self.handed.add(model(digest, 0))
                return Carried(digest, onto, "" if bad else model(digest, 0), 1)
            case Merge(number, term):
                current = self.play.state.round
                receipt = receipt_of(current if current else self.play.result.closed, {})
                return Merged(number, term, merged(number), 1, receipt)
            case _:
                raise AssertionError(f"nothing is merged in slices here: {work}")

    def _released(self, task: Release) -> Event:
        """What a privacy lock makes of a model."""
        match self.dice.random():
            case chance if chance < 0.1:
                return LocalFailure(task, "the disk is full")
            case chance if chance < 0.3 or not task.base:
                return Released(task, "", 0, Privacy(1.0, withheld="budget" if task.base else "no-base"))
        given = model(f"given {task.digest}", task.round)
        return Released(task, given, 1, Privacy(1.0, self.dice.choice((0.0, 1.0)), contributors=2))

    # --- the ledger -------------------------------------------------------------------------------------------------

    def _ledger_acts(self) -> None:
        with suppress(Rejection):
            self.dice.choice(self._possible())()
        self.height += 1
        if self.dice.random() < 0.9:
            self.handle(ChainAdvanced(self.play.state, self.height, self.dice.randint(0, self.height)))

    def _possible(self) -> list[Callable[[], None]]:
        play, uid = self.play, self.dice.choice((*OTHERS, UID))
        other = self.dice.choice(OTHERS)
        found: list[Callable[[], None]] = [lambda: play.open(other)]
        if other in play.state.members:
            found += [lambda: play.submit(other)] * 3 + [lambda: play.close(other)] * 2
        if uid in play.state.members and self.dice.random() < 0.3:
            attendance: Attendance = self.dice.choice(ATTENDANCES)
            found.append(lambda: play.set_attendance(uid, attendance))
        if play.state.round and play.state.round.leader:
            found += [play.freeze] if play.leader != UID else []
            found += [play.publish] * 3 if play.leader != UID else []
            found += [lambda: play.depose("sn", by_sn=True, cause="lease")]
        if play.state.result:
            found += [lambda: play.report(other)] * 2 + [lambda: play.missing(other), play.void] + [play.settle] * 6
        if self.dice.random() < 0.02:
            found += [lambda: play.reset(forced=True), play.stop]
        return found

    def _answered(self) -> None:
        """The ledger answers a transaction, and this node sees the answer before or after the block."""
        if not self.sent:
            return
        body = self.sent.pop(self.dice.randrange(len(self.sent)))
        try:
            self.play.state = self._apply(body)
        except Rejection as refusal:
            self.handle(Refused(body, refusal.code, str(refusal), self.height + self.dice.randint(-1, 1)))
            return
        self.height += 1
        events: list[Event] = [Accepted(body, self.height), ChainAdvanced(self.play.state, self.height, 0)]
        if self.dice.random() < 0.5:
            events.reverse()
        for event in events:
            self.handle(event)

    def _apply(self, body: TrainingBody | Lost) -> Training:
        state, now = self.play.state, self.play.clock
        self.play.clock += 1
        match body:
            case OpenSession():
                return sessions.open_session(state, body, UID, 1, now)
            case CloseSession():
                return sessions.close_session(state, body, UID)
            case Submit():
                return rules.submit(state, body, UID, now)
            case Freeze():
                return rules.freeze(state, body, UID)
            case Publish():
                return rules.publish(state, body, UID, now)
            case Progress():
                return rules.progress(state, body, UID)
            case ReportPerformance():
                return rules.report_performance(state, body, UID)
            case Missing():
                return recovery.missing(state, body, UID)
            case Depose():
                return recovery.depose(
                    state, body, UID, organisation="", by_sn=False, leader_incarnation=1, leader_height=0
                )
            case Settle():
                return recovery.settle(state, body, UID, by_sn=False)
            case Lost():
                return sessions.set_attendance(state, UID, "ml-lost", 1, now)
            case _:
                raise AssertionError(f"an SL does not send {type(body).__name__}")
