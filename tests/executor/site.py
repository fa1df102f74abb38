"""A simulated site: its SWOP's executor, which may be killed at any moment, its disk, and its resource manager."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from executor.ledger import Ledger
from support.uids import uid
from swarmlearning.swop.deciding import Executor
from swarmlearning.swop.facts import (
    ApprovalsChanged,
    Begin,
    Cancel,
    Cancelled,
    Clean,
    Done,
    Event,
    Failure,
    Judge,
    Listen,
    Make,
    Memory,
    Pause,
    Remember,
    Send,
    Start,
    Stop,
    Verdict,
    Wait,
    Watch,
    Work,
)
from swarmlearning.swop.managing import PairState

LEASE = 3.0
Later = Callable[[float, Callable[[], None]], None]
"""Does something after so many seconds."""


@dataclass
class Started:
    """The processes of a pair: their exit codes, None while they run."""

    sl: int | None = None
    ml: int | None = None

    @property
    def state(self) -> PairState:
        return PairState(self.sl, self.ml)

    @property
    def runs(self) -> bool:
        return self.sl is None or self.ml is None


@dataclass
class Manager:
    """What lies at the site whoever lives; it forgets a pair that was stopped, as if its containers were removed."""

    pairs: dict[tuple[str, int], Started] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    started: set[tuple[str, int]] = field(default_factory=set)

    def start(self, key: str, index: int) -> bool:
        """Starts a pair; False where it was started before."""
        self.left.add(key)
        if (key, index) in self.pairs:
            return False
        assert (key, index) not in self.started, "a pair was started twice"
        self.started.add((key, index))
        self.pairs[key, index] = Started()
        return True

    def clean(self, key: str) -> None:
        """Removes all of an attempt."""
        self.left.discard(key)
        self.pairs = {each: pair for each, pair in self.pairs.items() if each[0] != key}


class Site:
    """`faults`: how likely each step fails; `asks`: tasks wait for `answers`, by digest; `limit`: their seconds."""

    def __init__(
        self, name: str, pairs: int, ledger: Ledger, chance: random.Random, later: Later, faults: float
    ) -> None:
        self.uid = uid(name)
        self.pairs = pairs
        self.faults = faults
        self.manager = Manager()
        self.disk: Memory | None = None
        self.limit: float | None = None
        self.asks = chance.random() < 0.3
        self.answers: dict[str, bool] = {}
        self.counts: dict[str, int] = {}
        self._ledger, self._chance, self._later = ledger, chance, later
        self._executor: Executor | None = None
        self._life = 0
        self._running: dict[Work, str] = {}  # begun, or done
        self.now: Callable[[], float] = lambda: 0.0

    # --- lives --------------------------------------------------------------------------------------------------------

    @property
    def lives(self) -> bool:
        return self._executor is not None

    def begin(self) -> None:
        """The SWOP starts, as after any crash: it registers, then sees the ledger as it is."""
        self._life += 1
        self._running = {}
        self._executor = Executor(
            range(self.pairs),
            self.disk,
            set(self.manager.left),
            lambda: uid(f"{self._chance.random()}"),
            end_hung=False,
        )
        self._ledger.attend(self.uid, present=True)
        self.look()

    def crash(self) -> None:
        """SIGKILL; sometimes the disk loses the journal."""
        if not self.lives:
            return
        self._count("crash")
        self._executor = None
        for work, state in self._running.items():
            if (
                state == "begun"
                and isinstance(work, Start | Make | Stop | Clean | Send)
                and self._chance.random() < 0.5
            ):
                self._effect(work)
        life = self._life
        if self._chance.random() < 0.05:
            self._count("journal lost")
            self.disk = None
        self._later(LEASE, lambda: self._ledger.attend(self.uid, present=False) if not self.lives else None)
        self._later(self._chance.uniform(0.1, 2 * LEASE), lambda: self.begin() if self._life == life else None)

    def look(self) -> None:
        """The SWOP is shown the ledger; sometimes twice."""
        for _ in range(1 + (self._chance.random() < 0.1)):
            self._tell(self._ledger.shown(self.uid, self.pairs))

    def answer(self, digest: str, *, approved: bool) -> None:
        """The site's operator answers."""
        self.answers[digest] = approved
        self._tell(ApprovalsChanged())

    def check(self) -> None:
        """What must hold at any time: what runs is of one attempt."""
        running = {key for (key, _), pair in self.manager.pairs.items() if pair.runs}
        assert len(running) <= 1, f"pairs of {len(running)} attempts run at once"
        if self.disk is not None and self.disk.outcome is not None:
            assert self.disk.attempt.key not in running, "an attempt is over, and a pair of it runs"

    def _tell(self, event: Event) -> None:
        if self._executor is None:
            return
        life = self._life
        for action in self._executor.handle(event, self.now()):
            if self._chance.random() < self.faults:
                self.crash()
            if self._life != life or not self.lives:
                return
            match action:
                case Remember(memory):
                    self.disk = memory
                case Begin(work):
                    assert work not in self._running, f"{work} was begun twice"
                    self._running[work] = "begun"
                    self._do(work, life)
                case Cancel(work):
                    self._cancel(work, life)

    def _cancel(self, work: Work, life: int) -> None:
        """It ends some time later; until then its effect may still come."""
        too_late = self._chance.random() < 0.5

        def end() -> None:
            if life == self._life and self.lives and self._running.get(work) == "begun" and too_late:
                self._effect(work)
            self._end(work, Cancelled(), life)

        self._later(self._chance.uniform(0, 0.3), end)

    def _end(self, work: Work, result: object, life: int) -> None:
        """The work has ended, unless it had ended already or its SWOP was killed."""
        if life == self._life and self.lives and self._running.pop(work, ""):
            self._tell(Done(work, result))  # type: ignore[arg-type]

    # --- work ---------------------------------------------------------------------------------------------------------

    def _do(self, work: Work, life: int) -> None:
        """Its effect comes at some moment, and the news of it later."""
        match work:
            case Watch():
                self._watch(work, life)
                return
            case Wait():
                self._later(max(0.0, work.until - self.now()) + 1e-6, lambda: self._waited(work, life))
                return
            case Pause():
                self._later(work.seconds, lambda: self._end(work, None, life))
                return

        def happen() -> None:
            if life == self._life and self.lives and self._running.get(work) == "begun":
                self._running[work] = "done"
                result = self._effect(work)
                self._later(self._chance.uniform(0, 0.2), lambda: self._end(work, result, life))

        self._later(self._chance.uniform(0, 0.5), happen)

    def _effect(self, work: Work) -> object:
        fails = self._chance.random() < self.faults
        match work:
            case Listen():
                return not fails and self._ledger.listen(self.uid, self.pairs)
            case Judge(attempt, _):
                return Failure("site") if fails else self._verdict(attempt.digest)
            case Send(_, report):
                if fails:
                    self._count("report lost")
                    return False
                return self._ledger.report(self.uid, report)
            case Make(attempt):
                self.manager.left.add(attempt.key)
                return Failure("build") if self._chance.random() < 0.2 else None
            case Start(attempt, index, sl_uid):
                if fails:
                    return Failure("no-start")
                if self.manager.start(attempt.key, index):
                    self._live(self.manager.pairs[attempt.key, index], sl_uid)
                return None
            case Watch() | Wait() | Pause():
                return None
            case Stop(attempt, index):
                if fails:
                    return Failure("site")
                self.manager.pairs.pop((attempt.key, index), None)
                return None
            case Clean(key):
                if fails:
                    return Failure("site")
                self.manager.clean(key)
                return None
        raise AssertionError(work)

    def _verdict(self, digest: str) -> Verdict:
        if self.asks and digest not in self.answers:
            return Verdict("wait", digest)
        if self.asks and not self.answers[digest]:
            return Verdict("reject", digest)
        return Verdict("run", digest, self.limit)

    def _watch(self, work: Watch, life: int) -> None:
        """Looks until the pair is another; as if the manager had told."""
        if life != self._life or not self.lives or self._running.get(work) != "begun":
            return
        pair = self.manager.pairs.get((work.attempt.key, work.index))
        if pair is None or pair.state != work.known:
            self._end(work, pair.state if pair else Failure("site"), life)
            return
        self._later(0.2, lambda: self._watch(work, life))

    def _waited(self, work: Wait, life: int) -> None:
        """It has the ledger as it is when the time is over."""
        if life == self._life and self._running.get(work) == "begun":
            self.look()
            self._end(work, None, life)

    # --- processes ----------------------------------------------------------------------------------------------------

    def _live(self, pair: Started, sl_uid: str) -> None:
        """What becomes of a pair, whether or not the SWOP lives."""

        def ml_ends(code: int) -> None:
            pair.ml = code
            self._ledger.sessions[sl_uid] = code == 0

        story, seconds = self._chance.random(), self._chance.uniform(0.1, 8.0)
        self._later(self._chance.uniform(0.1, 2.0), lambda: self._ledger.register(sl_uid))
        if story < 0.6:  # it trains, and its SL ends some time later than it
            self._later(seconds, lambda: ml_ends(0))
            self._later(seconds + self._chance.uniform(0, 6), lambda: setattr(pair, "sl", 0))
            self._ledger.sessions[sl_uid] = False
        elif story < 0.7:
            self._later(seconds, lambda: ml_ends(1))
        elif story < 0.8:
            self._later(seconds, lambda: setattr(pair, "sl", 137))
        elif story < 0.9:  # a script without a callback
            self._later(seconds, lambda: setattr(pair, "ml", 0))
        else:
            self._count("pair hangs")

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
