"""One SL by itself: what it announces, the signals it gets, and what it leaves when training is over."""

import json
import signal
import subprocess
from pathlib import Path

from support.ports import fixed_port
from support.processes import COMMAND
from support.swarm import Gate, Swarm, digest
from swarmlearning.sl.node import OVER_ALREADY
from swarmlearning.tensors.digest import is_named

ALONE = ("--min-peers", "1", "--rounds", "2")


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=150, check=False)


def test_an_address_that_no_other_site_can_connect_to_is_refused_at_the_start(swarm: Swarm) -> None:
    swarm.start_sn()
    for refused in (swarm.start_sl(1, host_ip="0.0.0.0"), swarm.start_sl(2, sl_fs_service="[::]:30305")):
        complaint = refused.complaint()
        assert "stands for all addresses of a machine and is none at which others reach it" in complaint


def test_a_site_that_does_not_reach_itself_starts_and_warns_in_its_log_and_the_scripts(swarm: Swarm) -> None:
    """Behind some NAT routers that is in order."""
    swarm.start_sn()
    closed = f"127.0.0.1:{fixed_port()}"
    sl = swarm.start_sl(1, sl_fs_service=closed)
    ml = swarm.train(1, sl, *ALONE)
    assert (ml.wait(), sl.wait()) == (0, 0)
    warning = f"This node does not reach its own file server at {closed}"
    for process in (sl, ml):
        assert warning in process.output
        assert (
            "refuses connections: nothing listens on that port. If other sites cannot reach it either" in process.output
        )


def test_a_site_whose_announced_address_is_none_of_its_machine_listens_on_all(swarm: Swarm) -> None:
    swarm.start_sn()
    sl = swarm.start_sl(1, "--min-peers", "1", "--rounds", "1", host_ip="192.0.2.1")
    assert sl.wait() == 0
    assert "File server is at 0.0.0.0:" in sl.output


def test_a_hangup_leaves_a_line_and_the_final_model_can_be_copied_out_when_training_is_over(
    swarm: Swarm, gate: Gate, tmp_path: Path
) -> None:
    swarm.start_sn()
    data = swarm.directory / "sl-1"
    sl = swarm.start_sl(1, *ALONE, "--hold-at", "1", "--gate", str(gate.path))
    swarm.until(lambda state: state.rounds == 1)
    sl.signal(signal.SIGHUP)
    gate.let()
    assert sl.wait() == 0
    assert sl.output.count("SIGHUP received: this node goes on as it is") == 1
    assert (data / "run" / "sites" / "site-1").is_dir()
    training = swarm.training(swarm.chain())
    assert training.result is not None

    copied = tmp_path / "copied.safetensors"
    listed, got = command("model", "list", "--data-dir", data), command("model", "get", copied, "--data-dir", data)
    assert training.result.digest in listed.stdout
    facts = f"contract defaultbb.cqdb.sml.hpe  run {training.run}  round 2  {training.result.digest}"
    assert facts in got.stdout
    assert is_named(copied, training.result.digest)
    (report,) = (data / "results").glob("*.json")
    found = json.loads(report.read_text())
    assert (found["rounds"], found["model"], found["sites"]) == (3, training.result.digest, {"site-1": 3})
    assert f"The final model {found['model'][:16]} is {data / found['path']}, and" in sl.output
    assert digest(sl)

    again = swarm.start_sl(1, *ALONE)
    assert again.wait() == OVER_ALREADY
    assert "this node has nothing to do: training of contract defaultbb.cqdb.sml.hpe is over" in again.output
    (data / found["path"]).write_bytes(b"damaged")
    damaged = command("model", "get", tmp_path / "bad", "--data-dir", data)
    assert damaged.returncode == 1
    assert "is damaged: its bytes are not those of model" in damaged.stderr
    assert not (tmp_path / "bad").exists()


def test_a_stop_leaves_a_line_in_the_log(swarm: Swarm) -> None:
    swarm.start_sn()
    sl = swarm.start_sl(1)
    assert sl.ready
    sl.stop()
    assert "SIGTERM received: this node is stopping" in sl.output
