"""What a SWOP decides, step by step: one story a test."""

from typing import Any

import pytest

from support.uids import uid
from swarmlearning.choices import TaskType
from swarmlearning.ledger.bodies import Pair, ReportPeer
from swarmlearning.ledger.contracts.taskrunner import Peer
from swarmlearning.swop.deciding import Executor
from swarmlearning.swop.facts import (
    Action,
    ApprovalsChanged,
    Assigned,
    Begin,
    Cancel,
    Cancelled,
    Clean,
    Done,
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
)
from swarmlearning.swop.managing import Attempt, PairState

ME, SL = uid("swop"), uid("sl")
DIGEST = "a" * 64
A = Attempt("runner", 1, 1, "task", "d" * 64)


def peer(state: Any = "listening", **more: Any) -> Peer:
    return Peer(ME, "org", 1, 0, state, **more)


def shown(
    mine: Peer,
    kind: TaskType = "RUN_SWARM",
    *,
    sessions: dict[str, bool] | None = None,
    registered: bool = False,
    **more: Any,
) -> LedgerAdvanced:
    assigned = Assigned(A, kind, mine, more.pop("open", True), **more)
    return LedgerAdvanced(True, assigned, sessions or {}, frozenset({SL} if registered else ()))


def executor(memory: Memory | None = None, found: tuple[str, ...] = (), **settings: Any) -> Executor:
    return Executor([0], memory, found, lambda: SL, **settings)


def begun(actions: list[Action]) -> list[Any]:
    return [action.work for action in actions if isinstance(action, Begin)]


def report(state: Any, *pairs: Pair, digest: str | None = DIGEST, **more: Any) -> ReportPeer:
    return ReportPeer(1, 1, state, digest, pairs=pairs, **more)


def remembered(**more: Any) -> Memory:
    pairs = more.pop("pairs", (PairMemory(0, SL),))
    return Memory(A, more.pop("type", "RUN_SWARM"), DIGEST, pairs=pairs, **more)


def at_work(**settings: Any) -> Executor:
    """One that has started its pair, and watches it."""
    made = executor(remembered(), **settings)
    made.handle(shown(peer("enrolled", slot=True, digest=DIGEST)), 0.0)
    made.handle(Done(Start(A, 0, SL)), 0.0)
    return made


RUNNING = PairState(None, None)


def test_a_task_is_judged_then_enrolled_in_then_begun() -> None:
    swop = executor()
    assert begun(swop.handle(shown(peer()), 0.0)) == [Judge(A, 0)]
    allowed = swop.handle(Done(Judge(A, 0), Verdict("run", DIGEST, 60.0)), 100.0)
    memory = Memory(A, "RUN_SWARM", DIGEST, 160.0, (PairMemory(0, SL),))
    assert allowed == [Remember(memory), Begin(Send(A, report("enrolled")))]
    works = begun(swop.handle(shown(peer("enrolled", slot=True, digest=DIGEST)), 100.0))
    assert works == [Wait("limit", A, -1, 160.0), Start(A, 0, SL), Send(A, report("running"))]


def test_a_swop_listens_and_tries_again_after_a_refusal() -> None:
    swop = executor()
    assert begun(swop.handle(LedgerAdvanced(None, None, {}), 0.0)) == []  # no such taskrunner yet
    assert begun(swop.handle(LedgerAdvanced(False, None, {}), 0.0)) == [Listen()]
    assert begun(swop.handle(Done(Listen(), False), 0.0)) == [Pause(Listen(), 0.25)]
    assert begun(swop.handle(Done(Pause(Listen(), 0.25)), 0.0)) == [Listen()]
    assert begun(swop.handle(Done(Listen(), False), 0.0)) == [Pause(Listen(), 0.5)]


def test_what_the_site_has_not_allowed_waits_until_it_does() -> None:
    swop = executor()
    swop.handle(shown(peer()), 0.0)
    waits = report("awaiting-approval")
    assert begun(swop.handle(Done(Judge(A, 0), Verdict("wait", DIGEST)), 0.0)) == [Send(A, waits)]
    swop.handle(shown(peer("awaiting-approval", digest=DIGEST)), 0.0)
    assert swop.handle(Done(Send(A, waits), True), 0.0) == []
    assert begun(swop.handle(ApprovalsChanged(), 0.0)) == [Judge(A, 1)]
    assert Begin(Send(A, report("enrolled"))) in swop.handle(Done(Judge(A, 1), Verdict("run", DIGEST)), 0.0)


