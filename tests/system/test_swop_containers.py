"""A SWOP carries out tasks of the ledger with real containers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import original_client
from support.certs import make_workspace
from support.containers import PYTHON, PYTHON_IMAGE, Podman, python_environment, python_podman
from support.processes import Process, Processes
from support.swarm import ML, Swarm
from support.swops import Operations, in_containers, only, operations
from support.tools import lacks, needs
from swarmlearning.ledger.contracts.taskrunner import Peer
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.taskfiles.definition import MakeUserContainer, RunSwarm

NODES = ["SN-1", "SL-1", "SL-2", "SWOP-1", "SWCI-1"]
BUILD = MakeUserContainer((f"FROM {PYTHON_IMAGE}", "ENV BUILT=1"))

pytestmark = needs("podman")


@pytest.fixture
def engine() -> Iterator[Podman]:
    if reason := lacks("podman"):
        pytest.skip(reason)
    with python_podman() as made:
        yield made


@pytest.fixture
def ops(processes: Processes, tmp_path: Path) -> Iterator[Operations]:
    swarm = Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", NODES))
    assert swarm.start_sn().ready
    with operations(swarm) as made:
        yield made


def start(ops: Operations, engine: Podman) -> Process:
    return ops.start("SWOP-1", ["SL-1", "SL-2"], **in_containers(engine))


def shell(command: str) -> RunSwarm:
    """A shell command that trains without the swarm."""
    return RunSwarm(f"-c '{command}'", "/bin/sh", "/tmp", (("SWARM_LOOPBACK", "True"),))


def names(engine: Podman) -> list[str]:
    return engine.run("ps", "--all", "--format", "{{.Names}}").split()


def runs(peer: Peer) -> bool:
    return [pair.state for pair in peer.reports] == ["running"] * 2


def test_an_image_is_built_and_two_pairs_train_in_it_each_with_another_client(
    ops: Operations, engine: Podman, tmp_path: Path
) -> None:
    """SLs are ours; one script has the original's protocol alone. Scripts run as another user than their SLs."""
    swop = start(ops, engine)
    ops.task("build", BUILD, outcome="user-env")
    words = f"-c 'test $BUILT && exec {PYTHON} $(eval echo \\$ML_$SITE) --rounds 3 --index $SITE --min-peers 2'"
    scripts = {"ML_1": str(ML), "ML_2": f"{original_client.__file__} --folder /tmp/hpe-swarm"}
    environment = {**python_environment(), **scripts}
    ops.task("train", RunSwarm(words, "/bin/sh", "/tmp", tuple(environment.items())), "build")
    ops.assign("build", 1)
    assert ops.over(1).state == "COMPLETE", swop.output
    ops.reset()
    ops.assign("train", 2)
    done = ops.over(2)
    assert done.state == "COMPLETE", swop.output
    assert [pair.state for pair in only(done).reports] == ["complete", "complete"]
    logs = (tmp_path / "SWOP-1" / "data").rglob("*ml.log")
    digests = [line for log in logs for line in log.read_text().splitlines() if line.startswith("DIGEST ")]
    assert len(digests) == 2
    assert len(set(digests)) == 1
    trained = state_of(ops.swarm.chain().world, "defaultbb.cqdb.sml.hpe")
    assert trained.over
    assert set(trained.members) == {pair.uid for pair in only(done).reports}


def test_a_swop_that_is_killed_finds_its_containers_again_and_a_reset_ends_them(
    ops: Operations, engine: Podman
) -> None:
    swop = start(ops, engine)
    ops.task("build", BUILD, outcome="user-env")
    ops.task("endless", shell('trap "exit 0" TERM; sleep 600 & wait'), "build")
    ops.assign("build", 1)
    assert ops.over(1).state == "COMPLETE", swop.output
    ops.reset()
    ops.assign("endless", 2)
    ops.mine(2, runs)
    before = names(engine)
    assert len(before) == 4
    swop.kill()
    ops.mine(2, lambda peer: peer.state == "lost")
    start(ops, engine)
    ops.mine(2, runs)
    assert names(engine) == before
    ops.reset()
    ops.task("short", shell("exit 0"), "build")
    ops.assign("short", 2)
    assert ops.over(3).state == "COMPLETE"
    assert not set(before) & set(names(engine))
