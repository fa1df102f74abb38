"""One SL: the real round machine, and around it what the driver, the store and the transfer do; and its ML process.

Models are names; `Swarm.made_from` knows of each what it was truly trained from. What a process does is bound to its
life: after a crash nothing of it happens any more, while it is frozen everything waits.
"""

from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from simulation.clock import Thunk
from simulation.ledger import CONTRACT, Author, Sn
from simulation.unsigned import papers
from swarmlearning.ledger.bodies import (
    CheckinMode,
    Contribution,
    Exclusion,
    Leave,
    Lost,
    OpenSession,
    Receipt,
    Register,
    TrainingBody,
)
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import SignedTransaction
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
    Hindered,
    Keep,
    Merge,
    Merged,
    MLLeft,
    ParametersHanded,
    Refused,
    Send,
    SessionAsked,
    Verify,
    Wake,
    Woke,
)
from swarmlearning.rounds.machine import RoundMachine
from swarmlearning.rounds.settings import FIRST_PAUSE, LONGEST_PAUSE, RoundSettings
from swarmlearning.sl.node import LEAVE_SECONDS

if TYPE_CHECKING:
    from simulation.swarm import Swarm

STRUCTURE = "5" * 64
BEAT_SECONDS = 0.8
ANSWER_SECONDS = 40.0
SILENCE_SECONDS = 6.0
CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Plan:
    """How a site trains. `rounds` hand-overs with `train` seconds between, then the closing one; `work` seconds a
    merge, `transfer` seconds a model."""

    rounds: int
    train: float
    work: float
    transfer: float
    checkin: CheckinMode
    adaptive: bool
    weightage: int
    settings: RoundSettings
    joins: float


@dataclass
class Process:
    """An ML process. `loaded` is the model it trains from, empty at first; `waits` while it has handed one over."""

    name: str
    left: int
    loaded: str = ""
    handed: int = 0
    waits: bool = False
    closing: bool = False
    hung: bool = False
    parked: list[Thunk] = field(default_factory=list)


@dataclass
class Offer:
    """A transaction on its way to the ledger; `tries` counts how often it was sent."""

    entry: SignedTransaction
    body: TrainingBody | Lost | Register | Leave
    tries: int = 0
    pause: float = FIRST_PAUSE
    height: int | None = None


