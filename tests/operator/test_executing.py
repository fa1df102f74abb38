"""Executing a task: what it uses is emptied first, and nothing is done where that is refused."""

import pytest

from support.network import session
from support.operations import CA_1, RUNNER, Operations, listening
from swarmlearning.operator.acts import ActError
from swarmlearning.operator.executing import Execution, steps

CONTRACT = "defaultbb.cqdb.sml.hpe"


def commands(site: Operations, wanted: Execution) -> list[str]:
    return [" ".join(step.command) for step in steps(site.ledger.chain.world, wanted)]


def carried_out(site: Operations, wanted: Execution) -> list[str]:
    """Sends the acts of all steps, and returns what each has done."""
    told = []
    for step in steps(site.ledger.chain.world, wanted):
        act = step.compose(site.ledger.chain.world)
        site.send("op-1", act.body, act.contract)
        told.append(act.done)
    return told


@pytest.fixture
def busy() -> Operations:
    """A task is under way, and its site trains."""
    site = listening()
    site.assign("run", 1)
    site.ledger.join("sl-9", "SL", CA_1)
    site.send("sl-9", session(1), CONTRACT)
    return site


def test_where_nothing_is_in_the_way_it_is_only_assigned() -> None:
    site = listening()
    assert commands(site, Execution("run", RUNNER, CONTRACT)) == [f"swarm taskrunner assign run {RUNNER} --all"]
    assert carried_out(site, Execution("run", RUNNER, CONTRACT, peers=2)) == [
        f"task run is assigned to 2 pairs of taskrunner {RUNNER}"
    ]
    assert site.state == "ASSIGNED"


def test_what_it_uses_is_emptied_before(busy: Operations) -> None:
    wanted = Execution("build", RUNNER, CONTRACT, peers=1, forced=True)
    assert commands(busy, wanted) == [
        f"swarm contract reset {CONTRACT} --force",
        f"swarm taskrunner reset {RUNNER}",
        f"swarm taskrunner assign build {RUNNER} --peers 1",
    ]
    assert len(carried_out(busy, wanted)) == 3
    assert busy.runner.assignment is not None
    assert busy.runner.assignment.task == "build"


def test_a_training_that_is_not_over_is_ended_only_on_demand(busy: Operations) -> None:
    with pytest.raises(ActError, match="is not over"):
        steps(busy.ledger.chain.world, Execution("build", RUNNER, CONTRACT))


def test_a_target_joins_what_is_under_way_or_begins_anew(busy: Operations) -> None:
    joining = Execution("run", RUNNER, CONTRACT, target="swop-3", anew=False)
    assert commands(busy, joining) == [f"swarm taskrunner assign run {RUNNER} --target swop-3"]
    assert carried_out(busy, joining) == ["task run is assigned to swop-3"]
    assert [each.split()[2] for each in commands(busy, joining._replace(anew=True, forced=True))] == [
        *("reset", "reset", "assign")
    ]


@pytest.mark.parametrize(
    ("task", "runner", "message"), [("x", RUNNER, "no task 'x'"), ("run", "y", "no taskrunner 'y'")]
)
def test_what_there_is_not_is_refused(task: str, runner: str, message: str) -> None:
    with pytest.raises(ActError, match=message):
        steps(listening().ledger.chain.world, Execution(task, runner))
