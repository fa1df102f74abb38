"""Tasks on the ledger: drafts and final ones, whose they are, and what their digests cover."""

import pytest

from support.operations import Operations
from swarmlearning.choices import ROOT_TASK
from swarmlearning.ledger.bodies import AppendTaskBody, Body, CreateTask, DeleteTask, FinalizeTask, Quotas, SetQuotas
from swarmlearning.ledger.contracts import network, tasks
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.tasks import Task
from swarmlearning.ledger.contracts.tasks.bodies import MAX_LINES
from swarmlearning.ledger.contracts.tasks.contract import LINES_A_TASK


@pytest.fixture
def made() -> Operations:
    """A final build task, its run task as a draft with two lines, and content as a final task."""
    site = Operations()
    site.make("build", "MAKE_USER_CONTAINER")
    site.make("content", "MAKE_SWARM_USER_CONTENT")
    site.send("op-1", CreateTask("RUN_SWARM", "somebody", "build", "model"), "run")
    site.send("op-1", AppendTaskBody(1, ("one", "two")), "run")
    return site


def found(site: Operations, name: str) -> Task:
    task = tasks.task(site.ledger.chain.world, name)
    assert task is not None
    return task


def test_the_root_task_is_there_from_the_start_and_nobody_has_made_it() -> None:
    root = found(Operations(), ROOT_TASK)
    assert (root.type, root.author, root.final, root.organisation) == ("ROOT_TASK", "HPE", True, "")


def test_a_draft_states_who_has_made_it_whatever_its_author_field_says(made: Operations) -> None:
    run = found(made, "run")
    assert (run.state, run.author, run.by, run.organisation) == ("draft", "somebody", "op-1", "org-1")


def test_lines_are_appended_and_overwritten(made: Operations) -> None:
    made.send("op-1", AppendTaskBody(2, ("TWO", "three", "", "five")), "run")
    made.send("op-1", AppendTaskBody(1, ("ONE",)), "run")
    assert tasks.lines(made.ledger.chain.world, "run") == ("ONE", "TWO", "three", "", "five")


def test_a_final_task_names_its_prerequisites_in_the_order_in_which_they_are_carried_out(made: Operations) -> None:
    made.send("op-1", FinalizeTask(), "run")
    assert [task.name for task in tasks.chain(made.ledger.chain.world, "run")] == ["build", "run"]
    assert tasks.chain(made.ledger.chain.world, ROOT_TASK) == ()


def test_a_draft_that_was_deleted_leaves_its_name_free(made: Operations) -> None:
    made.send("op-1", DeleteTask(), "run")
    assert tasks.task(made.ledger.chain.world, "run") is None
    assert "run" not in [task.name for task in tasks.tasks(made.ledger.chain.world)]
    made.send("op-2", CreateTask("PULL_IMAGE", "x", ROOT_TASK, "image"), "run")
    assert (found(made, "run").organisation, found(made, "run").lines) == ("org-2", ())


