"""A SWOP that is killed while the engine pulls an image for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.containers import BUSYBOX, Podman, podman
from support.held import Held
from support.processes import Processes
from support.registry import start_registry
from support.swarm import Swarm
from support.swops import only, operations
from support.tools import needs
from swarmlearning.taskfiles.definition import PullImage

pytestmark = [needs("podman"), needs("registry")]


@pytest.fixture
def engine() -> Iterator[Podman]:
    with podman() as made:
        yield made


def test_a_swop_that_is_killed_while_it_pulls_an_image_pulls_it_when_it_is_back(engine: Podman, tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        address = start_registry(processes, tmp_path)
        engine.run("push", BUSYBOX, f"{address}/org/env:1.0")
        held = Held(address)
        swarm = Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", ["SN-1", "SL-1", "SWOP-1", "SWCI-1"]))
        assert swarm.start_sn().ready
        variables = {**engine.environment, "SWOP_SL_IMAGE": BUSYBOX}
        manager = {"mgrtype": "DOCKER"}
        with operations(swarm) as ops:
            swop = ops.start("SWOP-1", ["SL-1"], environment=variables, resourcemgr=manager, network="podman")
            ops.task("pull", PullImage(f"{held.address}/org", "env", "1.0"), outcome="localhost/env:latest")
            ops.assign("pull", 1)
            held.wait()
            swop.kill()
            ops.mine(1, lambda peer: peer.state == "lost")
            held.release()
            ops.start("SWOP-1", ["SL-1"], environment=variables)
            done = ops.until(lambda runner: runner.state == "COMPLETE")
        held.close()
        assert only(done).attempt == 1
        assert engine.run("images", "--quiet", "localhost/env:latest")
