"""The ledger of a simulation: one taskrunner with its real transitions, and what each SWOP is shown of it."""

import random
from collections.abc import Callable

from support.uids import uid
from swarmlearning.choices import TaskType
from swarmlearning.ledger.bodies import ReportPeer
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.taskrunner import Assignment, Peer, Taskrunner, transitions
from swarmlearning.swop.facts import Assigned, LedgerAdvanced
from swarmlearning.swop.managing import Attempt

RUNNER = "runner"


class Ledger:
    """`changed` is called after each change; `sessions`: whether a training has ended well, by the SL's UID;
    `registered`: the SLs' UIDs."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.runner = Taskrunner(RUNNER)
        self.sessions: dict[str, bool] = {}
        self.registered: set[str] = set()
        self.alive: set[str] = set()
        self.changed: Callable[[], None] = lambda: None

    def assign(self, kind: TaskType, needed: int, *, everybody: bool = False, target: str = "") -> bool:
        """An operator's assignment; False where it is refused."""
        serial = self.runner.serial + 1
        task = self._assignment(serial, kind, needed, open=not (everybody or target))
        peers = {peer.uid for peer in self.runner.peers if everybody or peer.uid == target}

        def assigned(runner: Taskrunner) -> Taskrunner:
            transitions.check_idle(runner)
            return transitions.assign(runner, task, peers)

        return self._apply(assigned)

    def retry(self, target: str) -> bool:
        """An operator targets a SWOP during an assignment."""
        task = self.runner.assignment.task if self.runner.assignment else ""
        return self._apply(lambda runner: transitions.target(runner, task, target, 0, alive=target in self.alive))

    def reset(self) -> None:
        """An operator makes the taskrunner idle."""
        self._apply(lambda runner: transitions.reset(runner, lambda one: one in self.alive))

    def abort(self) -> bool:
        """An operator ends the assignment."""
        return self._apply(lambda runner: transitions.abort(runner, 0))

    def listen(self, swop: str, pairs: int) -> bool:
        """A SWOP listens."""
        return self._apply(lambda runner: transitions.listening(runner, swop, "org", pairs, 0))

    def report(self, swop: str, body: ReportPeer) -> bool:
        """A SWOP's report."""
        early = [pair for pair in body.pairs if pair.state == "running" and pair.uid not in self.registered]
        assert not early, f"anybody can register the UID of {early} before its SL does"
        return self._apply(lambda runner: transitions.report(runner, swop, body, 0))

    def register(self, sl: str) -> None:
        """An SL registers."""
        self.registered.add(sl)
        self.changed()

    def attend(self, swop: str, *, present: bool) -> None:
        """A SWOP's lease has run out, or it is back."""
        (self.alive.add if present else self.alive.discard)(swop)
        self._apply(lambda runner: transitions.set_attendance(runner, swop, present=present, now_ms=0))

    def peer(self, swop: str) -> Peer | None:
        """The SWOP as a peer."""
        return next((peer for peer in self.runner.peers if peer.uid == swop), None)

    def shown(self, swop: str, pairs: int) -> LedgerAdvanced:
        """What this SWOP is shown."""
        mine, assignment = self.peer(swop), self.runner.assignment
        if mine is None or mine.gone:
            return LedgerAdvanced(False, None, dict(self.sessions))
        assigned = None
        if assignment is not None and assignment.type != "ROOT_TASK":
            attempt = Attempt(RUNNER, assignment.serial, mine.attempt, assignment.task, assignment.digest)
            open_ = assignment.open and self.runner.short > 0 and (pairs > 0 or not self.runner.runs_pairs)
            assigned = Assigned(attempt, assignment.type, mine, open_, assignment.aborted)
        return LedgerAdvanced(mine.pairs == pairs, assigned, dict(self.sessions), frozenset(self.registered))

    def _assignment(self, serial: int, kind: TaskType, needed: int, *, open: bool) -> Assignment:
        name = f"task-{serial}"
        digest = f"{serial:064x}"
        return Assignment(serial, name, kind, digest, needed, open, uid("operator"), "org", "org", 0)

    def _apply(self, change: Callable[[Taskrunner], Taskrunner]) -> bool:
        try:
            self.runner = change(self.runner)
        except Rejection:
            return False
        self.changed()
        return True
