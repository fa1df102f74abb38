"""SWOPs carry out tasks of the ledger, with real pairs of SL and training script."""

import http.server
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.processes import Processes
from support.sns import Network
from support.swarm import SECONDS, Gate, Swarm
from support.swops import Operations, only, operations, script
from support.tools import needs
from swarmlearning.choices import DEFAULT_CONTRACT
from swarmlearning.ledger.bodies import CreateContract, CreateTaskrunner, Reset
from swarmlearning.ledger.contracts.taskrunner import Peer
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.taskfiles.definition import MakeSwarmUserContent, MakeUserContainer, Operation, RunSwarm

NODES = ["SN-1", "SL-1", "SL-2", "SWOP-1", "SWOP-2", "SWCI-1"]
BUILD = MakeUserContainer(("FROM python:3.11", "RUN pip install numpy"))


@pytest.fixture
def ops(processes: Processes, tmp_path: Path) -> Iterator[Operations]:
    swarm = Swarm(processes, tmp_path, make_workspace(tmp_path / "cert", NODES))
    assert swarm.start_sn().ready
    with operations(swarm) as made:
        yield made


def alone(command: str, folder: Path = Path("/tmp")) -> RunSwarm:
    """A shell command that trains without the swarm."""
    return RunSwarm(f"-c '{command}'", "/bin/sh", str(folder), (("SWARM_LOOPBACK", "True"),))


def failed(peer: Peer) -> bool:
    return peer.state == "failed"


def asks(peer: Peer) -> bool:
    return peer.state == "awaiting-approval"


def runs(peer: Peer) -> bool:
    return [pair.state for pair in peer.reports] == ["running"]


def test_a_build_task_and_then_a_run_task_of_two_pairs(ops: Operations, tmp_path: Path) -> None:
    swop = ops.start("SWOP-1", ["SL-1", "SL-2"])
    ops.task("build", BUILD, outcome="environment")
    ops.task("train", script("--min-peers", "2", working_dir=tmp_path), "build")
    ops.assign("build", 1)
    assert ops.over(1).state == "COMPLETE"
    ops.reset()
    ops.assign("train", 2)
    done = ops.over(2)
    assert done.state == "COMPLETE", done
    assert [pair.state for pair in only(done).reports] == ["complete", "complete"]
    trained = state_of(ops.swarm.chain().world, "defaultbb.cqdb.sml.hpe")
    assert set(trained.members) == {pair.uid for pair in only(done).reports}
    (shown,) = [node for node in ops.swarm.status()["nodes"] if node["type"] == "SWOP"]
    assert shown["addresses"] == {"sn": ops.swarm.address}
    assert shown["same_user"], "its profile names no users"
    swop.stop()


def test_a_script_that_ends_early_has_failed_at_once(ops: Operations) -> None:
    """Whether with an exit code, or as if all were well, although it has not trained."""
    ops.start("SWOP-1", ["SL-1", "SL-2"])
    ops.task("fails", RunSwarm("-c 'exit $CODE'", "/bin/sh", "/tmp", (("CODE", "3"),)))
    ops.task("idle", RunSwarm("-c 'exit 0'", "/bin/sh", "/tmp"))
    for serial, (task, code) in enumerate((("fails", 3), ("idle", 0)), start=1):
        ops.assign(task, 2)
        assert ops.over(serial).state == "ERROR"
        mine = ops.mine(serial, failed)
        assert [(pair.reason, pair.exit_code) for pair in mine.reports] == [("ml-exit", code)] * 2
        ops.reset()


def test_a_swop_that_is_killed_goes_on_where_it_was(ops: Operations, gate: Gate, tmp_path: Path) -> None:
    swop = ops.start("SWOP-1", ["SL-1"])
    ops.task("train", alone("echo x >>runs; head -c1 gate", tmp_path))
    ops.assign("train", 1)
    ops.mine(1, runs)
    swop.kill()
    ops.mine(1, lambda peer: peer.state == "lost")
    ops.start("SWOP-1", ["SL-1"])
    gate.let()
    ops.mine(1, lambda peer: peer.state == "complete")
    assert (tmp_path / "runs").read_text() == "x\n"


