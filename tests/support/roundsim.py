"""A swarm in one process, in virtual time: real round machines on the real training contract, all else pretended.

Theory of operation
-------------------
What is real: one `RoundMachine` a site, and the functions of `ledger.contracts.training`, one transaction a block.
What is pretended: the SN (it judges, counts heights and tells everybody), the ML processes, the stores, the transfers.

Whatever will happen lies in a *bag* of small thunks; the scheduler draws the next one at random, so that every order
of messages is met with some seed. The chain reaches a machine the way it reaches a real one: states are skipped, told
twice and told late. Timers lie apart: they fire when nothing else can happen, or early when the seed is unlucky.

A model is its name, the digest of a text that says who made it from what. So the swarm knows of each model what it was
truly trained from, and checks with every block what must always hold:

- a trained submission was trained from the result of the round before, and is made of one hand-over;
- a result has at least minPeers contributors, round numbers grow by one (or go back by one when a result is void);
- an ML process is given a model, an answer, or an end only while it waits for one.

`run` ends when nothing can happen any more. Then either training is over, or somebody's `waiting_text` has the reason.
"""

import hashlib
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from swarmlearning.ledger.bodies import (
    Back,
    CheckinMode,
    CloseSession,
    Contribution,
    Depose,
    Exclusion,
    Freeze,
    Lost,
    Missing,
    OpenSession,
    Progress,
    Publish,
    Receipt,
    ReportPerformance,
    Settle,
    Submit,
    TrainingBody,
    Void,
)
from swarmlearning.ledger.contracts import training as contract
from swarmlearning.ledger.contracts import training_rules as rules
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training import Attendance, Training
from swarmlearning.rounds.events import (
    Accepted,
    Action,
    AnswerClosed,
    AnswerOpened,
    AnswerSynced,
    Carried,
    Carry,
    ChainAdvanced,
    Deliver,
    Dropped,
    Evaluated,
    Event,
    Fail,
    Fetch,
    Fetched,
    FetchFailed,
    Finish,
    Keep,
    Merge,
    Merged,
    MLLeft,
    ParametersHanded,
    Refused,
    Send,
    SessionAsked,
    Undelivered,
    Wake,
    Woke,
)
from swarmlearning.rounds.machine import RoundMachine
from swarmlearning.rounds.settings import RoundSettings

SN = "sn-1"
STRUCTURE = "5" * 64
MAX_STEPS = 20_000
"""Thunks of one run; more means that the swarm runs in circles."""
POISON = "not finite: "
TOO_LATE = "is over; an operator resets it"
PATIENCE = 20
"""Failures of one fetch after which the growing pause outlasts the run."""
SETTINGS = RoundSettings(make_me_admin=True, full_quorum_seconds=30.0, leader_failure_seconds=600.0, initial="merged")

Thunk = Callable[[], None]


@dataclass(frozen=True)
class Plan:
    """How a site trains: `rounds` hand-overs with training in between, then the closing one."""

    rounds: int = 2
    checkin: CheckinMode = "snapshot"
    adaptive: bool = False
    weightage: int = 1
    may_lead: bool = True


@dataclass
class Process:
    """An ML process. `loaded` is the model it trains from, empty at first; `waits` while it has handed one over."""

    name: str
    left: int
    loaded: str = ""
    handed: int = 0
    waits: bool = False
    closing: bool = False


@dataclass
class Site:
    """One SL node with its store and its ML process; `life` is its incarnation, 0 before its first start."""

    uid: str
    plan: Plan
    life: int = 0
    machine: RoundMachine | None = None
    process: Process | None = None
    born: int = 0
    store: set[str] = field(default_factory=set)
    fresh: set[str] = field(default_factory=set)
    said: deque[tuple[Process, Event]] = field(default_factory=deque)
    speaker: Process | None = None
    cut: bool = False
    parked: list[Thunk] = field(default_factory=list)
    poisoned: bool = False
    deserted: bool = False
    finished: bool = False
    failed: str | None = None
    final: str = ""


