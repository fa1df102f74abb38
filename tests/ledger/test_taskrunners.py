"""Taskrunners on the ledger: who listens, what is assigned to how many, and what follows from the peers' reports."""

import pytest

from support.operations import RUNNER, Operations
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.ledger.bodies import (
    AbortTaskrunner,
    Assign,
    AssignTarget,
    Back,
    Body,
    CreateTask,
    CreateTaskrunner,
    Leave,
    Listen,
    Lost,
    Pair,
    Quotas,
    ReportPeer,
    ResetTaskrunner,
    Revoke,
    SetPolicy,
    SetQuotas,
)
from swarmlearning.ledger.contracts import network, taskrunner
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.taskrunner import transitions

FIRST, SECOND, THIRD = "swop-1", "swop-2", "swop-3"


@pytest.fixture
def site() -> Operations:
    """Three SWOPs listen; there are a run task and a build task."""
    made = Operations()
    made.make("build", "MAKE_USER_CONTAINER")
    made.make("run", "RUN_SWARM", "build")
    made.listen()
    return made


def assigned(site: Operations, task: str, peers: int) -> Operations:
    site.send("op-1", Assign(task, peers))
    return site


def lost(site: Operations, uid: str) -> None:
    site.send("sn-1", Lost(uid, site.ledger.actors[uid].incarnation), network.CONTRACT)


def back(site: Operations, uid: str) -> None:
    site.send("sn-1", Back(uid, site.ledger.actors[uid].incarnation), network.CONTRACT)


def states(site: Operations) -> list[str]:
    return [peer.state for peer in site.runner.peers]


# --- who listens ----------------------------------------------------------------------------------------------------


def test_the_default_taskrunner_is_there_from_the_start() -> None:
    world = Operations().ledger.chain.world
    assert [each.name for each in taskrunner.taskrunners(world)] == [RUNNER]
    assert taskrunner.taskrunner(world, "none") is None


def test_peers_stand_in_the_order_in_which_they_began_to_listen() -> None:
    site = Operations()
    site.listen(THIRD, FIRST, SECOND)
    site.send(THIRD, Listen(5))
    assert [(peer.uid, peer.pairs) for peer in site.runner.peers] == [(THIRD, 5), (FIRST, 1), (SECOND, 2)]
    with pytest.raises(Rejection, match="no-change: SWOP swop-3 listens to taskrunner"):
        site.send(THIRD, Listen(5))


def test_a_swop_listens_to_one_taskrunner(site: Operations) -> None:
    site.send("op-2", CreateTaskrunner(), "other")
    site.send(FIRST, Listen(1), "other")
    world = site.ledger.chain.world
    assert [peer.uid for peer in taskrunner.peers(world, RUNNER)] == [SECOND, THIRD]
    assert [peer.uid for peer in taskrunner.peers(world, "other")] == [FIRST]
    found = taskrunner.listens_to(world, FIRST)
    assert found is not None
    assert found.name == "other"


def test_what_a_swop_had_to_do_has_failed_once_it_listens_elsewhere(site: Operations) -> None:
    assigned(site, "build", 1).carry_out(FIRST, "enrolled", "running")
    site.send("op-2", CreateTaskrunner(), "other")
    site.send(FIRST, Listen(1), "other")
    assert (site.peer(FIRST).state, site.peer(FIRST).reason, site.peer(FIRST).gone) == ("failed", "site", True)
    assert site.state == "ERROR"
    site.send("op-1", ResetTaskrunner())
    assert [peer.uid for peer in site.runner.peers] == [SECOND, THIRD]


def test_a_full_list_gives_the_place_of_a_lost_swop_to_another(
    site: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transitions, "MOST_PEERS", 3)
    site.ledger.join("swop-4", "SWOP")
    with pytest.raises(Rejection, match="too-many: 3 SWOPs listen to taskrunner"):
        site.send("swop-4", Listen(1))
    lost(site, SECOND)
    site.send("swop-4", Listen(1))
    assert [peer.uid for peer in site.runner.peers] == [FIRST, THIRD, "swop-4"]


# --- how many carry it out ------------------------------------------------------------------------------------------