def test_what_the_site_rejects_has_failed() -> None:
    swop = executor()
    swop.handle(shown(peer()), 0.0)
    works = begun(swop.handle(Done(Judge(A, 0), Verdict("reject", DIGEST)), 0.0))
    assert works == [Send(A, report("failed", reason="rejected"))]


def test_others_were_faster() -> None:
    swop = executor(remembered())
    assert swop.handle(shown(peer(), open=False), 0.0) == [Remember(None)]
    assert begun(swop.handle(shown(peer(), open=False), 0.0)) == [Clean(A.key)]


@pytest.mark.parametrize(
    ("state", "outcome", "reason", "code"),
    [
        (PairState(0, 0), "complete", None, None),
        (PairState(None, 1), "failed", "ml-exit", 1),
        (PairState(137, None), "failed", "sl-exit", 137),
        (PairState(1, 1), "failed", "ml-exit", 1),
    ],
)
def test_a_pair_that_has_ended_is_remembered_stopped_and_reported(
    state: PairState, outcome: Any, reason: Any, code: int | None
) -> None:
    swop = at_work()
    ended = swop.handle(Done(Watch(A, 0, RUNNING), state), 1.0)
    pair = Pair(0, SL, outcome, reason, code)
    assert ended[0] == Remember(remembered(pairs=(PairMemory(0, SL, outcome, reason, code),)))
    assert begun(ended) == [Stop(A, 0), Send(A, report("running", pair))]
    over = swop.handle(Done(Stop(A, 0)), 1.0)
    assert begun(over) == [Send(A, report(outcome, pair, reason=reason, exit_code=code))]


@pytest.mark.parametrize(("sessions", "fails"), [({SL: True}, False), ({SL: False}, True), ({}, True)])
def test_a_script_that_ends_well_must_have_trained(sessions: dict[str, bool], fails: bool) -> None:
    swop = at_work()
    known = peer("running", slot=True, digest=DIGEST, reports=(Pair(0, SL, "running"),))
    swop.handle(Done(Watch(A, 0, RUNNING), PairState(None, 0)), 1.0)
    swop.handle(shown(known, sessions=sessions), 1.0)
    later = swop.handle(Done(Wait("session", A, 0, 4.0)), 4.1) if fails else []
    failed = Pair(0, SL, "failed", "ml-exit", 0)
    assert (Begin(Send(A, report("running", failed))) in later) == fails


def test_the_uid_of_an_sl_is_reported_only_once_it_is_registered_since_others_could_register_it_first() -> None:
    swop = executor(remembered())
    enrolled, running = peer("enrolled", slot=True, digest=DIGEST), peer("running", slot=True, digest=DIGEST)
    assert Send(A, report("running")) in begun(swop.handle(shown(enrolled), 0.0))
    swop.handle(shown(running), 0.0)
    swop.handle(Done(Send(A, report("running")), True), 0.0)
    assert begun(swop.handle(Done(Start(A, 0, SL)), 0.0)) == [Watch(A, 0, RUNNING)]
    registered = swop.handle(shown(running, registered=True), 0.0)
    assert begun(registered) == [Send(A, report("running", Pair(0, SL, "running")))]


def test_a_restarted_swop_reports_a_pair_as_before() -> None:
    swop = executor(remembered(), found=(A.key,))
    known = peer("running", slot=True, digest=DIGEST, reports=(Pair(0, SL, "running"),))
    assert begun(swop.handle(shown(known, registered=True), 0.0)) == [Start(A, 0, SL)]


def test_a_script_in_loopback_needs_no_training_of_others() -> None:
    swop = at_work()
    swop.handle(shown(peer("running", slot=True, digest=DIGEST), loopback=frozenset({0})), 0.0)
    assert Begin(Stop(A, 0)) in swop.handle(Done(Watch(A, 0, RUNNING), PairState(None, 0)), 1.0)