class Swarm:
    """Sites by name, and one contract. `haste` is the chance that a timer fires early.

    Faults are methods; `when` has them happen at a certain state, `mishap` (called before each step) at any time.
    """

    def __init__(self, plans: Mapping[str, Plan], min_peers: int, seed: int = 0, haste: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.min_peers = min_peers
        self.haste = haste
        self.sites = {uid: Site(uid, plan) for uid, plan in plans.items()}
        self.states: list[Training] = [contract.empty("sim")]
        self.spoken: dict[str, int] = {}
        self.bag: list[Thunk] = []
        self.timers: list[Thunk] = []
        self.made_from: dict[str, str] = {}
        self.submits: list[tuple[str, Submit]] = []
        self.results: list[Publish] = []
        self.unreachable: Callable[[str, str, str], bool] = lambda reader, holder, digest: False
        self.mishap: Thunk = lambda: None
        self._triggers: list[tuple[Callable[[Training], bool], Callable[[Swarm], object]]] = []
        self._handed_in: dict[str, int] = {}
        self.failures: Counter[tuple[str, str]] = Counter()
        self.steps = 0

    @property
    def state(self) -> Training:
        return self.states[-1]

    @property
    def height(self) -> int:
        return len(self.states) - 1

    # --- the scheduler ----------------------------------------------------------------------------------------------

    def later(self, thunk: Thunk) -> None:
        self.bag.append(thunk)

    def when(self, reached: Callable[[Training], bool], then: "Callable[[Swarm], object]") -> None:
        """Does `then` right after the first block with a state that is `reached`."""
        self._triggers.append((reached, then))

    def run(self) -> None:
        """Until nothing can happen any more."""
        while self.bag or self.timers:
            self.steps += 1
            assert self.steps < MAX_STEPS, f"it goes round in circles: {contract.waiting_text(self.state)}"
            self.mishap()
            early = self.timers and self.random.random() < self.haste
            pile = self.timers if early or not self.bag else self.bag
            index = self.random.randrange(len(pile))
            pile[index], pile[-1] = pile[-1], pile[index]
            pile.pop()()

    def start_later(self, uid: str) -> None:
        self.later(lambda: self.start(uid))

    def start(self, uid: str) -> None:
        """Starts a site: its SL registers, its ML process asks for a session."""
        site = self.sites[uid]
        site.life += 1
        site.fresh.clear()
        site.said.clear()
        site.finished, site.cut = False, False
        self._commit(rules.attend(self.state, uid, "restarted", site.life, self.height))
        site.machine = RoundMachine(uid, site.life, self.state, SETTINGS, site.store)
        self.start_ml(uid)

    def start_ml(self, uid: str) -> None:
        site = self.sites[uid]
        if site.process is None and site.life and not site.finished:  # an SL that has finished has ended
            site.born += 1
            site.deserted = False
            site.process, site.failed = Process(f"{uid}.{site.born}", site.plan.rounds), None
            session = OpenSession(
                merge_method="mean",
                min_peers=self.min_peers,
                structure=STRUCTURE,
                weightage=site.plan.weightage,
                sync_frequency=8,
                checkin=site.plan.checkin,
                epochs=1,
                adaptive=site.plan.adaptive,
                may_lead=site.plan.may_lead,
            )
            self._hears(site, site.process, SessionAsked(session))

    # --- faults -----------------------------------------------------------------------------------------------------

    def lose_ml(self, uid: str) -> None:
        """The ML process dies."""
        self.sites[uid].deserted = True
        self._end_ml(self.sites[uid], well=False)

    def restart(self, uid: str) -> None:
        """The SL's process dies and takes its ML process with it; both start again, the store is as it was."""
        site = self.sites[uid]
        if site.finished:
            return
        site.process = None
        site.parked.clear()
        self.start(uid)

    def cut(self, uid: str) -> None:
        """Nobody hears the site, and it hears nobody; its lease ends."""
        site = self.sites[uid]
        if not site.cut:
            site.cut = True
            self._hear(Lost(uid, site.life))

    def heal(self, uid: str) -> None:
        """The site is heard again; what it had to say or hear comes now."""
        site = self.sites[uid]
        if site.cut:
            site.cut = False
            self.bag.extend(site.parked)
            site.parked.clear()
            self._hear(Back(uid, site.life))

    def reset(self) -> None:
        """An operator ends the training."""
        self._commit(rules.reset(self.state, forced=True))

    def drop(self, uid: str, digest: str) -> None:
        """A model file is gone; the node finds out when it wants to use it."""
        self.sites[uid].store.discard(digest)

    # --- the SN -----------------------------------------------------------------------------------------------------

    def propose(self, body: Depose | Void | Settle) -> None:
        """The SN says something; the contract judges."""
        try:
            if isinstance(body, Settle):
                self._commit(rules.settle(self.state, body))
            elif isinstance(body, Void):
                self._commit(rules.void(self.state, body, self.height))
            else:
                self._commit(self._depose(body, SN))
        except Rejection:
            pass  # a stale proposal does no harm

    def _hear(self, body: Lost | Back) -> None:
        site = self.sites[body.uid]
        attendance: Attendance = "lost" if isinstance(body, Lost) else "present"
        if site.life == body.incarnation:
            self._commit(rules.attend(self.state, body.uid, attendance, body.incarnation, self.height))

    def _judge(self, site: Site, life: int, body: TrainingBody | Lost) -> None:
        """A transaction of a node reaches the SN."""
        try:
            if site.life != life:
                raise Rejection("old-incarnation", "this process was superseded")
            state = self._apply(body, site.uid, life)
        except Rejection as refusal:
            self._tell(site, Refused(body, refusal.code, refusal.detail, self.height + 1), life)
            return
        match body:
            case Submit():
                self._check_submit(site.uid, body)
            case Publish(result=result) if result:
                self._check_result(body)
        self.spoken[site.uid] = self.height + 1
        self._commit(state)
        self._tell(site, Accepted(body, self.height), life)

    def _apply(self, body: TrainingBody | Lost, uid: str, life: int) -> Training:
        state, now = self.state, self.height
        match body:
            case OpenSession():
                return rules.open_session(state, body, uid, life, now)
            case Submit():
                return rules.submit(state, body, uid, now)
            case Freeze():
                return rules.freeze(state, body, uid)
            case Progress():
                return rules.progress(state, body, uid)
            case Publish():
                return rules.publish(state, body, uid, now)
            case ReportPerformance():
                return rules.report_performance(state, body, uid)
            case Missing():
                return rules.missing(state, body, uid)
            case CloseSession():
                return rules.close_session(state, body, uid)
            case Depose():
                return self._depose(body, uid)
            case Lost():
                return rules.attend(state, uid, "ml-lost", life, now)
        raise AssertionError(f"no SL says {body}")

    def _depose(self, body: Depose, uid: str) -> Training:
        leader = self.state.round.leader if self.state.round else ""
        return rules.depose(
            self.state,
            body,
            uid,
            by_sn=uid == SN,
            leader_incarnation=self.sites[leader].life if leader else 0,
            leader_height=self.spoken.get(leader, 0),
        )

    def _commit(self, state: Training) -> None:
        """One more block: everybody hears of it, some later than of the next."""
        self._check_progress(self.state, state)
        self.states.append(state)
        height = self.height
        self.bag.extend(partial(self._show, site, height) for site in self.sites.values())
        if state.result and state.result.missing:
            number = state.result.closed.number
            self.later(lambda: self.propose(Void(number)))
        if state.result and state.over and not state.settled and contract.all_hold(state):
            settled = Settle(state.result.closed.number)
            self.later(lambda: self.propose(settled))
        due = [trigger for trigger in self._triggers if trigger[0](state)]
        self._triggers = [trigger for trigger in self._triggers if trigger not in due]
        for _, then in due:
            then(self)

    def _show(self, site: Site, height: int) -> None:
        """Only the newest state is sure to be shown."""
        if height == self.height or self.random.random() < 0.7:
            life = site.life
            for _ in range(1 + (self.random.random() < 0.1)):
                state = self.states[height]
                spoke = self.spoken.get(state.round.leader, 0) if state.round else 0
                self._deliver(site, ChainAdvanced(state, height, min(spoke, height)), life)

    # --- a site -----------------------------------------------------------------------------------------------------

    def _tell(self, site: Site, event: Event, life: int) -> None:
        """The event reaches the machine some time later, if that process still lives."""
        self.later(lambda: self._deliver(site, event, life))

    def _hears(self, site: Site, process: Process, event: Event) -> None:
        """The same for what the ML process says, which stays in order."""
        life = site.life
        site.said.append((process, event))
        self.later(lambda: self._listen(site) if site.life == life else None)

    def _listen(self, site: Site) -> None:
        site.speaker, event = site.said.popleft()
        self._deliver(site, event, site.life)

    def _deliver(self, site: Site, event: Event, life: int) -> None:
        if site.cut and isinstance(event, ChainAdvanced | Accepted | Refused):
            site.parked.append(lambda: self._deliver(site, event, life))
        elif site.machine is not None and site.life == life:
            for action in site.machine.handle(event):
                self._perform(site, action)
            match event:
                case ParametersHanded(digest=digest) | Merged(result=digest) | Carried(result=digest):
                    site.fresh.discard(digest)

    def _perform(self, site: Site, action: Action) -> None:
        life, process = site.life, site.process
        match action:
            case Send(body):
                self._outside(site, lambda: self._judge(site, life, body))
            case Fetch():
                self._outside(site, lambda: self._fetch(site, life, action))
            case Merge():
                self.later(lambda: self._merge(site, life, action))
            case Carry():
                self.later(lambda: self._carry(site, life, action))
            case Wake(timer) if timer.purpose in ("grace", "retry"):
                self.timers.append(lambda: self._tell(site, Woke(timer, 0), life))
            case Wake():
                pass  # here leaders are quick, or lost
            case Keep(digests):
                site.store &= {*digests, *site.fresh}
            case Finish():
                assert self.state.over
                site.finished = True  # the SL ends, and an ML process that has just been started again sees that
                site.deserted = site.deserted or site.process is not None
                site.process = None
            case _ if process is not None and process is site.speaker:
                self._answer(site, process, action)

    def _outside(self, site: Site, thunk: Thunk) -> None:
        """Something for which the site needs the network; while it is cut off, that waits."""

        def now_or_when_healed() -> None:
            if site.cut:
                site.parked.append(now_or_when_healed)
            else:
                thunk()

        self.later(now_or_when_healed)

    def _fetch(self, site: Site, life: int, action: Fetch) -> None:
        if site.life != life:
            return
        for holder in [self.sites[uid] for uid in action.holders]:
            if holder.cut or self.unreachable(site.uid, holder.uid, action.digest):
                continue
            if action.digest in holder.store:
                site.store.add(action.digest)
                self._tell(site, Fetched(action.digest), life)
                return
            self._tell(holder, Dropped(action.digest), holder.life)
        self.failures[site.uid, action.digest] += 1
        if self.failures[site.uid, action.digest] <= PATIENCE:
            self._tell(site, FetchFailed(action.digest, "nobody could give it"), life)

    def _carry(self, site: Site, life: int, task: Carry) -> None:
        if site.life == life:
            result = _name("carried", task.digest, task.base, task.onto)
            if site.poisoned or task.digest.startswith(POISON):
                result = POISON + result
            assert self.made_from[task.digest] == task.base
            self.made_from[result] = task.onto
            site.store.add(result)
            site.fresh.add(result)
            self._tell(site, Carried(task.digest, task.onto, result, 1), life)

    def _merge(self, site: Site, life: int, task: Merge) -> None:
        if site.life != life:
            return
        if gone := [entry.digest for entry in task.submissions if entry.weight and entry.digest not in site.store]:
            for digest in gone:
                self._tell(site, Dropped(digest), life)
            return
        exclusions = [Exclusion(uid, "unreachable", why) for uid, why in task.unusable]
        poisoned = [entry for entry in task.submissions if entry.digest.startswith(POISON)]
        exclusions += [Exclusion(entry.uid, "non-finite", "") for entry in poisoned]
        left_out = {one.uid for one in exclusions}
        used = [entry for entry in task.submissions if entry.uid not in left_out]
        receipt = Receipt(
            "mean",
            tuple(Contribution(entry.uid, entry.digest, entry.weight, entry.weight) for entry in used),
            tuple(exclusions),
        )
        if len(used) < self.min_peers:
            result = ""
        elif not any(entry.weight for entry in used):
            result = task.base
        else:
            result = _name("merged", task.base, *(f"{entry.digest}*{entry.weight}" for entry in used))
            site.store.add(result)
            site.fresh.add(result)
        self._tell(site, Merged(task.round, task.term, result, 1, receipt), life)

    # --- an ML process ----------------------------------------------------------------------------------------------

    def _answer(self, site: Site, process: Process, action: Action) -> None:
        match action:
            case AnswerOpened():
                self._hand_over(site, process)
            case Deliver(digest):
                assert process.waits
                if digest in site.store:
                    self._beside(site, process, lambda: self._load(site, process, digest))
                else:
                    self._tell(site, Undelivered(digest), site.life)
            case AnswerSynced(interval, over):
                assert process.waits
                assert not process.closing
                assert interval >= 1
                process.waits = False
                process.left = 0 if over else process.left - 1
                self._beside(site, process, lambda: self._hand_over(site, process))
            case AnswerClosed():
                assert process.waits
                assert process.closing
                site.final = process.loaded
                self._end_ml(site, well=True)
            case Fail(text):
                site.failed = text
                self._end_ml(site, well=False)

    def _beside(self, site: Site, process: Process, thunk: Thunk) -> None:
        """Something that an ML process does, if it lives by then."""
        self.later(lambda: thunk() if site.process is process else None)

    def _hand_over(self, site: Site, process: Process) -> None:
        process.handed += 1
        process.closing = process.left == 0
        process.waits = True
        digest = _name(process.name, str(process.handed), process.loaded)
        digest = (POISON if site.poisoned else "") + digest
        self.made_from[digest] = process.loaded
        site.store.add(digest)
        site.fresh.add(digest)
        self._hears(site, process, ParametersHanded(digest, 1, process.closing))

    def _load(self, site: Site, process: Process, digest: str) -> None:
        process.loaded = digest
        self._hears(site, process, Evaluated(self.random.random(), None, 1, 1))

    def _end_ml(self, site: Site, well: bool) -> None:
        if site.process is not None:
            self._hears(site, site.process, MLLeft(well))
            site.process = None

    # --- what must always hold --------------------------------------------------------------------------------------

    def _check_submit(self, uid: str, body: Submit) -> None:
        self.submits.append((uid, body))
        if body.submission not in ("trained", "carried"):
            return
        if body.round:  # in round 0 everybody hands in what it has
            assert self.made_from[body.digest] == body.base, f"{uid} says it trained from another model than it did"
        before = self._handed_in.setdefault(body.digest, body.round)
        assert body.round <= before, f"{uid} hands in to round {body.round} what it handed in to round {before}"
        self._handed_in[body.digest] = body.round

    def _check_result(self, body: Publish) -> None:
        assert len(body.receipt.contributions) >= self.min_peers
        self.results.append(body)

    def _check_progress(self, before: Training, after: Training) -> None:
        was, now = before.round, after.round
        if was and now and was != now:
            opened = (now.number, now.term) == (was.number + 1, 0)
            voided = now.number == was.number - 1 and before.result is not None and after.result is None
            assert now.number == was.number or opened or voided
            assert now.number != was.number or now.term in (was.term, was.term + 1)
        for member in after.members.values():
            assert 0 <= member.contributed <= after.rounds
            assert not member.awaited or member.present

    def assert_complete(self) -> None:
        """Training is over, and all have ended well with the final model.

        Not those who are cut off, whose ML process has died for good, or came too late.
        """
        assert self.state.over, self.reasons()
        assert self.state.result is not None
        final = self.state.result.digest
        for site in self.sites.values():
            if site.cut:
                continue
            assert (site.finished, site.process) == (True, None), site.uid
            if site.failed is not None:
                assert TOO_LATE in site.failed, f"{site.uid}: {site.failed}"
            elif not site.deserted:
                assert site.final == final, site.uid

    def reasons(self) -> dict[str, str]:
        """What each waiting ML process is told."""
        found = {uid: site.machine.waiting_text for uid, site in self.sites.items() if site.machine}
        return {uid: text for uid, text in found.items() if text}


def _name(*parts: str) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()