def test_as_many_swops_as_are_asked_for_take_part_in_a_build(site: Operations) -> None:
    assigned(site, "build", 2)
    assert (site.state, site.runner.short) == ("ASSIGNED", 2)
    site.carry_out(THIRD, "enrolled")
    assert (site.state, site.runner.short) == ("RUNNING", 1)
    site.carry_out(FIRST, "enrolled")
    with pytest.raises(Rejection, match="enough-peers: enough SWOPs take part in task build; a target adds this one"):
        site.carry_out(SECOND, "enrolled")
    site.carry_out(THIRD, "running", "complete")
    assert site.state == "RUNNING"
    site.carry_out(FIRST, "running", "complete")
    assert (site.state, states(site)) == ("COMPLETE", ["complete", "listening", "complete"])


def test_a_run_takes_swops_until_their_pairs_are_enough(site: Operations) -> None:
    assigned(site, "run", 2)
    site.carry_out(FIRST, "enrolled")
    site.carry_out(SECOND, "enrolled")  # with its two pairs there are three
    with pytest.raises(Rejection, match="enough-peers"):
        site.carry_out(THIRD, "enrolled")
    site.carry_out(SECOND, "running", "complete")
    assert site.state == "COMPLETE"
    site.carry_out(FIRST, "running", "complete")  # whoever is at work goes on to the end
    assert site.runner.done == 3


def test_all_are_those_that_listen_when_it_is_assigned(site: Operations) -> None:
    lost(site, THIRD)
    assigned(site, "run", 0)
    assert site.runner.assignment is not None
    assert site.runner.assignment.needed == 3
    back(site, THIRD)
    with pytest.raises(Rejection, match="enough-peers"):
        site.carry_out(THIRD, "enrolled")
    site.carry_out(FIRST)
    site.carry_out(SECOND)
    assert site.state == "COMPLETE"


def test_a_task_that_nobody_could_carry_out_is_not_assigned_to_all(site: Operations) -> None:
    for uid in (FIRST, SECOND, THIRD):
        site.send(uid, Listen(0))
    with pytest.raises(Rejection, match=r"no-peers: no SWOP with SL\+ML pairs .* listens to taskrunner"):
        assigned(site, "run", 0)
    for uid in (FIRST, SECOND, THIRD):
        lost(site, uid)
    with pytest.raises(Rejection, match="no-peers: no SWOP that could carry out task build"):
        assigned(site, "build", 0)


def test_more_than_there_are_waits_for_others(site: Operations) -> None:
    assigned(site, "run", 9)
    for uid in (FIRST, SECOND, THIRD):
        site.carry_out(uid)
    assert (site.state, site.runner.short) == ("RUNNING", 5)


def test_whose_approval_is_missing_takes_nobody_s_place(site: Operations) -> None:
    assigned(site, "build", 1)
    site.report(FIRST, "awaiting-approval", digest="d" * 64)
    assert (site.state, site.runner.short, site.peer(FIRST).digest) == ("ASSIGNED", 1, "d" * 64)
    site.carry_out(SECOND, "enrolled")
    with pytest.raises(Rejection, match="enough-peers"):
        site.carry_out(FIRST, "enrolled")


def test_a_site_that_asks_again_gives_its_place_back(site: Operations) -> None:
    assigned(site, "build", 1)
    site.carry_out(FIRST, "enrolled")
    site.report(FIRST, "awaiting-approval", digest="d" * 64)
    site.carry_out(SECOND)
    assert site.state == "COMPLETE"


def test_a_site_that_rejects_was_asked_in_vain_where_others_can_take_its_place(site: Operations) -> None:
    assigned(site, "build", 2)
    site.report(FIRST, "awaiting-approval", digest="d" * 64)
    site.report(FIRST, "failed", reason="rejected")
    assert site.state == "ASSIGNED"
    site.carry_out(SECOND)
    site.carry_out(THIRD)
    assert site.state == "COMPLETE"


def test_a_site_that_rejects_ends_what_was_assigned_to_all(site: Operations) -> None:
    assigned(site, "build", 0).report(FIRST, "failed", reason="rejected")
    assert site.state == "ERROR"


# --- failures -------------------------------------------------------------------------------------------------------


def test_one_failure_of_as_many_as_are_needed_is_an_error(site: Operations) -> None:
    assigned(site, "build", 2)
    site.carry_out(FIRST, "enrolled", "failed")
    assert site.state == "ERROR"


def test_a_run_goes_on_while_pairs_enough_are_left(site: Operations) -> None:
    assigned(site, "run", 2)
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
    assigned(site, "build", 1).carry_out(FIRST, "enrolled", "running")
    lost(site, FIRST)
    assert (site.state, site.peer(FIRST).state) == ("ERROR", "lost")
    back(site, FIRST)
    assert site.peer(FIRST).state == "lost"
    site.carry_out(FIRST, "running")
    assert site.state == "RUNNING"
    site.carry_out(FIRST, "complete")
    lost(site, FIRST)
    assert site.state == "COMPLETE"


