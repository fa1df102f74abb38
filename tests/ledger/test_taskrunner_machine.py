"""A taskrunner under any sequence of what operators, SWOPs and SNs send: what always holds."""

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from support.operations import PAIRS, Operations, listening
from swarmlearning.ledger.bodies import (
    AbortTaskrunner,
    Assign,
    AssignTarget,
    Body,
    CreateTaskrunner,
    Listen,
    Pair,
    ReportPeer,
    ResetTaskrunner,
)
from swarmlearning.ledger.contracts import network, taskrunner
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.taskrunner import Taskrunner

SWOPS = st.sampled_from(list(PAIRS))
STATES = st.sampled_from(["enrolled", "enrolled", "awaiting-approval", "running", "running", "complete", "failed"])
ENDS = st.sampled_from(["running", "complete", "failed"])
WORKING = ("enrolled", "running", "complete")


class Machine(RuleBasedStateMachine):
    """Three SWOPs, two taskrunners, and the tasks `run` and `build`."""

    def __init__(self) -> None:
        super().__init__()
        self.site: Operations = listening()
        self.site.send("op-2", CreateTaskrunner(), "other")
        self.before: Taskrunner = self.site.runner

    def sends(self, uid: str, body: Body, contract: str = "") -> None:
        """A transaction, which may be refused; then nothing has changed."""
        before = self.site.ledger.chain.world
        try:
            if contract:
                self.site.send(uid, body, contract)
            else:
                self.site.send(uid, body)
        except Rejection:
            assert self.site.ledger.chain.world is before

    @rule(peers=st.integers(0, 5), task=st.sampled_from(["run", "build"]))
    def assign(self, peers: int, task: str) -> None:
        self.sends("op-1", Assign(task, peers))

    @rule(uid=SWOPS, task=st.sampled_from(["run", "build"]))
    def target(self, uid: str, task: str) -> None:
        self.sends("op-1", AssignTarget(task, uid))

    @rule(uid=SWOPS, state=STATES, ends=st.lists(ENDS, max_size=2))
    def report(self, uid: str, state: str, ends: Sequence[str]) -> None:
        peer = next((one for one in self.site.runner.peers if one.uid == uid), None)
        if peer is None or not self.site.runner.serial:
            return
        pairs = tuple(Pair(index, f"{uid}-{index}", end) for index, end in enumerate(ends))  # type: ignore[arg-type]
        fitting = pairs[: peer.pairs] if self.site.runner.runs_pairs else ()
        reason = "site" if state == "failed" else None
        serial = self.site.runner.serial
        self.sends(uid, ReportPeer(serial, peer.attempt, state, None, reason, None, fitting))  # type: ignore[arg-type]

    @rule(uid=SWOPS, pairs=st.integers(0, 3), other=st.booleans())
    def listen(self, uid: str, pairs: int, other: bool) -> None:
        self.sends(uid, Listen(pairs), "other" if other else "")

    @rule(uid=SWOPS)
    def comes_or_goes(self, uid: str) -> None:
        known = network.node(self.site.ledger.chain.world, uid)
        assert known is not None
        (self.site.lose if known.alive else self.site.find)(uid)

    @rule(uid=SWOPS)
    def is_started_again(self, uid: str) -> None:
        actor = self.site.ledger.actors[uid]
        actor.incarnation, actor.sequence = actor.incarnation + 1, 0
        self.site.ledger.register(uid)

    @rule(abort=st.booleans())
    def end(self, abort: bool) -> None:
        self.sends("op-1", AbortTaskrunner() if abort else ResetTaskrunner())

    @invariant()
    def the_state_follows_from_the_peers(self) -> None:
        runner = self.site.runner
        if runner.assignment is None:
            assert runner.state == "IDLE"
            assert not any(peer.takes_part or peer.gone for peer in runner.peers)
            return
        assert (runner.state == "COMPLETE") == (runner.done >= runner.assignment.needed)
        assert runner.done <= runner.taken
        if runner.state in ("ASSIGNED", "RUNNING"):
            assert runner.hopeful
            assert not runner.assignment.aborted

    @invariant()
    def whoever_works_has_a_place_and_nobody_takes_more_than_there_are(self) -> None:
        runner = self.site.runner
        assert all(peer.slot for peer in runner.peers if peer.state in WORKING)
        if runner.assignment is None or runner.runs_pairs:
            return
        uninvited = [peer for peer in runner.peers if peer.slot and not peer.invited]
        assert len(uninvited) <= (runner.assignment.needed if runner.assignment.open else 0)

    @invariant()
    def what_is_done_stays_done(self) -> None:
        runner, before = self.site.runner, self.before
        self.before = runner
        assert runner.serial >= before.serial
        if runner.assignment is None or before.assignment is None or runner.serial != before.serial:
            return
        attempts = {peer.uid: peer.attempt for peer in before.peers}
        assert all(peer.attempt >= attempts.get(peer.uid, 1) for peer in runner.peers)
        if before.state == "COMPLETE":
            assert runner.state == "COMPLETE"

    @invariant()
    def a_swop_listens_to_one_taskrunner(self) -> None:
        every = taskrunner.taskrunners(self.site.ledger.chain.world)
        listening_now = [peer.uid for each in every for peer in each.peers if not peer.gone]
        assert len(listening_now) == len(set(listening_now))


TestTaskrunner = Machine.TestCase
TestTaskrunner.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
