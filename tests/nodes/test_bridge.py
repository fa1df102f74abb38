"""Scripts with the original's client beside our SLs: real processes that meet in one training."""

import sys
from collections.abc import Sequence
from pathlib import Path

from support import original_client
from support.processes import Process
from support.swarm import Swarm, assert_complete

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


def test_clients_of_both_dialects_and_one_of_ours_end_with_the_same_model(swarm: Swarm) -> None:
    swarm.start_sn()
    sites = [
        start_bridge(swarm, 1, "--rounds", "2", "--min-peers", "3"),
        start_bridge(swarm, 2, "--rounds", "3", "--min-peers", "3", "--in-message"),
        swarm.start_sl(3, "--rounds", "4"),
    ]
    assert_complete(sites)
    training = swarm.training(swarm.chain())
    assert training.over
    assert all(member.contributed >= 3 for member in training.members.values())
