"""Scripts with the original's client beside our SLs: real processes that meet in one training."""

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from support import original_client, torch_site
from support.processes import Process
from support.swarm import Gate, Swarm, assert_complete, digest, has_models
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.sl.node import OVER_ALREADY

CLIENT = Path(original_client.__file__)


def start_bridge(swarm: Swarm, index: int, *client: str) -> Process:
    """An SL that serves the original's client; with arguments for one, a client that it starts itself."""
    options = swarm.sl_options(index, bridge_dir=folder(swarm, index))
    ml = script(swarm, index, client) if client else ()
    return swarm.processes.node(f"SL-{index}", "sl", options, ["--bridge"], ml=ml)


def start_client(swarm: Swarm, index: int, *client: str) -> Process:
    """A client started by hand beside that SL."""
    variables = {
        "SL_REQUEST_CHANNEL": str(folder(swarm, index) / "request.channel"),
        "SL_RESPONSE_CHANNEL": str(folder(swarm, index) / "response.channel"),
    }
    return swarm.processes.start(f"ML-{index}", *script(swarm, index, client), environment=variables)


def folder(swarm: Swarm, index: int) -> Path:
    return swarm.directory / f"hpe-{index}"


def script(swarm: Swarm, index: int, arguments: Sequence[str]) -> list[str | Path]:
    return [sys.executable, CLIENT, "--index", str(index), "--folder", folder(swarm, index), *arguments]


def has_returned(uid: str) -> Callable[[Training], bool]:
    """The member was started again, and its ML process has a session."""
    return lambda state: uid in state.members and state.members[uid].incarnation == 2 and state.members[uid].present


def test_clients_of_both_dialects_and_a_pytorch_script_with_our_callback_end_with_the_same_model(swarm: Swarm) -> None:
    swarm.start_sn()
    client = ("--structure", torch_site.structure(), "--min-peers", "3")
    options = swarm.sl_options(3)
    ours = [sys.executable, torch_site.__file__, "2", "3"]
    sites = [
        start_bridge(swarm, 1, "--rounds", "3", *client),
        start_bridge(swarm, 2, "--rounds", "4", "--in-message", *client),
        swarm.processes.node("SL-3", "sl", options, ml=ours),
    ]
    assert_complete(sites)
    training = swarm.training(swarm.chain())
    assert training.over
    assert {member.contributed for member in training.members.values()} == {training.rounds}
    for index in (1, 2):  # a client that came now would wait for ever where it opens them
        assert not list(folder(swarm, index).glob("*.channel"))


@pytest.mark.parametrize("dialect", [(), ("--in-message",)], ids=["in files", "in messages"])
def test_a_client_that_trains_does_not_notice_that_its_sl_is_killed_and_started_again(
    swarm: Swarm, gate: Gate, dialect: tuple[str, ...]
) -> None:
    swarm.start_sn()
    sl = start_bridge(swarm, 1)
    assert sl.ready
    arrived = Gate(swarm.directory / "arrived")
    hold = ("--hold-at", "2", "--gate", str(gate.path), "--arrived", str(arrived.path))
    site = start_client(swarm, 1, "--rounds", "4", *hold, *dialect)
    other = swarm.start_sl(2, "--rounds", "4", "--min-peers", "2")
    uid = sl.ready["uid"]
    arrived.wait()
    arrived.close()
    sl.kill()
    swarm.until(lambda state: uid in state.members and state.members[uid].attendance == "lost")
    again = start_bridge(swarm, 1)
    swarm.until(has_returned(uid))  # before its client has sent anything
    gate.let()
    assert (site.wait(), again.wait()) == (0, 0)
    assert_complete([other])
    assert digest(site) == digest(other)
    training = swarm.training(swarm.chain())
    assert {member.contributed for member in training.members.values()} == {training.rounds}


def test_a_waiting_client_is_told_that_its_sl_was_killed_and_completes_after_a_restart(swarm: Swarm) -> None:
    swarm.start_sn()
    sl = start_bridge(swarm, 1)
    assert sl.ready
    site = start_client(swarm, 1, "--rounds", "2")
    swarm.until(lambda state: len(state.members) == 1)
    sl.kill()
    assert site.wait() == 1
    assert "SwarmError: wanted: 22 bytes, got 0 bytes: pipe closed?" in site.output
    again = start_bridge(swarm, 1)
    assert again.ready
    site = start_client(swarm, 1, "--rounds", "2")
    other = swarm.start_sl(2, "--rounds", "2", "--min-peers", "2")
    assert (site.wait(), again.wait()) == (0, 0)
    assert_complete([other])
    assert digest(site) == digest(other)


def test_a_killed_client_is_named_as_lost_and_completes_after_a_restart(swarm: Swarm, gate: Gate) -> None:
    swarm.start_sn()
    sl = start_bridge(swarm, 1)
    uid = sl.ready["uid"]
    three = ("--min-peers", "3")
    site = start_client(swarm, 1, "--rounds", "4", "--hold-at", "2", "--gate", str(gate.path), *three)
    others = [swarm.start_sl(index, "--rounds", "4", *three) for index in (2, 3)]
    swarm.until(has_models(2, 2))
    site.kill()
    swarm.until(lambda state: uid in state.members and state.members[uid].attendance == "ml-lost")
    (folder(swarm, 1) / "trained_weights.pkl").write_bytes(b"half a file")
    again = start_client(swarm, 1, "--rounds", "3", *three)
    assert_complete(others)
    assert (again.wait(), sl.wait()) == (0, 0)
    assert digest(again) == digest(others[0])


def test_a_client_is_told_why_the_swarm_refuses_it(swarm: Swarm) -> None:
    swarm.start_sn()
    other = swarm.start_sl(2, "--rounds", "2", "--min-peers", "1")
    assert other.wait() == 0
    refused = start_bridge(swarm, 1, "--rounds", "1", "--min-peers", "1")
    assert refused.wait() == OVER_ALREADY
    assert "SwarmError: SL error: training of contract defaultbb.cqdb.sml.hpe is over; " in refused.output
    assert "Traceback" not in refused.output


def test_sigterm_stops_an_sl_to_which_no_client_has_connected(swarm: Swarm) -> None:
    swarm.start_sn()
    variables = {f"SL_{kind.upper()}_CHANNEL": str(swarm.directory / kind) for kind in ("request", "response")}
    options = swarm.sl_options(1, bridge_dir=folder(swarm, 1))
    sl = swarm.processes.node("SL-1", "sl", options, environment=variables)  # these alone start the bridge
    assert sl.ready
    assert (swarm.directory / "request").is_fifo()
    second = swarm.processes.node("SL-2", "sl", swarm.sl_options(2, bridge_dir=folder(swarm, 1)), ["--bridge"])
    assert f"swarm sl: {folder(swarm, 1)} is in use by another SL node" in second.complaint()
    sl.signal(signal.SIGTERM)
    assert sl.wait() == 0
    assert "Traceback" not in sl.output


def test_one_pipe_alone_is_no_bridge(swarm: Swarm) -> None:
    swarm.start_sn()
    options = swarm.sl_options(1)
    sl = swarm.processes.node("SL-1", "sl", options, environment={"SL_REQUEST_CHANNEL": "/tmp/request"})
    complaint = sl.complaint()
    assert (
        "SL_RESPONSE_CHANNEL: bad environment variable; cannot create bridge. Set both pipes, or neither" in complaint
    )
