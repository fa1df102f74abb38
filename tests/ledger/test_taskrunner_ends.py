"""Taskrunners on the ledger: failures, further tries, and who ends what is carried out."""

import pytest

from support.operations import Operations, listening
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.ledger.bodies import (
    AbortTaskrunner,
    Assign,
    AssignTarget,
    CreateTaskrunner,
    Leave,
    Listen,
    Pair,
    ResetTaskrunner,
    Revoke,
    SetPolicy,
)
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.taskrunner import Taskrunner, taskrunner

FIRST, SECOND, THIRD = "swop-1", "swop-2", "swop-3"


@pytest.fixture
def site() -> Operations:
    """Three SWOPs listen; there are a run task and a build task."""
    return listening()


# --- failures -------------------------------------------------------------------------------------------------------


def test_one_failure_of_as_many_as_are_needed_is_an_error(site: Operations) -> None:
    site.assign("build", 2)
    site.carry_out(FIRST, "enrolled", "failed")
    assert site.state == "ERROR"


def test_a_run_goes_on_while_pairs_enough_are_left(site: Operations) -> None:
    site.assign("run", 2)
    site.carry_out(FIRST, "enrolled")
    site.carry_out(SECOND, "enrolled")
    ended = Pair(1, "sl-2b", "failed", "ml-exit", 3)
    site.report(SECOND, "running", pairs=(Pair(0, "sl-2a", "running"), ended))
    assert site.state == "RUNNING"
    site.report(SECOND, "failed", reason="ml-exit", exit_code=3, pairs=(Pair(0, "sl-2a", "complete"), ended))
    assert (site.state, site.runner.done) == ("RUNNING", 1)
    site.carry_out(FIRST, "running", "complete")
    assert site.state == "COMPLETE"
    assert site.peer(SECOND).reports[1] == ended


def test_a_lost_swop_counts_as_failed_until_it_says_that_it_goes_on(site: Operations) -> None:
    site.assign("build", 1).carry_out(FIRST, "enrolled", "running")
    site.lose(FIRST)
    assert (site.state, site.peer(FIRST).state) == ("ERROR", "lost")
    site.find(FIRST)
    assert site.peer(FIRST).state == "lost"
    site.carry_out(FIRST, "running")
    assert site.state == "RUNNING"
    site.carry_out(FIRST, "complete")
    site.lose(FIRST)
    assert site.state == "COMPLETE"


def test_a_swop_that_has_yet_to_begin_listens_again_once_it_is_back(site: Operations) -> None:
    site.assign("build", 0)
    site.lose(FIRST)
    assert (site.state, site.peer(FIRST).state) == ("ERROR", "lost")
    site.find(FIRST)
    assert (site.state, site.peer(FIRST).state) == ("ASSIGNED", "listening")


def test_a_swop_that_was_started_again_goes_on(site: Operations) -> None:
    site.assign("build", 1).carry_out(FIRST, "enrolled", "running")
    actor = site.ledger.actors[FIRST]
    actor.incarnation, actor.sequence = actor.incarnation + 1, 0
    site.ledger.register(FIRST)
    assert site.peer(FIRST).state == "running"
    with pytest.raises(Rejection, match="no-change: SWOP swop-1 listens"):
        site.send(FIRST, Listen(1))
    site.carry_out(FIRST, "complete")
    assert site.state == "COMPLETE"


@pytest.mark.parametrize("how", ["leaves", "is revoked"])
def test_a_swop_that_is_gone_for_good_has_failed(site: Operations, how: str) -> None:
    site.assign("build", 1).carry_out(FIRST, "enrolled")
    if how == "leaves":
        site.send(FIRST, Leave(), network.CONTRACT)
    else:
        site.send("op-1", Revoke(thumbprint(site.ledger.actors[FIRST].pair.certificate)), network.CONTRACT)
    assert (site.state, site.peer(FIRST).state, site.peer(FIRST).gone) == ("ERROR", "failed", True)
    site.send("op-1", ResetTaskrunner())
    assert [peer.uid for peer in site.runner.peers] == [SECOND, THIRD]


def test_a_swop_that_can_start_fewer_pairs_since_has_done_what_it_has_done(site: Operations) -> None:
    site.assign("run", 2).carry_out(SECOND)
    site.send(SECOND, Listen(1))
    assert (site.state, site.runner.done, site.peer(SECOND).pairs) == ("COMPLETE", 2, 1)