def test_a_swop_that_is_killed_while_it_makes_content_makes_it_again(ops: Operations, tmp_path: Path) -> None:
    """The server's first answer never ends."""
    asked, ended = threading.Event(), threading.Event()

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not asked.is_set():
                asked.set()
                ended.wait(SECONDS)
                return
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"data")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            swop = ops.start("SWOP-1", ["SL-1"])
            url = f"http://127.0.0.1:{server.server_port}/file"
            content = MakeSwarmUserContent("BUILDCONTENT", (Operation("DOWNLOAD", url, "file"),))
            ops.task("content", content, outcome="content")
            ops.assign("content", 1)
            assert asked.wait(SECONDS)
            swop.kill()
            ops.start("SWOP-1", ["SL-1"])
            ops.mine(1, lambda peer: peer.state == "complete")
        finally:
            ended.set()
            server.shutdown()
    (made,) = (tmp_path / "SWOP-1" / "data" / "process").glob("volumes/content*/file")
    assert made.read_bytes() == b"data"


def test_a_swop_that_is_stopped_leaves_its_pairs_running(ops: Operations, gate: Gate, tmp_path: Path) -> None:
    swop = ops.start("SWOP-1", ["SL-1"])
    ops.task("train", alone("echo x >>runs; head -c1 gate", tmp_path))
    ops.assign("train", 1)
    ops.mine(1, runs)
    swop.stop()
    assert "its processes go on" in swop.output
    gate.let()
    ops.start("SWOP-1", ["SL-1"])
    ops.mine(1, lambda peer: peer.state == "complete")
    assert (tmp_path / "runs").read_text() == "x\n"


def test_a_reset_ends_what_runs(ops: Operations, tmp_path: Path) -> None:
    ops.start("SWOP-1", ["SL-1"])
    ops.task("endless", alone("echo $$ >pid; exec sleep 1000", tmp_path))
    ops.assign("endless", 1)
    ops.mine(1, runs)
    while not (tmp_path / "pid").exists():  # the peer runs, and its command has yet to
        time.sleep(0.05)
    ops.reset()
    ops.task("short", alone("exit 0"))
    ops.assign("short", 1)
    assert ops.over(2).state == "COMPLETE"
    attempts = tmp_path / "SWOP-1" / "data" / "process" / "attempts"
    assert len(list(attempts.iterdir())) == 1  # what the first one has left is gone
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_a_task_that_the_policy_does_not_allow_waits_for_the_sites_approval(ops: Operations) -> None:
    swop = ops.start("SWOP-1", ["SL-1"], policy={"trust": ["hospital-b"]})
    ops.task("build", BUILD, outcome="environment")
    ops.assign("build", 1)
    waiting = ops.mine(1, asks)
    listed = ops.command("SWOP-1", "list")
    assert f"DIGEST {waiting.digest}" in listed
    assert "pip install numpy" in listed
    assert f"swarm swop approve {waiting.digest}" in swop.output
    ops.command("SWOP-1", "approve", waiting.digest[:8])
    assert ops.over(1).state == "COMPLETE"
    assert ops.command("SWOP-1", "list") == "No task waits for an approval.\n"
    ops.reset()
    ops.task("other", MakeUserContainer((*BUILD.build_steps, "RUN pip install numpy ")), outcome="environment")
    ops.assign("other", 1)
    ops.command("SWOP-1", "reject", ops.mine(2, asks).digest)
    assert ops.mine(2, failed).reason == "rejected"


@needs("root")
def test_a_policy_demands_that_scripts_run_as_another_user_and_the_status_shows_which_do_not(ops: Operations) -> None:
    ops.send(("second", CreateTaskrunner()))
    refuses = ops.start("SWOP-1", ["SL-1"], policy={"demandUser": True}).ready["uid"]
    other = ops.start("SWOP-2", ["SL-2"], runner="second", nodes=[{"user": "54321"}]).ready["uid"]
    ops.task("idle", alone("true"))
    ops.assign("idle", 1)
    assert ops.mine(1, failed).reason == "unsupported"
    shown = {node["uid"]: node["same_user"] for node in ops.swarm.status()["nodes"] if node["type"] == "SWOP"}
    assert shown == {refuses: True, other: False}


