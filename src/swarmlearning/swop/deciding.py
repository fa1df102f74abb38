"""The executor of one SWOP: which part of its taskrunner's task it carries out, and how far that is. Pure.

Theory of operation
-------------------
Facts come in (the ledger's taskrunner, verdicts of the site's policy, how pairs are, how works have ended), and work
comes out. It is level-triggered: each event updates the facts, then `_wanted` states from scratch all work that is
wanted *now*; what runs already goes on, what is wanted no more is cancelled. So a restart, a ledger that skips states
and an event that comes twice need no cases of their own. One attempt at one task is carried out at a time:

    assigned ─▶ judged by the site's policy ─▶ enrolled on the ledger ─▶ carried out ─▶ reported
                   └▶ waits for an approval

What must not be forgotten (`Memory`) is durable before anything follows from it: that the site allows the task, before
it enrolls; the UID of each SL, before it starts; how a pair has ended, before it is stopped. So after a SIGKILL nothing
is started twice. Whatever other attempts have left is removed first, those of a former life that nobody remembers
included. `pairs.py` decides about the pairs of a RUN_SWARM.
"""

from collections.abc import Callable, Collection, Iterator

import msgspec

from swarmlearning.ledger.bodies import Pair, Reason, Reported, ReportPeer
from swarmlearning.ledger.contracts.taskrunner import Peer
from swarmlearning.swop.facts import (
    Action,
    ApprovalsChanged,
    Assigned,
    Begin,
    Cancel,
    Cancelled,
    Clean,
    Done,
    Event,
    Failure,
    Judge,
    LedgerAdvanced,
    Listen,
    Make,
    Memory,
    PairMemory,
    Pause,
    Remember,
    Send,
    Stalled,
    Start,
    Stop,
    Verdict,
    Wait,
    Watch,
    Work,
)
from swarmlearning.swop.managing import Attempt
from swarmlearning.swop.pairs import Pairs

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0
"""Seconds before a work that has failed is tried again; they double."""

_IN_PROGRESS = (Make, Start, Watch, Stop)
"""Works on what an attempt has started: nothing is removed while one of them runs."""