@pytest.mark.parametrize("state", ["running", "failed"])
def test_a_pair_that_is_complete_stays_so_whatever_its_swop_reports_later(site: Operations, state: str) -> None:
    done = Pair(1, "sl-2b", "complete")
    site.assign("run", 1).carry_out(SECOND, "enrolled")
    site.report(SECOND, "running", pairs=(Pair(0, "sl-2a", "running"), done))
    assert site.state == "COMPLETE"
    reason = "site" if state == "failed" else None
    site.report(SECOND, state, reason=reason)
    assert (site.state, site.peer(SECOND).reports) == ("COMPLETE", (done,))
    if state == "running":
        lost = Pair(0, "sl-2a", "failed", "sl-exit", 1)
        site.report(SECOND, state, pairs=(Pair(1, "sl-2b", "failed", "sl-exit", 1), lost))
        assert (site.state, site.peer(SECOND).reports) == ("COMPLETE", (done, lost))


def test_no_swop_that_has_completed_pairs_gives_up_its_slot_or_reports_more_than_it_has(site: Operations) -> None:
    site.assign("run", 1).carry_out(FIRST, "enrolled")
    site.report(FIRST, "running", pairs=(Pair(0, "sl-1", "complete"),))
    site.lose(FIRST)
    with pytest.raises(Rejection, match="assignment-over: pairs of SWOP swop-1 are complete; it cannot be awaiting"):
        site.report(FIRST, "awaiting-approval")
    with pytest.raises(Rejection, match="wrong-report: each of the 1 pairs of SWOP swop-1 is reported once at most"):
        site.report(FIRST, "running", pairs=(Pair(1, "sl-2", "complete"),))
    assert site.state == "COMPLETE"


def test_before_rules_version_3_a_swop_takes_back_what_it_has_reported() -> None:
    site = listening(rules=2).assign("run", 1)
    site.carry_out(FIRST, "enrolled")
    site.report(FIRST, "running", pairs=(Pair(0, "sl-1", "complete"),))
    site.report(FIRST, "running")
    assert site.state == "RUNNING"


# --- targets --------------------------------------------------------------------------------------------------------


def test_a_target_alone_begins_on_an_idle_taskrunner(site: Operations) -> None:
    site.send("op-1", AssignTarget("run", SECOND))
    assert site.runner.assignment is not None
    assert site.runner.assignment.needed == 2
    with pytest.raises(Rejection, match="enough-peers"):
        site.carry_out(FIRST, "enrolled")
    site.carry_out(SECOND)
    assert site.state == "COMPLETE"


def test_a_target_is_added_to_what_runs(site: Operations) -> None:
    site.assign("build", 1).carry_out(FIRST, "enrolled")
    site.send("op-1", AssignTarget("build", THIRD))
    site.carry_out(THIRD)
    assert site.state == "COMPLETE"


def test_a_target_that_has_failed_is_tried_once_more(site: Operations) -> None:
    site.assign("build", 2)
    site.carry_out(FIRST, "enrolled", "failed")
    site.carry_out(SECOND)
    assert site.state == "ERROR"
    site.send("op-1", AssignTarget("build", FIRST))
    assert (site.state, site.peer(FIRST).attempt, site.peer(FIRST).state) == ("RUNNING", 2, "listening")
    with pytest.raises(Rejection, match="other-assignment: SWOP swop-1 is in attempt 2, not 1"):
        site.report(FIRST, "running", attempt=1)
    site.carry_out(FIRST)
    assert site.state == "COMPLETE"


def test_a_lost_target_is_tried_once_more_when_it_is_back(site: Operations) -> None:
    site.assign("build", 1).carry_out(FIRST, "enrolled")
    site.lose(FIRST)
    site.send("op-1", AssignTarget("build", FIRST))
    assert (site.peer(FIRST).state, site.peer(FIRST).attempt, site.state) == ("lost", 2, "ERROR")
    site.find(FIRST)
    site.carry_out(FIRST)
    assert site.state == "COMPLETE"


# --- who ends it ----------------------------------------------------------------------------------------------------


def test_a_reset_makes_it_idle_and_reports_from_before_are_refused(site: Operations) -> None:
    site.assign("build", 1).carry_out(FIRST, "enrolled", "running")
    site.send("op-1", ResetTaskrunner())
    assert (site.state, site.states, site.runner.serial) == ("IDLE", ["listening"] * 3, 1)
    with pytest.raises(Rejection, match=r"other-assignment: taskrunner .*: it is idle, not 1"):
        site.report(FIRST, "complete", serial=1)
    site.assign("build", 1)
    with pytest.raises(Rejection, match=r"other-assignment: .*assignment 2 is in force, not 1"):
        site.report(FIRST, "enrolled", serial=1)
    site.send("op-1", ResetTaskrunner())
    site.send("op-1", ResetTaskrunner())  # scripts begin with one


