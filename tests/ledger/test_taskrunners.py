"""Taskrunners on the ledger: who listens, how many carry a task out, and what is refused."""

import pytest

from support.operations import RUNNER, Operations, listening
from swarmlearning.ledger.bodies import (
    AbortTaskrunner,
    Assign,
    AssignTarget,
    Body,
    CreateTask,
    CreateTaskrunner,
    Listen,
    Pair,
    Quotas,
    ReportPeer,
    ResetTaskrunner,
    SetQuotas,
)
from swarmlearning.ledger.contracts import network, taskrunner
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.taskrunner import transitions

FIRST, SECOND, THIRD = "swop-1", "swop-2", "swop-3"


@pytest.fixture
def site() -> Operations:
    """Three SWOPs listen; there are a run task and a build task."""
    return listening()


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
    site.assign("build", 1).carry_out(FIRST, "enrolled", "running")
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
    site.lose(SECOND)
    site.send("swop-4", Listen(1))
    assert [peer.uid for peer in site.runner.peers] == [FIRST, THIRD, "swop-4"]


# --- how many carry it out ------------------------------------------------------------------------------------------


def test_as_many_swops_as_are_asked_for_take_part_in_a_build(site: Operations) -> None:
    site.assign("build", 2)
    assert (site.state, site.runner.short) == ("ASSIGNED", 2)
    site.carry_out(THIRD, "enrolled")
    assert (site.state, site.runner.short) == ("RUNNING", 1)
    site.carry_out(FIRST, "enrolled")
    with pytest.raises(Rejection, match="enough-peers: enough SWOPs take part in task build; a target adds this one"):
        site.carry_out(SECOND, "enrolled")
    site.carry_out(THIRD, "running", "complete")
    assert site.state == "RUNNING"
    site.carry_out(FIRST, "running", "complete")
    assert (site.state, site.states) == ("COMPLETE", ["complete", "listening", "complete"])


def test_a_run_takes_swops_until_their_pairs_are_enough(site: Operations) -> None:
    site.assign("run", 2)
    site.carry_out(FIRST, "enrolled")
    site.carry_out(SECOND, "enrolled")  # with its two pairs there are three
    with pytest.raises(Rejection, match="enough-peers"):
        site.carry_out(THIRD, "enrolled")
    site.carry_out(SECOND, "running", "complete")
    assert site.state == "COMPLETE"
    site.carry_out(FIRST, "running", "complete")  # whoever is at work goes on to the end
    assert site.runner.done == 3


def test_all_are_those_that_listen_when_it_is_assigned(site: Operations) -> None:
    site.lose(THIRD)
    site.assign("run", 0)
    assert site.runner.assignment is not None
    assert site.runner.assignment.needed == 3
    site.find(THIRD)
    with pytest.raises(Rejection, match="enough-peers"):
        site.carry_out(THIRD, "enrolled")
    site.carry_out(FIRST)
    site.carry_out(SECOND)
    assert site.state == "COMPLETE"


def test_a_task_that_nobody_could_carry_out_is_not_assigned_to_all(site: Operations) -> None:
    for uid in (FIRST, SECOND, THIRD):
        site.send(uid, Listen(0))
    with pytest.raises(Rejection, match=r"no-peers: no SWOP with SL\+ML pairs .* listens to taskrunner"):
        site.assign("run", 0)
    for uid in (FIRST, SECOND, THIRD):
        site.lose(uid)
    with pytest.raises(Rejection, match="no-peers: no SWOP that could carry out task build"):
        site.assign("build", 0)


def test_a_swop_without_pairs_has_no_part_in_a_run_by_all(site: Operations) -> None:
    site.send(FIRST, Listen(0))
    site.assign("run", 0)
    assert [peer.invited for peer in site.runner.peers] == [False, True, True]


def test_more_than_there_are_waits_for_others(site: Operations) -> None:
    site.assign("run", 9)
    for uid in (FIRST, SECOND, THIRD):
        site.carry_out(uid)
    assert (site.state, site.runner.short) == ("RUNNING", 5)


def test_whose_approval_is_missing_takes_nobody_s_place(site: Operations) -> None:
    site.assign("build", 1)
    site.report(FIRST, "awaiting-approval", digest="d" * 64)
    assert (site.state, site.runner.short, site.peer(FIRST).digest) == ("ASSIGNED", 1, "d" * 64)
    site.carry_out(SECOND, "enrolled")
    with pytest.raises(Rejection, match="enough-peers"):
        site.carry_out(FIRST, "enrolled")


def test_a_site_that_asks_again_gives_its_place_back(site: Operations) -> None:
    site.assign("build", 1)
    site.carry_out(FIRST, "enrolled")
    site.report(FIRST, "awaiting-approval", digest="d" * 64)
    site.carry_out(SECOND)
    assert site.state == "COMPLETE"


def test_a_site_that_rejects_was_asked_in_vain_where_others_can_take_its_place(site: Operations) -> None:
    site.assign("build", 2)
    site.report(FIRST, "awaiting-approval", digest="d" * 64)
    site.report(FIRST, "failed", reason="rejected")
    assert site.state == "ASSIGNED"
    site.carry_out(SECOND)
    site.carry_out(THIRD)
    assert site.state == "COMPLETE"


def test_a_site_that_rejects_ends_what_was_assigned_to_all(site: Operations) -> None:
    site.assign("build", 0).report(FIRST, "failed", reason="rejected")
    assert site.state == "ERROR"


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
    site.assign("build", 2).carry_out(FIRST, "enrolled", "running")
    with pytest.raises(Rejection, match=match):
        site.send(by, body)


def test_a_lost_swop_that_has_not_enrolled_does_not_go_on(site: Operations) -> None:
    site.assign("build", 1)
    site.lose(FIRST)
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