def test_a_target_tries_a_failed_part_once_more(ops: Operations, tmp_path: Path) -> None:
    ops.start("SWOP-1", ["SL-1"])
    ops.task("train", alone("[ -e repaired ] || exit 7", tmp_path))
    ops.assign("train", 1)
    first = ops.mine(1, failed)
    assert (first.attempt, first.exit_code) == (1, 7)
    (tmp_path / "repaired").touch()
    ops.target("train", first.uid)
    second = ops.mine(1, lambda peer: peer.attempt == 2 and peer.state == "complete")
    assert [pair.state for pair in second.reports] == ["complete"]


def test_two_taskrunners_train_side_by_side(ops: Operations, gate: Gate, tmp_path: Path) -> None:
    """Each script waits until both trainings have had a round."""
    ops.send(("second", CreateTaskrunner()), ("second", CreateContract()))
    ops.start("SWOP-1", ["SL-1"])
    ops.start("SWOP-2", ["SL-2"], runner="second")
    options = ("--min-peers", "1", "--hold-at", "1", "--gate", "gate")
    ops.task("train", script(*options, working_dir=tmp_path))
    ops.task("other", script(*options, "--contract", "second", working_dir=tmp_path))
    ops.assign("train", 1)
    ops.assign("other", 1, "second")
    for contract in ("defaultbb.cqdb.sml.hpe", "second"):
        ops.swarm.until(lambda training: training.rounds > 0, contract)
    gate.let(2)
    assert [ops.over(1).state, ops.over(1, "second").state] == ["COMPLETE", "COMPLETE"]


def test_a_script_that_hangs_is_reported_with_its_stacks_then_ended(
    ops: Operations, gate: Gate, tmp_path: Path
) -> None:
    """It waits at the gate for ever. Only once it is there its SWOP has a limit, in a second life: else a busy machine,
    on which it begins late, would have it ended before that."""
    swop = ops.start("SWOP-1", ["SL-1"])
    waiting = ("--min-peers", "1", "--hold-at", "1", "--gate", "gate")
    ops.task("train", script(*waiting, working_dir=tmp_path))
    ops.assign("train", 1)
    ops.swarm.until(lambda training: training.rounds > 0)
    swop.stop()
    with (tmp_path / "SWOP-1" / "profile.yaml").open("a") as profile:
        profile.write("hangSeconds: 2\nendHung: true\n")
    swop = ops.start("SWOP-1", ["SL-1"])
    peer = ops.mine(1, failed)
    assert [(pair.state, pair.reason) for pair in peer.reports] == [("failed", "hung")]
    assert "has made no batch for 2 s" in swop.output
    logs = tmp_path / "SWOP-1" / "data" / "process" / "logs"
    (log,) = logs.glob("*/0-ml.log")
    assert re.search(r"most recent call first.*ml\.py\", line \d+ in main", log.read_text(), re.DOTALL)


@needs("etcd")
def test_the_sentinel_is_killed_while_a_task_runs(net: Network, gate: Gate, tmp_path: Path) -> None:
    """The SWOP, which was told the sentinel, and its SLs go on with the other SNs; SLs started later find them too."""
    net.identities |= make_workspace(tmp_path / "cert", ["SWOP-1", "SWCI-1"])
    net.found(3)
    net.sn = net.sns[2]
    with operations(net) as ops:
        ops.start("SWOP-1", ["SL-1", "SL-2"], sn=net.api(1))
        ops.task("train", script("--min-peers", "2", "--hold-at", "1", "--gate", "gate", working_dir=tmp_path))
        ops.assign("train", 2)
        net.until_training(2, lambda training: training.rounds > 0)
        net.sns[1].kill()
        gate.let(2)
        done = ops.mine(1, lambda peer: peer.state in ("complete", "failed"))
        assert [pair.state for pair in done.reports] == ["complete", "complete"], done
        ops.reset()
        ops.send((DEFAULT_CONTRACT, Reset(forced=False)))
        ops.task("again", script("--min-peers", "2", "--rounds", "1", working_dir=tmp_path))
        ops.assign("again", 2)
        again = ops.mine(2, lambda peer: peer.state in ("complete", "failed"))
        assert [pair.state for pair in again.reports] == ["complete", "complete"], again