def test_an_abort_ends_what_runs_and_keeps_what_is_complete(site: Operations) -> None:
    site.assign("build", 3).carry_out(FIRST)
    site.carry_out(SECOND, "enrolled")
    site.send("op-1", AbortTaskrunner())
    assert (site.state, site.states) == ("ERROR", ["complete", "failed", "listening"])
    assert site.peer(SECOND).reason == "aborted"
    for body, match in (
        (AbortTaskrunner(), "assignment-over: task build of taskrunner .* is ERROR already; reset it"),
        (AssignTarget("build", SECOND), "not-idle: .*reset it first: swarm taskrunner reset"),
    ):
        with pytest.raises(Rejection, match=match):
            site.send("op-1", body)
    with pytest.raises(Rejection, match="assignment-over: task build is over"):
        site.carry_out(THIRD, "enrolled")
    site.send("op-1", ResetTaskrunner())
    assert site.state == "IDLE"


def test_others_end_a_running_task_by_a_quorum_only(site: Operations) -> None:
    site.assign("build", 1).carry_out(FIRST, "enrolled")
    site.send("op-2", ResetTaskrunner())
    assert site.state == "RUNNING"
    proposal = network.proposals(site.ledger.chain.world)[-1]
    assert (proposal.act, proposal.state, proposal.about) == ("reset-taskrunner", "open", "assignment 1")
    site.send("op-1", ResetTaskrunner())
    assert site.state == "IDLE"


def test_whoever_comes_resets_what_no_swop_is_at_work_on(site: Operations) -> None:
    site.assign("build", 1)
    site.send("op-2", ResetTaskrunner())
    site.assign("build", 1).carry_out(FIRST)
    site.send("op-2", ResetTaskrunner())
    assert site.state == "IDLE"


def test_others_neither_occupy_nor_empty_a_taskrunner_that_an_organisation_has_created(site: Operations) -> None:
    site.send("op-1", CreateTaskrunner(), "own")
    site.send(THIRD, Listen(1), "own")

    def own() -> Taskrunner:
        found = taskrunner(site.ledger.chain.world, "own")
        assert found is not None
        return found

    for body in (Assign("build", 1), AssignTarget("build", THIRD)):
        with pytest.raises(Rejection, match="assign-tasks is left to the organisation that it concerns, org-1"):
            site.send("op-2", body, "own")
    site.send("mate", Assign("build", 1), "own")
    site.send("op-2", AbortTaskrunner(), "own")
    assert own().state == "ASSIGNED"
    site.send("op-1", AbortTaskrunner(), "own")
    site.send("op-2", ResetTaskrunner(), "own")
    assert own().state == "ERROR"
    waiting = [each for each in network.proposals(site.ledger.chain.world) if each.state == "open"]
    assert [each.act for each in waiting] == ["reset-taskrunner"]


def test_a_policy_opens_the_taskrunners_of_all_organisations_to_all(site: Operations) -> None:
    for operator in ("op-1", "op-2"):
        site.send(operator, SetPolicy("assign-tasks", "one"), network.CONTRACT)
    site.send("op-1", CreateTaskrunner(), "own")
    site.send("op-2", Assign("build", 1), "own")
    found = taskrunner(site.ledger.chain.world, "own")
    assert found is not None
    assert found.assignment is not None


def test_a_policy_has_others_agree_to_assignments(site: Operations) -> None:
    for operator in ("op-1", "op-2"):
        site.send(operator, SetPolicy("assign-tasks", "all"), network.CONTRACT)
    site.assign("build", 1)
    assert site.state == "IDLE"
    site.send("op-2", Assign("build", 1))
    assert site.runner.assignment is not None
    assert (site.runner.assignment.organisation, site.runner.assignment.by) == ("org-1", "")


def test_an_assignment_states_who_has_assigned_and_who_has_made_the_task(site: Operations) -> None:
    site.send("op-2", Assign("build", 1))
    assert site.runner.assignment is not None
    assert (site.runner.assignment.by, site.runner.assignment.organisation) == ("op-2", "org-2")
    assert site.runner.assignment.made_by == "org-1"