class Executor:
    """`handle` is its only door."""

    def __init__(
        self,
        indices: Collection[int],
        memory: Memory | None,
        found: Collection[str],
        new_uid: Callable[[], str],
        *,
        end_hung: bool = False,
    ) -> None:
        """`indices`: the profile's nodes; `memory`, and the keys of the attempts `found`: what a former life has left;
        `new_uid` makes the UID of an SL; `end_hung`: the profile ends ML processes that make no progress."""
        self._pairs = Pairs(indices, new_uid, end_hung=end_hung)
        self._memory = memory
        self._left = {*found, *([memory.attempt.key] if memory else [])}
        self._ledger: LedgerAdvanced | None = None
        self._verdict: tuple[Judge, Verdict] | None = None
        self._turn = 0
        self._running: dict[Work, bool] = {}  # whether it has been cancelled
        self._pauses: dict[Work, tuple[float, bool]] = {}  # seconds, and whether they are to be waited for
        self._out: list[Action] = []

    def handle(self, event: Event, now: float) -> list[Action]:
        """Notes the event and returns what is to be done, in this order; `now` is Unix time in seconds."""
        self._note(event, now)
        wanted = dict.fromkeys(self._unless_pausing(self._wanted(now)))
        for work, cancelled in self._running.items():
            if work not in wanted and not cancelled:
                self._running[work] = True
                self._out.append(Cancel(work))
        for work in wanted:
            if work not in self._running:
                self._running[work] = False
                self._out.append(Begin(work))
        out, self._out = self._out, []
        return out

    @property
    def busy(self) -> bool:
        """True while a part of a task is carried out, or the ledger does not show yet how it has ended."""
        assigned = self._ledger.assigned if self._ledger else None
        if self._memory is None:
            return False
        return assigned is None or assigned.attempt != self._memory.attempt or not _is_over(assigned.mine)

    @property
    def at_work(self) -> tuple[Attempt, tuple[PairMemory, ...]] | None:
        """The attempt that is carried out, and those of its pairs that have not ended; None while there is none."""
        if self._memory is None or self._memory.outcome is not None:
            return None
        return self._memory.attempt, tuple(pair for pair in self._memory.pairs if pair.outcome is None)

    # --- facts ------------------------------------------------------------------------------------------------------

    def _note(self, event: Event, now: float) -> None:
        match event:
            case LedgerAdvanced():
                self._ledger = event
            case ApprovalsChanged():
                self._turn += 1
            case Stalled(attempt, index, hangs):
                if self._memory is not None and attempt == self._memory.attempt:
                    self._pairs.stalled(index, hangs)
            case Done(work, result):
                del self._running[work]
                self._note_end(work, result, now)

    def _note_end(self, work: Work, result: object, now: float) -> None:
        if isinstance(result, Cancelled):
            return
        failed = isinstance(result, Failure) or result is False
        match work:
            case Pause(before, seconds):
                self._pauses[before] = (seconds, False)
            case Judge() if isinstance(result, Verdict):
                self._verdict = (work, result)
            case Make(attempt) if self._memory is not None and self._memory.attempt == attempt:
                self._settle(result.reason if isinstance(result, Failure) else None)
            case Start() | Watch() | Stop() | Wait() if (
                self._memory is not None and self._memory.attempt == work.attempt
            ):
                if remembered := self._pairs.note(self._memory, work, result, now):
                    self._remember(remembered)
            case Clean(key) if not failed:
                self._left.discard(key)
                if self._memory is not None and self._memory.attempt.key == key:
                    self._remember(None)
        if isinstance(work, Listen | Judge | Send | Watch | Stop | Clean):
            self._pause(work, failed)

    def _pause(self, work: Work, failed: bool) -> None:
        if failed:
            seconds, _ = self._pauses.get(work, (FIRST_PAUSE / 2, False))
            self._pauses[work] = (min(2 * seconds, LONGEST_PAUSE), True)
        else:
            self._pauses.pop(work, None)

    def _unless_pausing(self, wanted: Iterator[Work]) -> Iterator[Work]:
        works = list(wanted)
        self._pauses = {work: pause for work, pause in self._pauses.items() if work in works}
        for work in works:
            seconds, waits = self._pauses.get(work, (0.0, False))
            if waits and isinstance(work, Listen | Judge | Send | Watch | Stop | Clean):
                yield Pause(work, seconds)
            else:
                yield work

    # --- decisions --------------------------------------------------------------------------------------------------

    def _wanted(self, now: float) -> Iterator[Work]:
        if self._ledger is None:
            return
        if self._ledger.listening is False:
            yield Listen()
        assigned = self._ledger.assigned
        if stale := self._stale(assigned):
            if not any(isinstance(work, _IN_PROGRESS) for work in self._running):
                yield from map(Clean, stale)
            return
        if assigned is None:
            return
        if self._memory is None:
            yield from self._before(assigned, now)
        if self._memory is not None:
            yield from self._carried_out(assigned, self._memory, now)

    def _stale(self, assigned: Assigned | None) -> list[str]:
        """The keys of attempts whose leftovers go now: of all but the one that is assigned, and of that one, too, if
        nobody remembers it although it is not over."""
        kept = set[str]()
        if assigned is not None and (self._memory is not None or _is_over(assigned.mine)):
            kept.add(assigned.attempt.key)
        return sorted(self._left - kept)

    def _before(self, assigned: Assigned, now: float) -> Iterator[Work]:
        """What is to be done before the task is begun; remembers that it is allowed when it is."""
        mine, attempt = assigned.mine, assigned.attempt
        if assigned.aborted or _is_over(mine):
            return
        if mine.slot:  # it was begun, and the memory of it is lost
            self._begin(Memory(attempt, assigned.type, outcome="failed", reason="site"))
            return
        if not (assigned.open or mine.invited):
            return
        judge = Judge(attempt, self._turn)
        if self._verdict is None or self._verdict[0] != judge:
            yield judge
            if self._verdict is None or self._verdict[0].attempt != attempt:
                return
        verdict = self._verdict[1]
        if verdict.says == "wait":
            yield from self._report(assigned, "awaiting-approval", verdict.digest)
        elif verdict.says == "reject":
            yield from self._report(assigned, "failed", verdict.digest, verdict.reason)
        elif self._verdict[0] == judge:
            deadline = None if verdict.seconds is None else now + verdict.seconds
            pairs = self._pairs.new() if assigned.type == "RUN_SWARM" else ()
            self._begin(Memory(attempt, assigned.type, verdict.digest, deadline, pairs))

    def _carried_out(self, assigned: Assigned, memory: Memory, now: float) -> Iterator[Work]:
        """What is to be done once the site has allowed the task."""
        mine = assigned.mine
        if not mine.slot and memory.outcome is None:
            if assigned.aborted or not (assigned.open or mine.invited):  # others were faster
                self._remember(None)
                return
            yield from self._report(assigned, "enrolled", memory.approval)
            return
        if memory.outcome is None:
            memory = self._in_time(assigned, memory, now)
            memory = self._pairs.settled(memory, assigned, self._sessions)
            if memory != self._memory:
                self._remember(memory)
        if memory.outcome is None:
            if memory.deadline is not None and now < memory.deadline:
                yield Wait("limit", memory.attempt, -1, memory.deadline)
            if memory.type != "RUN_SWARM":
                yield Make(memory.attempt)
        starting = {work.index for work in self._running if isinstance(work, Start)}
        for work in self._pairs.wanted(memory, self._sessions):
            if not (isinstance(work, Stop) and work.index in starting):  # what is being started cannot be stopped yet
                yield work
        reports = self._pairs.reports(memory, self._ledger.registered if self._ledger else frozenset())
        state = memory.outcome or "running"
        yield from self._report(assigned, state, memory.approval, memory.reason, memory.exit_code, reports)

    def _in_time(self, assigned: Assigned, memory: Memory, now: float) -> Memory:
        """The memory, with what is not over ended where an operator has aborted the task or its time is over."""
        reason: Reason | None = None
        if assigned.aborted or _is_over(assigned.mine):  # or, for the ledger, its part is
            reason = "aborted"
        elif memory.deadline is not None and now >= memory.deadline:
            reason = "limit"
        if reason is None:
            return memory
        if memory.type == "RUN_SWARM":
            return self._pairs.ended(memory, reason)
        return msgspec.structs.replace(memory, outcome="failed", reason=reason)

    @property
    def _sessions(self) -> dict[str, bool]:
        return self._ledger.sessions if self._ledger else {}

    def _begin(self, memory: Memory) -> None:
        self._pairs.forget()
        self._left.add(memory.attempt.key)
        self._remember(memory)

    def _settle(self, reason: Reason | None) -> None:
        """Notes how a task that is no RUN_SWARM has ended, unless that was decided before."""
        if self._memory is not None and self._memory.outcome is None:
            outcome = {"outcome": "failed", "reason": reason} if reason else {"outcome": "complete"}
            self._remember(msgspec.structs.replace(self._memory, **outcome))

    def _remember_changed(self, memory: Memory | None) -> None:
        if memory is not None:
            self._remember(memory)

    def _remember(self, memory: Memory | None) -> None:
        self._memory = memory
        self._out.append(Remember(memory))

    def _report(
        self,
        assigned: Assigned,
        state: Reported,
        digest: str | None,
        reason: Reason | None = None,
        exit_code: int | None = None,
        pairs: tuple[Pair, ...] = (),
    ) -> Iterator[Work]:
        """The report, unless the ledger has it already, or has closed this part."""
        serial, attempt = assigned.attempt.serial, assigned.attempt.attempt
        report = ReportPeer(serial, attempt, state, digest, reason, exit_code, pairs)
        if not _has(assigned.mine, report) and not _is_over(assigned.mine):
            yield Send(assigned.attempt, report)


def _is_over(mine: Peer) -> bool:
    return mine.state in ("complete", "failed")


def _has(mine: Peer, report: ReportPeer) -> bool:
    """True if the ledger shows of this SWOP what it is to report; a digest that was reported once stays."""
    shown = (mine.state, mine.digest, mine.reason, mine.exit_code, mine.reports)
    return shown == (report.state, report.digest or mine.digest, report.reason, report.exit_code, report.pairs)
