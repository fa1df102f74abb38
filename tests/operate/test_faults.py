"""What may go wrong with tasks, by PROCESS: SWOPs killed at work, too few pairs, tasks of others."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.held import files_held
from support.operating import Operator
from support.processes import Processes
from support.shells import Shell
from support.swarm import Swarm, identity_options
from support.swops import Operations, only, operations, script
from swarmlearning.choices import DEFAULT_TASKRUNNER as RUNNER
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.contracts.taskrunner import Peer
from swarmlearning.taskfiles.definition import Definition, MakeSwarmUserContent, MakeUserContainer, Operation, RunSwarm

NODES = ["SN-1", "SL-1", "SL-2", "SL-3", "SWOP-1", "SWOP-2", "SWCI-1"]
WHEEL = "held-1.0-py3-none-any.whl"


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    with Processes(tmp_path) as processes:
        made = Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", NODES))
        assert made.start_sn().ready
        yield made


@pytest.fixture
def ops(swarm: Swarm) -> Iterator[Operations]:
    with operations(swarm) as made:
        yield made


def write_wheel(folder: Path) -> None:
    """A package with one module, `held`."""
    folder.mkdir()
    info = "held-1.0.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("held.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: held\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"held.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@pytest.mark.parametrize("kind", ["build", "content"])
def test_a_swop_that_is_killed_while_it_makes_something_makes_it_when_it_is_back(
    ops: Operations, tmp_path: Path, kind: str
) -> None:
    write_wheel(tmp_path / "served")
    swop = ops.start("SWOP-1", ["SL-1"])
    with files_held(tmp_path / "served") as held:
        url = f"http://{held.address}/{WHEEL}"
        what: dict[str, Definition] = {
            "build": MakeUserContainer(("FROM python:3.11", f"RUN pip install {url}")),
            "content": MakeSwarmUserContent("BUILDCONTENT", (Operation("DOWNLOAD", url),)),
        }
        ops.task("made", what[kind], outcome="made")
        ops.assign("made", 1)
        held.wait()
        swop.kill()
        ops.mine(1, lambda peer: peer.state == "lost")
        held.release()
        ops.start("SWOP-1", ["SL-1"])
        done = ops.until(lambda runner: runner.state == "COMPLETE")
    assert only(done).attempt == 1
    made = "held.py" if kind == "build" else WHEEL
    assert list((tmp_path / "SWOP-1" / "data" / "process").rglob(made))


def test_a_task_for_which_there_are_too_few_pairs_waits_and_says_for_what(
    swarm: Swarm, ops: Operations, tmp_path: Path
) -> None:
    ops.start("SWOP-1", ["SL-1"])
    ops.task("train", script("--min-peers", "3", "--rounds", "1", working_dir=tmp_path))
    (tmp_path / "usr").mkdir()
    identity = identity_options(swarm.identities["SWCI-1"])
    with Shell({"usr-dir": tmp_path / "usr", "data-dir": tmp_path / "swci", **identity}) as shell:
        shell.does(f"CREATE CONTEXT test WITH IP 127.0.0.1 {swarm.port}")
        shell.does("SWITCH CONTEXT test")
        shell.does(f"ASSIGN TASK train TO {RUNNER} WITH 3 PEERS")
        shell.begin(f"WAIT FOR TASKRUNNER {RUNNER}")
        shell.until("waits for 2 more SL-ML pairs")
        ops.start("SWOP-2", ["SL-2", "SL-3"])
        assert "TASK_STATE : COMPLETE" in shell.finish()


def test_a_task_of_another_organisation_waits_for_the_approval_of_the_site(
    swarm: Swarm, ops: Operations, tmp_path: Path
) -> None:
    swarm.identities |= make_workspace(tmp_path / "cert", ["SWCI-2"], ca_name="CA-2")
    authority = Workspace(tmp_path / "cert").authority_certificate("CA-2")
    Operator(swarm).does("organisation", "admit", "ca-2", authority)
    ops.start("SWOP-1", ["SL-1"])
    foreign = Operations(swarm, "SWCI-2")
    foreign.task("foreign", RunSwarm("-c 'exit 0'", "/bin/sh", "/tmp", (("SWARM_LOOPBACK", "True"),)))
    foreign.assign("foreign", 1)
    waiting = ops.mine(1, asks)
    assert "ca-2" in ops.command("SWOP-1", "list")
    ops.command("SWOP-1", "approve", waiting.digest)
    assert ops.over(1).state == "COMPLETE"


def asks(peer: Peer) -> bool:
    return peer.state == "awaiting-approval"