def test_a_swop_that_has_yet_to_begin_listens_again_once_it_is_back(site: Operations) -> None:
    assigned(site, "build", 0)
    lost(site, FIRST)
    assert (site.state, site.peer(FIRST).state) == ("ERROR", "lost")
    back(site, FIRST)
    assert (site.state, site.peer(FIRST).state) == ("ASSIGNED", "listening")


def test_a_swop_that_was_started_again_goes_on(site: Operations) -> None:
    assigned(site, "build", 1).carry_out(FIRST, "enrolled", "running")
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
    assigned(site, "build", 1).carry_out(FIRST, "enrolled")
    if how == "leaves":
        site.send(FIRST, Leave(), network.CONTRACT)
    else:
        site.send("op-1", Revoke(thumbprint(site.ledger.actors[FIRST].pair.certificate)), network.CONTRACT)
    assert (site.state, site.peer(FIRST).state, site.peer(FIRST).gone) == ("ERROR", "failed", True)
    site.send("op-1", ResetTaskrunner())
    assert [peer.uid for peer in site.runner.peers] == [SECOND, THIRD]


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
    assigned(site, "build", 1).carry_out(FIRST, "enrolled")
    site.send("op-1", AssignTarget("build", THIRD))
    site.carry_out(THIRD)
    assert site.state == "COMPLETE"


def test_a_target_that_has_failed_is_tried_once_more(site: Operations) -> None:
    assigned(site, "build", 2)
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
    assigned(site, "build", 1).carry_out(FIRST, "enrolled")
    lost(site, FIRST)
    site.send("op-1", AssignTarget("build", FIRST))
    assert (site.peer(FIRST).state, site.peer(FIRST).attempt, site.state) == ("lost", 2, "ERROR")
    back(site, FIRST)
    site.carry_out(FIRST)
    assert site.state == "COMPLETE"


# --- who ends it ----------------------------------------------------------------------------------------------------


def test_a_reset_makes_it_idle_and_reports_from_before_are_refused(site: Operations) -> None:
    assigned(site, "build", 1).carry_out(FIRST, "enrolled", "running")
    site.send("op-1", ResetTaskrunner())
    assert (site.state, states(site), site.runner.serial) == ("IDLE", ["listening"] * 3, 1)
    with pytest.raises(Rejection, match=r"other-assignment: taskrunner .*: it is idle, not 1"):
        site.report(FIRST, "complete", serial=1)
    assigned(site, "build", 1)
    with pytest.raises(Rejection, match=r"other-assignment: .*assignment 2 is in force, not 1"):
        site.report(FIRST, "enrolled", serial=1)
    site.send("op-1", ResetTaskrunner())
    site.send("op-1", ResetTaskrunner())  # scripts begin with one


def test_an_abort_ends_what_runs_and_keeps_what_is_complete(site: Operations) -> None:
    assigned(site, "build", 3).carry_out(FIRST)
    site.carry_out(SECOND, "enrolled")
    site.send("op-1", AbortTaskrunner())
    assert (site.state, states(site)) == ("ERROR", ["complete", "failed", "listening"])
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
    assigned(site, "build", 1).carry_out(FIRST, "enrolled")
    site.send("op-2", ResetTaskrunner())
    assert site.state == "RUNNING"
    proposal = network.proposals(site.ledger.chain.world)[-1]
    assert (proposal.act, proposal.state, proposal.about) == ("reset-taskrunner", "open", "assignment 1")
    site.send("op-1", ResetTaskrunner())
    assert site.state == "IDLE"


def test_whoever_comes_resets_what_no_swop_is_at_work_on(site: Operations) -> None:
    assigned(site, "build", 1)
    site.send("op-2", ResetTaskrunner())
    assigned(site, "build", 1).carry_out(FIRST)
    site.send("op-2", ResetTaskrunner())
    assert site.state == "IDLE"


def test_a_policy_has_others_agree_to_assignments(site: Operations) -> None:
    for operator in ("op-1", "op-2"):
        site.send(operator, SetPolicy("assign-tasks", "all"), network.CONTRACT)
    assigned(site, "build", 1)
    assert site.state == "IDLE"
    site.send("op-2", Assign("build", 1))
    assert site.runner.assignment is not None
    assert (site.runner.assignment.organisation, site.runner.assignment.by) == ("org-1", "")


