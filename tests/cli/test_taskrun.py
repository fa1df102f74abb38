"""`swarm task run` on a ledger in memory, with SWOPs that report there, in virtual time."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from support.operations import PAIRS, RUNNER, Operations
from support.scripted_session import Event, LedgerOperator
from support.virtual_time import run_in_virtual_time
from swarmlearning.cli.taskrun import Order, TaskFailedError, read_files, run_order
from swarmlearning.errors import UserError
from swarmlearning.ledger.bodies import (
    AbortTaskrunner,
    AppendTaskBody,
    Assign,
    AssignTarget,
    Body,
    CreateTask,
    Reject,
    ResetTaskrunner,
    SetPolicy,
    Sign,
)
from swarmlearning.ledger.contracts import network, tasks
from swarmlearning.operator.acts import ActError
from swarmlearning.operator.session import Operator
from swarmlearning.operator.taskrunners import LOST_SECONDS

BUILD = """\
Name: build
TaskType: MAKE_USER_CONTAINER
Author: somebody
Prereq: ROOTTASK
Outcome: environment
Body:
  BuildContext: null
  BuildType: INLINE
  BuildSteps: [FROM python, RUN pip install numpy]
"""
RUN = """\
Name: run
TaskType: RUN_SWARM
Author: somebody
Prereq: build
Outcome: model
Body:
  Command: train.py
  Entrypoint: python3
  WorkingDir: /tmp
  Envvars: null
  PrivateContent: null
  SharedContent: null
