"""Tasks and taskrunners as people see them, and the trainings that their pairs take part in."""

import msgspec
import pytest

from support.network import session
from support.operations import CA_1, Operations, listening
from swarmlearning.ledger.bodies import (
    AbortTaskrunner,
    AppendTaskBody,
    Assign,
    CreateTask,
    FinalizeTask,
    OpenSession,
    Origin,
    Pair,
)
from swarmlearning.ledger.contracts import tasks
from swarmlearning.views.taskrender import progress_lines, runner_text
from swarmlearning.views.taskrunners import peer_views
from swarmlearning.views.tasks import RunnerView, joined_trainings, runner_view, task_view, task_views

CONTRACT = "defaultbb.cqdb.sml.hpe"


@pytest.fixture
def site() -> Operations:
    """The pair of swop-1 runs, its SL is sl-9."""
    made = listening()
    made.ledger.join("sl-9", "SL", CA_1)
    made.assign("run", 1).carry_out("swop-1", "enrolled")
    made.report("swop-1", "running", pairs=(Pair(0, "sl-9", "running"),))
    return made


def opened(site: Operations, **origin: object) -> OpenSession:
    """A session that states this task."""
    assert site.runner.assignment is not None
    values: dict[str, object] = {
        "taskrunner": site.runner.name,
        "digest": site.runner.assignment.digest,
        "serial": site.runner.serial,
        "attempt": 1,
    }
    return session(1, origin=Origin(**(values | origin)))  # type: ignore[arg-type]


def view(site: Operations) -> RunnerView:
    return runner_view(site.ledger.chain.world, site.runner)


def test_a_training_is_joined_to_the_task_for_which_its_site_was_started(site: Operations) -> None:
    site.send("sl-9", opened(site), CONTRACT)
    (found,) = joined_trainings(site.ledger.chain.world, site.runner)
    assert (found.contract, found.run) == (CONTRACT, 1)
    assert progress_lines(view(site))[-1].startswith(f"  contract {CONTRACT}: round 0")


@pytest.mark.parametrize("origin", [{"serial": 2}, {"taskrunner": "other"}])
def test_the_training_of_another_assignment_is_not_joined(site: Operations, origin: dict[str, object]) -> None:
    site.send("sl-9", opened(site, **origin), CONTRACT)
    assert joined_trainings(site.ledger.chain.world, site.runner) == []


def test_a_site_s_own_statement_joins_nothing_where_no_swop_has_started_it(site: Operations) -> None:
    site.ledger.join("sl-8", "SL", CA_1)
    site.send("sl-8", opened(site), CONTRACT)
    assert joined_trainings(site.ledger.chain.world, site.runner) == []


def test_a_taskrunner_in_one_line() -> None:
    site = listening()
    assert runner_text(view(site)) == "IDLE, 3 SWOPs listening"
    site.assign("run", 1).carry_out("swop-1")
    assert runner_text(view(site)) == "COMPLETE: task run assigned by org-1, 1 of 1 pairs complete, 0 at work, 0 failed"


def test_progress_names_those_that_have_to_do_with_the_task() -> None:
    site = listening()
    site.assign("run", 3).carry_out("swop-1", "enrolled")
    site.report("swop-1", "failed", reason="ml-exit", exit_code=3, pairs=(Pair(0, "sl-9", "failed", "ml-exit", 3),))
    site.report("swop-3", "awaiting-approval", digest="d" * 64)
    first, *others = progress_lines(view(site))
    assert first.startswith("ERROR: task run assigned by org-1, 0 of 3 pairs complete, 0 at work, 1 failed")
    assert others == [
        "  swop-1 of org-1 (1 pair): failed, the ML process ended with an error (exit code 3)",
        "    SL sl-9: failed, the ML process ended with an error (exit code 3)",
        f"  swop-3 of org-2 (1 pair): awaiting-approval, waits for its operator: swarm swop approve {'d' * 64}",
    ]


def test_pairs_of_an_aborted_task_are_not_at_work(site: Operations) -> None:
    site.send("op-1", AbortTaskrunner())
    (pair,) = peer_views(site.ledger.chain.world, site.runner)[0].spawned
    assert (pair.state, pair.description) == ("failed", "an operator has aborted the taskrunner")


def test_whoever_takes_the_uid_of_a_pair_that_never_registered_joins_nothing() -> None:
    site = listening()
    site.assign("run", 1).carry_out("swop-3", "enrolled")  # of another organisation than sl-9
    site.report("swop-3", "failed", reason="no-start", pairs=(Pair(0, "sl-9", "failed", "no-start"),))
    site.ledger.join("sl-9", "SL", CA_1)
    site.send("sl-9", opened(site), CONTRACT)
    assert joined_trainings(site.ledger.chain.world, site.runner) == []


def test_every_task_has_a_view_that_is_safe_to_show() -> None:
    world = listening().ledger.chain.world
    assert [each.name for each in task_views(world)] == ["ROOTTASK", "build", "run"]
    hostile = msgspec.structs.replace(tasks.ROOT, name="a\u202eb", lines=("x" * 79 + "\u2067",))
    shown = task_view(hostile)
    assert (shown.name, shown.lines) == ("a\\u202eb", ("x" * 79 + "\\u2067",))


def test_a_task_and_its_assignment_name_the_persons_for_whom_they_were_made() -> None:
    made = listening()
    made.ledger.send("op-1", CreateTask("RUN_SWARM", "x", "ROOTTASK", "y"), "new", on_behalf_of="Dr. Ada")
    made.ledger.send("op-1", AppendTaskBody(1, ("Command : x",)), "new")
    made.ledger.send("op-1", FinalizeTask(), "new")
    made.ledger.send("op-1", Assign("new", 1), made.runner.name, on_behalf_of="Bob")
    [view] = [each for each in task_views(made.ledger.chain.world) if each.name == "new"]
    assert view.on_behalf_of == "Dr. Ada"
    assert "task new assigned by org-1 (for Bob), 0 of 1 pairs" in runner_text(
        runner_view(made.ledger.chain.world, made.runner)
    )
