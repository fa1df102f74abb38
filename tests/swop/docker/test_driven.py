"""A SWOP that is driven by the ledger, with real containers; a shell script stands for its SLs."""

import shlex
from pathlib import Path

from support.certs import make_workspace
from support.containers import Podman
from support.processes import Processes
from support.swarm import Swarm
from support.swops import only, operations
from swarmlearning.taskfiles.definition import MakeUserContainer, RunSwarm
from swop.docker.stand import IMAGE, MEET

MADE = "localhost/made:latest"
SCRIPT = f"{MEET} [ -e /made ] && [ $SITE = 1 ]"


def test_a_build_task_and_a_run_task_by_containers(engine: Podman, tmp_path: Path) -> None:
    """The second pair's script fails; both containers of each pair are removed then."""
    variables = {**engine.environment, "SWOP_SL_IMAGE": IMAGE, "SWOP_UID": "1000", "SWOP_GID": "1000"}
    with Processes(tmp_path) as processes:
        swarm = Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", ["SN-1", "SL-1", "SWOP-1", "SWCI-1"]))
        assert swarm.start_sn().ready
        with operations(swarm) as ops:
            manager = {"mgrtype": "DOCKER"}
            ops.start("SWOP-1", ["SL-1", "SL-1"], environment=variables, resourcemgr=manager, network="podman")
            ops.task("build", MakeUserContainer((f"FROM {IMAGE}", "RUN touch /made")), outcome=MADE)
            loopback = (("SWARM_LOOPBACK", "True"),)
            ops.task("run", RunSwarm(f"-c {shlex.quote(SCRIPT)}", "/bin/sh", "/tmp", loopback), "build")
            ops.assign("build", 1)
            assert ops.over(1).state == "COMPLETE"
            ops.reset()
            ops.assign("run", 2)
            done = ops.mine(2, lambda peer: peer.state == "failed")
            pairs = [(pair.state, pair.reason, pair.exit_code) for pair in done.reports]
            assert pairs == [("complete", None, None), ("failed", "ml-exit", 1)]
            assert engine.run("ps", "--all", "--format", "{{.Names}}") == ""
            ops.reset()
            idle = ops.until(lambda runner: runner.serial == 2 and runner.state == "IDLE")
            assert only(idle).state == "listening"