@pytest.mark.parametrize(
    ("by", "name", "body", "match"),
    [
        ("op-1", "run", CreateTask("RUN_SWARM", "a", "build", "o"), r"created-already: there is a task run .*org-1"),
        ("op-2", "build", CreateTask("RUN_SWARM", "a", "build", "o"), "created-already: .*take another name"),
        ("op-1", ROOT_TASK, CreateTask("RUN_SWARM", "a", "build", "o"), "created-already: .*there from the start"),
        ("op-1", "run", AppendTaskBody(4, ("x",)), "no-line: task run has 2 lines: the next is 3, not 4"),
        ("op-1", "none", AppendTaskBody(1, ("x",)), "no-task: there is no task none"),
        ("op-1", "build", AppendTaskBody(1, ("x",)), "final-already: task build is final"),
        ("op-1", "build", FinalizeTask(), "final-already: task build is final"),
        ("op-1", "build", DeleteTask(), "final-already: task build is final"),
        ("op-1", ROOT_TASK, DeleteTask(), "final-already"),
        ("op-1", "none", FinalizeTask(), "no-task: there is no task none"),
        ("op-2", "run", AppendTaskBody(1, ("x",)), "other-organisation: task run is a draft of organisation org-1"),
        ("op-2", "run", FinalizeTask(), "other-organisation"),
        ("op-2", "run", DeleteTask(), "other-organisation"),
        ("mate", "run", AppendTaskBody(1, ("x",)), "other-subject: task run is a draft by .*who alone completes it"),
        ("mate", "run", FinalizeTask(), "other-subject"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    made: Operations, by: str, name: str, body: Body, match: str
) -> None:
    with pytest.raises(Rejection, match=match):
        made.send(by, body, name)


def test_an_operator_deletes_the_draft_of_another_one_of_its_organisation(made: Operations) -> None:
    made.send("mate", DeleteTask(), "run")
    assert tasks.task(made.ledger.chain.world, "run") is None


@pytest.mark.parametrize(
    ("kind", "prerequisite", "match"),
    [
        ("RUN_SWARM", "build", ""),
        ("RUN_SWARM", ROOT_TASK, ""),
        (
            "RUN_SWARM",
            "content",
            "wrong-prerequisite: .* content of type MAKE_SWARM_USER_CONTENT, which makes no",
        ),
        ("RUN_SWARM", "run", "not-final: prerequisite run of task next is a draft"),
        ("RUN_SWARM", "none", "no-task: task next has the prerequisite none, and there is no such task"),
        ("RUN_SWARM", "next", "not-final"),
        ("MAKE_USER_CONTAINER", "content", ""),
        ("PULL_IMAGE", "build", ""),
    ],
)
def test_a_task_is_finalized_once_its_prerequisite_is_final_and_fits(
    made: Operations, kind: str, prerequisite: str, match: str
) -> None:
    if not match:
        made.make("next", kind, prerequisite)
        assert found(made, "next").final
        return
    with pytest.raises(Rejection, match=match):
        made.make("next", kind, prerequisite)
    assert not found(made, "next").final


def test_a_task_without_body_is_not_finalized(made: Operations) -> None:
    made.send("op-1", CreateTask("PULL_IMAGE", "x", ROOT_TASK, "image"), "empty")
    with pytest.raises(Rejection, match="no-line: task empty has no body yet"):
        made.send("op-1", FinalizeTask(), "empty")


def test_a_digest_covers_what_will_be_done_and_neither_name_nor_author() -> None:
    def digest(kind: str = "PULL_IMAGE", outcome: str = "o", line: str = "x", before: str = "b", by: str = "a") -> str:
        site = Operations()
        site.make("b", "MAKE_USER_CONTAINER")
        site.make("c", "PULL_IMAGE")
        site.send("op-1", CreateTask(kind, by, before, outcome), f"task by {by}")  # type: ignore[arg-type]
        site.send("op-1", AppendTaskBody(1, (line,)), f"task by {by}")
        site.send("op-1", FinalizeTask(), f"task by {by}")
        return found(site, f"task by {by}").digest

    plain = digest()
    assert digest(by="else") == plain
    others = {digest(kind="RUN_SWARM"), digest(outcome="p"), digest(line="y"), digest(before="c")}
    assert len(others) == 4
    assert plain not in others


def test_a_body_has_a_bound() -> None:
    site = Operations()
    site.send("op-1", CreateTask("PULL_IMAGE", "x", ROOT_TASK, "image"), "long")
    for index in range(1, MAX_LINES, 4):
        site.send("op-1", AppendTaskBody(index, ("x",) * 4), "long")
    with pytest.raises(Rejection, match=f"too-many: task long would have {MAX_LINES + 1} lines"):
        site.send("op-1", AppendTaskBody(MAX_LINES, ("x", "y")), "long")


def test_an_organisation_makes_as_many_tasks_as_its_quota_allows_and_deleted_ones_do_not_count(
    made: Operations,
) -> None:
    few = Quotas(tasks=3)
    made.send("op-1", SetQuotas("org-1", few), network.CONTRACT)
    made.send("op-2", SetQuotas("org-1", few), network.CONTRACT)
    with pytest.raises(Rejection, match="too-many: organisation org-1 has 3 tasks, its quota of tasks is 3"):
        made.send("op-1", CreateTask("PULL_IMAGE", "x", ROOT_TASK, "image"), "more")
    made.send("op-2", CreateTask("PULL_IMAGE", "x", ROOT_TASK, "image"), "of another")
    made.send("op-1", DeleteTask(), "run")
    made.send("op-1", CreateTask("PULL_IMAGE", "x", ROOT_TASK, "image"), "more")


def test_the_lines_of_an_organisations_tasks_are_bounded_together(made: Operations) -> None:
    made.send("op-2", SetQuotas("org-1", Quotas(tasks=8)), network.CONTRACT)
    made.send("op-1", SetQuotas("org-1", Quotas(tasks=8)), network.CONTRACT)
    bound = 8 * LINES_A_TASK + MAX_LINES
    present = sum(len(each.lines) for each in tasks.tasks(made.ledger.chain.world) if each.organisation == "org-1")

    def fill(name: str, lines: int) -> None:
        made.send("op-1", CreateTask("PULL_IMAGE", "x", ROOT_TASK, "image"), name)
        for index in range(1, lines + 1, 4):
            made.send("op-1", AppendTaskBody(index, ("x",) * min(4, lines + 1 - index)), name)

    fill("long", MAX_LINES)
    fill("short", bound - MAX_LINES - present)
    with pytest.raises(Rejection, match=f"too-many: the tasks of organisation org-1 have {bound} lines"):
        fill("one more", 1)
    made.send("op-1", AppendTaskBody(1, ("y",)), "long")
    made.send("op-1", DeleteTask(), "short")
    made.send("op-1", AppendTaskBody(1, ("y",)), "one more")