def test_an_assignment_states_who_has_assigned_and_who_has_made_the_task(site: Operations) -> None:
    site.send("op-2", Assign("build", 1))
    assert site.runner.assignment is not None
    assert (site.runner.assignment.by, site.runner.assignment.organisation) == ("op-2", "org-2")
    assert site.runner.assignment.made_by == "org-1"


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "body", "match"),
    [
        ("op-1", CreateTaskrunner(), "created-already: there is a taskrunner"),
        ("op-1", Assign("none", 1), "no-task: there is no task none"),
        ("op-1", Assign("draft", 1), "not-final: task draft is a draft; finalize it first"),
        ("op-1", Assign("ROOTTASK", 1), "no-task: ROOTTASK only stands for no prerequisite"),
        ("op-1", Assign("build", 1), "not-idle: .*carries out the task build; wait for its end"),
        ("op-1", AssignTarget("run", SECOND), "not-idle: .*has the task build; a target can be added to that only"),
        ("op-1", AssignTarget("build", FIRST), "no-change: SWOP swop-1 takes part in task build already: running"),
        ("op-1", AssignTarget("build", "swop-9"), "not-listening: no SWOP swop-9 listens to taskrunner"),
        ("swop-9", ReportPeer(1, 1, "enrolled"), "not-listening: no SWOP swop-9"),
        (SECOND, ReportPeer(1, 1, "running"), "assignment-over: the part of SWOP swop-2 is listening; it cannot be"),
        (SECOND, ReportPeer(1, 1, "failed"), "wrong-report: a part that has failed states a reason"),
        (FIRST, ReportPeer(1, 1, "running", reason="site"), "wrong-report: a part that has failed states a reason"),
        (FIRST, ReportPeer(1, 1, "running"), "no-change: SWOP swop-1 has reported this already"),
        (FIRST, ReportPeer(1, 1, "enrolled"), "assignment-over: the part of SWOP swop-1 is running"),
        (FIRST, ReportPeer(1, 1, "running", pairs=(Pair(0, "sl-1", "running"),)), "wrong-report: .*runs no pairs"),
        (
            FIRST,
            ReportPeer(1, 1, "running", pairs=(Pair(0, "sl-1", "running"), Pair(0, "sl-2", "running"))),
            "wrong-report: each of the 1 pairs of SWOP swop-1 is reported once at most",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(site: Operations, by: str, body: Body, match: str) -> None:
    site.send("op-1", CreateTask("PULL_IMAGE", "x", "ROOTTASK", "image"), "draft")
    site.ledger.join("swop-9", "SWOP")
    assigned(site, "build", 2).carry_out(FIRST, "enrolled", "running")
    with pytest.raises(Rejection, match=match):
        site.send(by, body)


def test_a_lost_swop_that_has_not_enrolled_does_not_go_on(site: Operations) -> None:
    assigned(site, "build", 1)
    lost(site, FIRST)
    with pytest.raises(Rejection, match="not-enrolled: SWOP swop-1 has not enrolled in task build"):
        site.report(FIRST, "running")


@pytest.mark.parametrize("body", [Listen(1), ReportPeer(1, 1, "enrolled"), ResetTaskrunner(), Assign("build", 1)])
def test_there_has_to_be_such_a_taskrunner(site: Operations, body: Body) -> None:
    by = FIRST if isinstance(body, Listen | ReportPeer) else "op-1"
    with pytest.raises(Rejection, match="no-taskrunner: there is no taskrunner none; an operator creates it: swarm"):
        site.send(by, body, "none")


def test_an_idle_taskrunner_has_nothing_to_abort(site: Operations) -> None:
    with pytest.raises(Rejection, match=r"no-assignment: taskrunner .* is idle"):
        site.send("op-1", AbortTaskrunner())


def test_an_organisation_creates_as_many_taskrunners_as_its_quota_allows(site: Operations) -> None:
    for operator in ("op-1", "op-2"):
        site.send(operator, SetQuotas("org-1", Quotas(taskrunners=1)), network.CONTRACT)
    site.send("op-1", CreateTaskrunner(), "first")
    with pytest.raises(Rejection, match="too-many: organisation org-1 has 1 taskrunners"):
        site.send("op-1", CreateTaskrunner(), "second")
    site.send("op-2", CreateTaskrunner(), "second")