def test_a_pair_that_hangs_is_reported_and_ended_only_where_the_profile_says_so() -> None:
    told = at_work().handle(Stalled(A, 0, True), 0.0)
    assert begun(told) == [Send(A, report("running", Pair(0, SL, "running", "hung")))]
    ended = at_work(end_hung=True).handle(Stalled(A, 0, True), 0.0)
    assert begun(ended) == [Stop(A, 0), Send(A, report("running", Pair(0, SL, "failed", "hung")))]


def test_when_the_time_is_over_all_pairs_end() -> None:
    swop = executor(remembered(deadline=60.0))
    swop.handle(shown(peer("enrolled", slot=True, digest=DIGEST)), 0.0)
    swop.handle(Done(Start(A, 0, SL)), 0.0)
    over = swop.handle(Done(Wait("limit", A, -1, 60.0)), 60.0)
    assert begun(over) == [Stop(A, 0), Send(A, report("running", Pair(0, SL, "failed", "limit")))]


def test_a_reset_ends_what_runs_and_only_then_cleans() -> None:
    swop = at_work()
    reset = swop.handle(LedgerAdvanced(True, None, {}), 0.0)
    assert Cancel(Watch(A, 0, RUNNING)) in reset
    assert begun(reset) == []
    assert begun(swop.handle(Done(Watch(A, 0, RUNNING), Cancelled()), 0.0)) == [Clean(A.key)]
    assert swop.handle(Done(Clean(A.key)), 0.0) == [Remember(None)]


def test_an_abort_ends_the_pairs_and_keeps_what_they_have_left() -> None:
    swop = at_work()
    aborted = peer("failed", slot=True, digest=DIGEST, reason="aborted")
    assert begun(swop.handle(shown(aborted, aborted=True), 0.0)) == [Stop(A, 0)]
    over = swop.handle(Done(Stop(A, 0)), 0.0)
    assert [action for action in over if not isinstance(action, Remember)] == []


def test_a_build_is_made_and_its_failure_reported() -> None:
    build = remembered(type="MAKE_USER_CONTAINER", pairs=())
    enrolled = shown(peer("running", slot=True, digest=DIGEST), "MAKE_USER_CONTAINER")
    swop = executor(build)
    assert begun(swop.handle(enrolled, 0.0)) == [Make(A)]
    assert begun(swop.handle(Done(Make(A)), 0.0)) == [Send(A, report("complete"))]
    swop = executor(build)
    swop.handle(enrolled, 0.0)
    assert begun(swop.handle(Done(Make(A), Failure("build")), 0.0)) == [Send(A, report("failed", reason="build"))]


def test_after_a_kill_it_goes_on_where_it_was() -> None:
    running = peer("lost", slot=True, digest=DIGEST)
    swop = executor(remembered(), found=(A.key,))
    assert begun(swop.handle(shown(running), 0.0)) == [Start(A, 0, SL), Send(A, report("running"))]
    ended = remembered(pairs=(PairMemory(0, SL, "failed", "ml-exit", 1),))
    swop = executor(ended, found=(A.key,))
    pair = Pair(0, SL, "failed", "ml-exit", 1)
    assert begun(swop.handle(shown(running), 0.0)) == [Stop(A, 0), Send(A, report("running", pair))]


def test_what_nobody_remembers_is_removed_and_given_up() -> None:
    swop = executor(None, found=("0" * 16, A.key))
    running = shown(peer("running", slot=True, digest=DIGEST))
    assert begun(swop.handle(running, 0.0)) == [Clean("0" * 16), Clean(A.key)]
    swop.handle(Done(Clean("0" * 16)), 0.0)
    given_up = swop.handle(Done(Clean(A.key)), 0.0)
    assert begun(given_up) == [Send(A, report("failed", digest=None, reason="site"))]


def test_a_swop_is_busy_until_the_ledger_shows_how_its_part_has_ended() -> None:
    swop = executor()
    assert not swop.busy
    swop = executor(remembered(outcome="complete"))
    assert swop.busy
    swop.handle(shown(peer("running", slot=True, digest=DIGEST)), 0.0)
    assert swop.busy
    swop.handle(shown(peer("complete", slot=True, digest=DIGEST)), 0.0)
    assert not swop.busy
