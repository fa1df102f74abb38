"""`swarm task run` and its companions, by real processes: an SN, a SWOP, and the pairs that it starts."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.certs import make_workspace
from support.operating import Operator
from support.processes import Processes
from support.swarm import Swarm
from support.swops import Operations, operations, script
from swarmlearning.taskfiles.definition import RunSwarm

NODES = ["SN-1", "SL-1", "SL-2", "SWOP-1", "SWCI-1", "SWCI-2"]


@pytest.fixture
def ops(processes: Processes, tmp_path: Path) -> Iterator[Operations]:
    swarm = Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", NODES))
    assert swarm.start_sn().ready
    with operations(swarm) as made:
        yield made


def run_file(folder: Path, name: str, what: RunSwarm) -> Path:
    content = {
        "Name": name,
        "TaskType": "RUN_SWARM",
        "Author": "somebody",
        "Prereq": "ROOTTASK",
        "Outcome": "model",
        "Body": {
            "Command": what.command,
            "Entrypoint": what.entrypoint,
            "WorkingDir": what.working_dir,
            "Envvars": [{name: value} for name, value in what.environment] or None,
            "PrivateContent": None,
            "SharedContent": None,
        },
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_file_is_trained_by_two_pairs_and_run_and_task_are_joined(ops: Operations, tmp_path: Path) -> None:
    operator = Operator(ops.swarm)
    path = run_file(tmp_path, "train", script("--min-peers", "2", working_dir=tmp_path))
    ops.start("SWOP-1", ["SL-1", "SL-2"])
    output = operator.does("task", "run", path, "--peers", "2")
    assert "task train is final" in output
    assert "COMPLETE: task train assigned by ca-1, 2 of 2 pairs complete" in output
    shown = json.loads(operator.does("taskrunner", "show", "defaulttaskbb.taskdb.sml.hpe", "--json"))
    assert [training["contract"] for training in shown["trainings"]] == ["defaultbb.cqdb.sml.hpe"]
    assert [pair["state"] for pair in shown["peers"][0]["spawned"]] == ["complete", "complete"]
    assert "RUN_SWARM" in operator.does("task", "list")
    assert "Entrypoint" in operator.does("task", "show", "train")


def test_a_script_that_fails_ends_the_command_with_its_reason(ops: Operations, tmp_path: Path) -> None:
    operator = Operator(ops.swarm)
    path = run_file(tmp_path, "fails", RunSwarm("-c 'exit 3'", "/bin/sh", "/tmp"))
    ops.start("SWOP-1", ["SL-1"])
    output = operator.fails("task", "run", path, "--all")
    assert "the ML process ended with an error (exit code 3)" in output
    operator.does("taskrunner", "reset", "defaulttaskbb.taskdb.sml.hpe")
    assert "IDLE, 1 SWOP listening" in operator.does("taskrunner", "list")


def test_drafts_taskrunners_and_what_is_refused(ops: Operations, tmp_path: Path) -> None:
    operator = Operator(ops.swarm)
    path = run_file(tmp_path, "draft", RunSwarm("-c 'exit 0'", "/bin/sh", "/tmp"))
    assert "task draft is created, a draft with" in operator.does("task", "create", path)
    assert "task draft is a draft; finalize it first" in operator.fails(
        "taskrunner", "assign", "draft", "defaulttaskbb.taskdb.sml.hpe", "--all"
    )
    operator.does("task", "finalize", "draft")
    assert "task draft is final: it stays" in operator.fails("task", "delete", "draft")
    operator.does("taskrunner", "create", "second")
    assert "there is a taskrunner second already" in operator.fails("taskrunner", "create", "second")
    assert "no-peers" in operator.fails("taskrunner", "assign", "draft", "second", "--all")
    assert "by one of --peers NUMBER, --all and --target SWOP" in operator.fails("task", "run", path)
    assert "there is nothing to abort" in operator.fails("taskrunner", "abort", "second")
