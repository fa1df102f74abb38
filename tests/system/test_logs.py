"""Operators of three organisations read logs at a site: the SN that carries them is another organisation's."""

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.operating import Operator
from support.processes import Processes
from support.swarm import SECONDS, Gate, Swarm
from support.swops import Operations, operations
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.contracts.taskrunner import Peer
from swarmlearning.taskfiles.definition import RunSwarm

NODES = {"CA-1": ["SN-1", "SWCI-1"], "CA-2": ["SWOP-2", "SL-1", "SWCI-2"], "CA-3": ["SWCI-3"]}
POLICY = {"shareLogs": {"ML": ["own", "ca-3"]}}
SCRIPT = r'printf "first \033[31mred\nno\007bell\n"; head -c1 gate >/dev/null; echo second; head -c1 gate >/dev/null'
RUNNER = "defaulttaskbb.taskdb.sml.hpe"


@pytest.fixture
def ops(processes: Processes, tmp_path: Path) -> Iterator[Operations]:
    """The SN is of CA-1, the SWOP and who assigns its task of CA-2."""
    files = tmp_path / "cert"
    for authority, names in NODES.items():
        make_workspace(files, names, ca_name=authority)
    identities = {name: Workspace(files).identity(name) for names in NODES.values() for name in names}
    swarm = Swarm(processes, tmp_path, identities)
    assert swarm.start_sn().ready
    with operations(swarm, "SWCI-2") as made:
        yield made


def runs(peer: Peer) -> bool:
    return [pair.state for pair in peer.reports] == ["running"]


def test_a_site_s_logs_are_read_by_whom_it_shares_them_with(ops: Operations, gate: Gate, tmp_path: Path) -> None:
    swop = ops.start("SWOP-2", ["SL-1"], policy=POLICY)
    ops.task("train", RunSwarm(f"-c '{SCRIPT}'", "/bin/sh", str(tmp_path), (("SWARM_LOOPBACK", "True"),)))
    ops.assign("train", 1)
    ops.mine(1, runs)
    first, own, third = (Operator(ops.swarm, f"SWCI-{number}") for number in (1, 2, 3))
    name, pair = swop.ready["uid"], ("--taskrunner", RUNNER, "--ml", "0")

    assert "API-Server is UP!" in own.does("logs", name)
    assert "does not share its own log with ca-3 (shareLogs" in third.fails("logs", name)
    assert "Starting SWARM-API-SERVER" in first.does("logs", ops.swarm.sn.ready["uid"], "--since", "1d")
    assert "does not share its own log with ca-2" in own.fails("logs", ops.swarm.sn.ready["uid"])

    command = third.command("logs", name, *pair, "--follow")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert next(following.stdout) == "first \\x1b[31mred\n"
        assert next(following.stdout) == "no\\x07bell\n"
        gate.let()
        assert next(following.stdout) == "second\n"
        following.send_signal(signal.SIGINT)
        assert following.wait(SECONDS) == 0

    assert third.does("logs", "0", *pair, "--lines", "1").endswith("second\n")
    assert "does not share the output of its MLs with ca-1" in first.fails("logs", name, *pair)
    assert "does not share the output of its SLs with ca-3" in third.fails("logs", name, *pair[:2], "--sl", "0")
    assert re.search(r"UID|SL", own.does("logs", name, *pair[:2], "--sl", "0"))
    assert "no such log" in own.fails("logs", name, *pair[:2], "--ml", "7")
    assert "'CN=SWCI-3" in own.does("logs", name)  # who has read what stands in the site's own log
    gate.let()