class Site:
    """An SL by its UID, and its ML process."""

    def __init__(self, swarm: "Swarm", uid: str, plan: Plan, sn: int) -> None:
        self.swarm, self.uid, self.plan = swarm, uid, plan
        self.store: set[str] = set()
        self.corrupt: set[str] = set()
        self.life = 0
        self.alive = self.frozen = self.stuck = self.full = self.jammed = self.poisoned = False
        self.finished = self.dead = self.deserted = False
        self.failed: str | None = None
        self.final = ""
        self.process: Process | None = None
        self.machine: RoundMachine | None = None
        self.height = -1
        self._sn = sn
        self._born = 0
        self._parked: list[Thunk] = []
        self._stalled: list[Thunk] = []

    # --- its processes ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """The SL starts, finds an SN, registers, and starts its ML process."""
        self.life += 1
        self.alive, self.frozen = True, False
        self.machine, self.process, self.height = None, None, -1
        self._author = Author(self.swarm.log, "SL", self.uid, self.life)
        self._offers: dict[str, Offer] = {}
        self._fresh: set[str] = set()
        self._keep: set[str] | None = None
        self._said: deque[tuple[Process, Event]] = deque()
        self._speaker: Process | None = None
        self._seeing = self._registered = self._searching = self._ready = False
        self._parked, self._stalled = [], []
        self._busy = self._moved = 0
        self.swarm.note(self.uid, f"starts, incarnation {self.life}")
        self.look_for_sn()

    def crash(self) -> None:
        """SL and ML process are gone; the store is as it was."""
        self.alive = False
        self.process = None
        self.swarm.note(self.uid, "crashes")

    def freeze(self) -> None:
        self.frozen = True
        self.swarm.note(self.uid, "is frozen")

    def thaw(self) -> None:
        if self.frozen:
            self.frozen = False
            self.swarm.note(self.uid, "goes on")
            for thunk in self._parked:
                self.swarm.clock.after(0.0, thunk)
            self._parked = []
            self.look_for_sn()

    def unstick(self) -> None:
        """Its disk works again."""
        self.stuck = False
        for thunk in self._stalled:
            self.at(self.swarm.dice.random(), thunk)
        self._stalled = []

    def start_ml(self) -> None:
        if self.process is not None or not self.alive or not self._ready:
            return
        self._born += 1
        self.deserted, self.failed = False, None
        self.process = Process(f"{self.uid}.{self.life}.{self._born}", self.plan.rounds)
        session = OpenSession(
            merge_method="mean",
            min_peers=self.swarm.min_peers,
            structure=STRUCTURE,
            weightage=self.plan.weightage,
            sync_frequency=8,
            checkin=self.plan.checkin,
            epochs=1,
            adaptive=self.plan.adaptive,
            may_lead=self.plan.settings.make_me_admin,
            initial=self.plan.settings.initial,
        )
        self._hears(self.process, SessionAsked(session))

    def lose_ml(self) -> None:
        if self.process is not None:
            self.swarm.note(self.uid, "loses its ML process")
            self._end_ml(well=False)

    def hang_ml(self, hung: bool) -> None:
        """The ML process stands still, or goes on."""
        if self.process is not None:
            self.process.hung = hung
            if not hung:
                for thunk in self.process.parked:
                    self.swarm.clock.after(0.0, thunk)
                self.process.parked = []

    def at(self, seconds: float, thunk: Thunk) -> None:
        """Later, if this process still lives; after it was frozen, when it goes on."""
        life = self.life

        def due() -> None:
            if not self.alive or self.life != life:
                return
            if self.frozen:
                self._parked.append(due)
            else:
                thunk()

        self.swarm.clock.after(seconds, due)

    def job(self, seconds: float, thunk: Thunk) -> None:
        """Work with disk or network that can be seen to move."""
        self._busy += 1

        def done() -> None:
            if self.stuck:
                self._stalled.append(done)
            else:
                self._busy -= 1
                thunk()

        self.at(seconds, done)

    @property
    def moved(self) -> int:
        if self._busy and not self.stuck:
            self._moved = int(self.swarm.clock.now * 1000) + 1
        return self._moved

    # --- the ledger -------------------------------------------------------------------------------------------------

    @property
    def sn(self) -> Sn:
        return self.swarm.sns[self._sn % len(self.swarm.sns)]

    def look_for_sn(self) -> None:
        """Follows the SN in use as long as it can be heard, else turns to the next."""
        if not self._searching:
            self._searching = True
            self._search(FIRST_PAUSE)

    def _search(self, pause: float) -> None:
        if self.swarm.reach(self.uid, self.sn.name) and self.sn.works:
            self._searching = False
            self.see()
            return
        self._sn += 1
        for offer in list(self._offers.values()):
            if offer.height is None:
                self._offer(offer)
        self.at(pause, lambda: self._search(min(2 * pause, LONGEST_PAUSE)))

    def see(self) -> None:
        """The SN in use has a new block; what comes in quick succession is seen at once."""
        if not self._seeing:
            self._seeing = True
            self.at(self.swarm.delay(), self._seen)

    def _seen(self) -> None:
        self._seeing = False
        if not (self.swarm.reach(self.uid, self.sn.name) and self.sn.works) or self.sn.height <= self.height:
            return
        self.height = self.sn.height
        if not self._registered:
            self._registered = True
            self.send(Register("SL", self.uid, papers().sl, "0"))
        self._advanced()
        for offer in [one for one in self._offers.values() if one.height is not None and one.height <= self.height]:
            self._settled(offer)

    def _advanced(self) -> None:
        if self.machine is not None:
            training = self.swarm.log.training(self.height)
            leader = training.round.leader if training.round else ""
            world = self.swarm.log.chains[self.height].world
            self.tell(ChainAdvanced(training, self.height, network.last_height(world, leader)))

    def send(self, body: TrainingBody | Lost | Register | Leave) -> None:
        contract = network.CONTRACT if isinstance(body, Lost | Register | Leave) else CONTRACT
        entry = self._author.write(self.swarm.log.chains[self.height], contract, body)
        self._offers[entry.id] = offer = Offer(entry, body)
        self._offer(offer)

    def _offer(self, offer: Offer) -> None:
        """The same bytes, to the SN in use; without an answer they are offered again."""
        offer.tries += 1
        tries, sn = offer.tries, self.sn

        def arrive() -> None:
            if not sn.up:
                self.at(0.05, lambda: self._unanswered(offer, tries))
            elif self.swarm.reach(self.uid, sn.name):
                sn.at(0.0, lambda: sn.take(offer.entry, answer))

        def answer(found: int | Rejection | None, judged_on: int) -> None:
            if self.swarm.reach(self.uid, sn.name) and not self.swarm.loses():
                self.at(self.swarm.delay(), lambda: self._answered(offer, tries, found, judged_on))

        for _ in range(1 + self.swarm.doubles()):
            if not self.swarm.loses():
                self.at(self.swarm.delay(), arrive)
        self.at(ANSWER_SECONDS, lambda: self._unanswered(offer, tries))

    def _unanswered(self, offer: Offer, tries: int) -> None:
        if offer.entry.id in self._offers and offer.height is None and offer.tries == tries:
            offer.tries += 1  # whatever is still on its way is too late
            offer.pause, pause = min(2 * offer.pause, LONGEST_PAUSE), offer.pause
            self.at(pause, lambda: self._offer(offer) if offer.entry.id in self._offers else None)

    def _answered(self, offer: Offer, tries: int, found: int | Rejection | None, judged_on: int) -> None:
        if offer.entry.id not in self._offers or offer.height is not None:
            return
        if found is None:
            self._unanswered(offer, tries)
        elif isinstance(found, Rejection):
            del self._offers[offer.entry.id]
            self.swarm.check_refusal(self, offer.body, found)
            if not isinstance(offer.body, Register | Leave):
                self.tell(Refused(offer.body, found.code, found.detail, judged_on))
        else:
            self.swarm.acknowledged(offer.entry, found)
            offer.height = found
            if found <= self.height:
                self._settled(offer)

    def _settled(self, offer: Offer) -> None:
        assert offer.height is not None
        del self._offers[offer.entry.id]
        if isinstance(offer.body, Register):
            self._ready = True
            self._beat()
            self.start_ml()
        elif isinstance(offer.body, Leave):
            self.alive = False
        else:
            self.tell(Accepted(offer.body, offer.height))

    def _beat(self) -> None:
        for sn in [self.sn, *self.swarm.sns]:
            if self.swarm.reach(self.uid, sn.name) and sn.orders:
                self.swarm.presence.renew(self.uid, self.life)
                break
        self.at(BEAT_SECONDS, self._beat)

    # --- the machine ------------------------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """An event, and what the machine makes of it."""
        if self.machine is None:
            return
        for action in self.machine.handle(event):
            self._perform(action)
        match event:
            case ParametersHanded(digest=digest) | Merged(result=digest) | Carried(result=digest):
                self._fresh.discard(digest)

    def _perform(self, action: Action) -> None:
        match action:
            case Send(body):
                self.send(body)
            case Fetch():
                self._fetch(action, list(action.holders))
            case Merge():
                self.swarm.moment("merging", self)
                self.job(self.plan.work, lambda: self._merge(action))
            case Carry():
                self.job(self.plan.work, lambda: self._carry(action))
            case Verify(digest):
                self.job(self.plan.work, lambda: self._verify(digest))
            case Wake(timer, seconds):
                self.at(seconds, lambda: self.tell(Woke(timer, self.moved)))
            case Keep(digests):
                self._keep = set(digests)
                self.store &= self._keep | self._fresh
            case Finish():
                self._finish()
            case _ if self.process is not None and self.process is self._speaker:
                self._answer(self.process, action)

    def _finish(self) -> None:
        self.swarm.check_finish(self)
        self.finished = True
        self.swarm.note(self.uid, "has finished")
        self.send(Leave())
        life = self.life
        self.at(LEAVE_SECONDS, lambda: self._stop(life))

    def _stop(self, life: int) -> None:
        if self.life == life:
            self.alive = False

    def _fetch(self, action: Fetch, holders: list[str]) -> None:
        if not holders:
            self.tell(FetchFailed(action.digest, "nobody could give it"))
            return
        holder, rest = self.swarm.sites[holders[0]], holders[1:]
        if not holder.alive:
            self.at(0.02, lambda: self._fetch(action, rest))
        elif holder.frozen or not self.swarm.reach(self.uid, holder.uid) or self.swarm.loses():
            self.at(CONNECT_SECONDS, lambda: self._fetch(action, rest))
        elif action.digest not in holder.store:
            holder.at(0.0, lambda: holder.tell(Dropped(action.digest)))
            self.at(0.02, lambda: self._fetch(action, rest))
        else:
            self.job(holder.plan.transfer + self.plan.transfer, lambda: self._fetched(action, holder, rest))

    def _fetched(self, action: Fetch, holder: "Site", rest: list[str]) -> None:
        if self.full:
            self.tell(Hindered(action.digest))
        elif (
            not holder.alive
            or holder.frozen
            or not self.swarm.reach(self.uid, holder.uid)
            or action.digest not in holder.store
            or action.digest in holder.corrupt
        ):
            self._fetch(action, rest)
        else:
            self._put(action.digest)
            self._fresh.discard(action.digest)
            self.tell(Fetched(action.digest))

    def _put(self, digest: str) -> None:
        """Adopted: protected from tidying until the machine knows of it."""
        self.store.add(digest)
        self.corrupt.discard(digest)
        self._fresh.add(digest)

    def _verify(self, digest: str) -> None:
        if digest in self.corrupt:
            self.corrupt.discard(digest)
            self.store.discard(digest)
            self.tell(Dropped(digest))

    def _carry(self, task: Carry) -> None:
        whole = {task.digest, task.base, task.onto} <= self.store
        if self.full or not whole:
            self.tell(Carried(task.digest, task.onto, "", 0))
            return
        self.swarm.check_carry(self, task)
        result = _name("carried", task.digest, task.base, task.onto)
        self.swarm.made_from[result] = task.onto
        self.swarm.handed[result] = self.swarm.handed[task.digest]
        if task.digest in self.swarm.witness.poisoned:
            self.swarm.witness.poisoned.add(result)
        self._put(result)
        self.tell(Carried(task.digest, task.onto, result, 1))

    def _merge(self, task: Merge) -> None:
        if gone := [entry.digest for entry in task.submissions if entry.weight and entry.digest not in self.store]:
            for digest in gone:
                self.tell(Dropped(digest))
            return
        if self.full:
            self.swarm.note(self.uid, "cannot merge: its disk is full")
            self.tell(Hindered(""))
            return
        known = [Exclusion(uid, "unreachable", why) for uid, why in task.unusable]
        poisoned = self.swarm.witness.poisoned
        known += [
            Exclusion(one.uid, "non-finite", "") for one in task.submissions if one.digest in poisoned and one.weight
        ]
        used = [one for one in task.submissions if one.digest not in poisoned or not one.weight]
        chosen = min((one.uid for one in used if one.weight), default="")
        coefficients = {one.uid: int(one.uid == chosen) if task.single else one.weight for one in used}
        parts = tuple(Contribution(one.uid, one.digest, one.weight, coefficients[one.uid]) for one in used)
        if len(parts) < self.swarm.min_peers:
            result = ""
        elif not chosen:
            result = task.base
        elif task.single:
            result = next(one.digest for one in used if one.uid == chosen)
        else:
            result = _name("merged", task.base, *(f"{one.digest}*{one.weight}" for one in used))
        if result and result != task.base:
            self._put(result)
        self.swarm.moment("publishing", self)
        self.tell(Merged(task.round, task.term, result, 1, Receipt("mean", parts, tuple(known))))

    # --- its ML process ---------------------------------------------------------------------------------------------

    def _hears(self, process: Process, event: Event) -> None:
        """What an ML process says stays in order."""
        self._said.append((process, event))
        self.at(0.001, self._listen)

    def _listen(self) -> None:
        self._speaker, event = self._said.popleft()
        if isinstance(event, SessionAsked):
            if self.machine is None:
                training = self.swarm.log.training(self.height)
                self.machine = RoundMachine(self.uid, self.life, training, self.plan.settings, self.store)
            self.tell(event)
            self._advanced()
        else:
            self.tell(event)

    def _beside(self, process: Process, seconds: float, thunk: Thunk) -> None:
        """Something that an ML process does, if it lives by then."""

        def due() -> None:
            if self.process is not process:
                return
            if process.hung:
                process.parked.append(due)
            else:
                thunk()

        self.swarm.clock.after(seconds, due)

    def _answer(self, process: Process, action: Action) -> None:
        match action:
            case AnswerOpened():
                self._beside(process, 0.1, lambda: self._hand_over(process))
            case Deliver(digest):
                assert process.waits, f"{self.uid} delivers to an ML process that does not wait"
                if digest in self.store:
                    self._beside(process, 0.2, lambda: self._load(process, digest))
                else:
                    self.tell(Dropped(digest))
            case AnswerSynced(interval, over):
                assert process.waits, f"{self.uid} answers an ML process that does not wait"
                assert interval >= 1
                process.waits = False
                process.left -= 1
                if over:
                    self.final = process.loaded
                    self._beside(process, 0.5, lambda: self._end_ml(well=True))
                else:
                    seconds = self.plan.train * interval / 8 if process.left else 0.1
                    self._beside(process, seconds, lambda: self._hand_over(process))
            case AnswerClosed():
                assert process.waits
                assert process.closing
                self.final = process.loaded
                self._end_ml(well=True)
            case Fail(text):
                self.failed = text
                self.swarm.check_failure(self, text)
                self._end_ml(well=False)

    def _hand_over(self, process: Process) -> None:
        if not self.alive:
            return
        process.handed += 1
        process.closing = process.left <= 0
        process.waits = True
        digest = _name(process.name, str(process.handed), process.loaded)
        self.swarm.made_from[digest] = process.loaded
        self.swarm.handed[digest] = digest
        if self.poisoned:
            self.swarm.witness.poisoned.add(digest)
        self._put(digest)
        self._hears(process, ParametersHanded(digest, 1, process.closing))

    def _load(self, process: Process, digest: str) -> None:
        process.loaded = digest
        self._hears(process, Evaluated(self.swarm.dice.random(), None, 1, 1))

    def _end_ml(self, well: bool) -> None:
        if self.process is not None:
            self._hears(self.process, MLLeft(well))
            self.process = None


def _name(*parts: str) -> str:
    return sha256(" ".join(parts).encode()).hexdigest()