"""


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "build.yaml", tmp_path / "run.yaml"]
    for path, text in zip(paths, (BUILD, RUN), strict=True):
        path.write_text(text)
    return paths


@pytest.fixture
def site() -> Operations:
    made = Operations()
    made.listen()
    return made


def carry_out(site: Operations, body: Body) -> None:
    """The SWOPs carry out at once what is assigned."""
    if isinstance(body, Assign | AssignTarget):
        for peer in site.runner.peers:
            if site.runner.short or peer.invited:
                site.carry_out(peer.uid)


def told(
    site: Operations,
    files: list[Path],
    *events: Event,
    peers: int = 2,
    target: str = "",
    after: Callable[[Operations, Body], None] = carry_out,
) -> list[str]:
    """What the command tells while these events happen."""
    lines: list[str] = []

    async def run() -> None:
        operator = LedgerOperator(site, "op-1")
        operator.after = after
        happening = asyncio.create_task(happen(operator))
        order = Order(tuple(read_files(files)), peers, target, 0, RUNNER)
        await run_order(cast(Operator, operator), order, lines.append)
        happening.cancel()

    async def happen(operator: LedgerOperator) -> None:
        for at, event in events:
            await asyncio.sleep(at - asyncio.get_running_loop().time())
            await operator.happens(event)

    run_in_virtual_time(run())
    return lines


def one_after_the_other() -> list[Event]:
    """The SWOPs carry out their parts, a second each."""

    def part(uid: str) -> Callable[[Operations], None]:
        return lambda site: site.carry_out(uid)

    return [(float(at), part(uid)) for at, uid in enumerate(PAIRS, 2)]


def nothing(site: Operations, body: Body) -> None:
    """The SWOPs do nothing by themselves."""


def test_files_are_made_final_and_carried_out_one_after_the_other(site: Operations, files: list[Path]) -> None:
    lines = told(site, files)
    assert lines[:3] == [
        "task build is final",
        "task run is final",
        f"task build is assigned to all that listen of taskrunner {RUNNER}",
    ]
    assert f"task run is assigned to 2 pairs of taskrunner {RUNNER}" in lines
    assert "COMPLETE: task run assigned by org-1, 3 of 2 pairs complete, 0 at work, 0 failed" in lines
    assert [task.name for task in tasks.chain(site.ledger.chain.world, "run")] == ["build", "run"]


def test_equal_files_are_used_again_and_the_taskrunner_is_reset(site: Operations, files: list[Path]) -> None:
    told(site, files)
    lines = told(site, files)
    assert lines[:2] == ["task build is on the ledger already", "task run is on the ledger already"]
    assert (site.state, site.runner.serial) == ("COMPLETE", 4)


def test_a_draft_of_that_name_is_made_anew(site: Operations, files: list[Path]) -> None:
    site.send("op-1", CreateTask("PULL_IMAGE", "x", "ROOTTASK", "image"), "build")
    site.send("op-1", AppendTaskBody(1, ("half",)), "build")
    told(site, files)
    assert tasks.chain(site.ledger.chain.world, "run")[0].type == "MAKE_USER_CONTAINER"


def test_another_final_task_of_that_name_is_refused(site: Operations, files: list[Path]) -> None:
    site.make("build", "PULL_IMAGE")
    with pytest.raises(ActError, match="there is another task build, which is final; give the task in the file"):
        told(site, files)


def test_what_is_carried_out_already_is_waited_for(site: Operations, files: list[Path]) -> None:
    told(site, files[:1])
    with pytest.raises(TaskFailedError, match="was reset before the task was complete"):
        told(site, files, (5.0, lambda made: made.send("op-1", ResetTaskrunner())), after=nothing)
    site.assign("build", 3)
    lines = told(site, files[:1], *one_after_the_other(), after=nothing)
    assert f"task build is being carried out by taskrunner {RUNNER} already" in lines
    assert site.runner.serial == 3


def test_another_task_that_is_carried_out_is_not_disturbed(site: Operations, files: list[Path]) -> None:
    site.make("other", "PULL_IMAGE")
    site.assign("other", 1)
    with pytest.raises(TaskFailedError, match=r"carries out another task, other; wait for its end .*--taskrunner NAME"):
        told(site, files)


def test_whose_approval_is_missing_is_told(site: Operations, files: list[Path]) -> None:
    def ask(made: Operations) -> None:
        made.report("swop-3", "awaiting-approval", digest="d" * 64)

    lines = told(site, files[:1], (1.0, ask), *one_after_the_other(), peers=0, after=nothing)
    assert any(
        f"approval of swop-3 (org-2), whose operator gives it there by: swarm swop approve {'d' * 64}" in line
        for line in lines
    )


def test_a_swop_that_is_lost_for_a_moment_does_not_end_the_command(site: Operations, files: list[Path]) -> None:
    told(site, files[:1])
    events: list[Event] = [
        (1.0, lambda made: made.carry_out("swop-1", "enrolled", "running")),
        (2.0, lambda made: made.lose("swop-1")),
        (LOST_SECONDS, lambda made: made.find("swop-1")),
        (LOST_SECONDS + 1, lambda made: made.carry_out("swop-1", "running", "complete")),
    ]
    lines = told(site, files[:1], *events, peers=1, after=nothing)
    assert any(line.startswith("ERROR: task build") for line in lines)
    assert lines[-2].startswith("COMPLETE: task build")


def test_a_swop_that_is_lost_for_good_does(site: Operations, files: list[Path]) -> None:
    events: list[Event] = [
        (1.0, lambda made: made.carry_out("swop-1", "enrolled", "running")),
        (2.0, lambda made: made.lose("swop-1")),
    ]
    with pytest.raises(TaskFailedError, match=r"task build has failed: swop-1 .*lease.*swarm taskrunner assign build"):
        told(site, files[:1], *events, peers=1, after=nothing)


@pytest.mark.parametrize(
    ("event", "match"),
    [
        (lambda made: made.carry_out("swop-1", "enrolled", "failed"), "task build has failed: swop-1 "),
        (lambda made: made.send("op-1", AbortTaskrunner()), "task build has failed: "),
    ],
)
def test_a_failure_ends_the_command_with_its_reason(
    site: Operations, files: list[Path], event: Callable[[Operations], None], match: str
) -> None:
    with pytest.raises(TaskFailedError, match=match):
        told(site, files[:1], (1.0, event), peers=1, after=nothing)


def with_policy(site: Operations) -> Operations:
    for operator in ("op-1", "op-2"):
        site.send(operator, SetPolicy("assign-tasks", "all"), network.CONTRACT)
    return site


def test_an_assignment_that_others_have_to_sign_waits_for_them(site: Operations, files: list[Path]) -> None:
    def sign(made: Operations) -> None:
        made.send("op-2", Sign(network.proposals(made.ledger.chain.world)[-1].number), network.CONTRACT)

    lines = told(with_policy(site), files[:1], (1.0, sign), *one_after_the_other(), peers=3, after=nothing)
    assert any(
        line.startswith(f"proposal 2 (assign-tasks build to {RUNNER}) needs all organisations") for line in lines
    )
    assert site.state == "COMPLETE"


def test_an_assignment_that_others_reject_ends_the_command(site: Operations, files: list[Path]) -> None:
    def reject(made: Operations) -> None:
        made.send("op-2", Reject(network.proposals(made.ledger.chain.world)[-1].number), network.CONTRACT)

    with pytest.raises(TaskFailedError, match="task build was not assigned: see `swarm proposal list`"):
        told(with_policy(site), files[:1], (1.0, reject), peers=1, after=nothing)


def test_a_target_carries_out_all_of_the_files(site: Operations, files: list[Path]) -> None:
    lines = told(site, files, target="swop-2")
    assert [line for line in lines if "is assigned to swop-2" in line] == [
        "task build is assigned to swop-2",
        "task run is assigned to swop-2",
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml cannot be read: No such file"):
        read_files([tmp_path / "none.yaml"])
