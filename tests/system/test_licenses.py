"""Nodes that take tokens from real license servers: capacity, a server that dies, its secondary, expiry."""

from pathlib import Path

import pytest

from support.certs import make_workspace
from support.licenses import PLENTY, Issuer, Servers
from support.processes import Process, Processes
from support.swarm import Gate, Swarm, assert_complete
from swarmlearning.license.features import Feature

NO_TOKEN = (
    "acquireLicense: 304: The request for tokens with capacity 1 is not available to issue for feature : 1100000378:1"
)
NO_SERVER = "Error code : 6002"
PAIR = ("--min-peers", "1")


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path / "licenses")


@pytest.fixture
def licensed(processes: Processes, issuer: Issuer, tmp_path: Path) -> tuple[Swarm, Servers]:
    """A swarm whose nodes and license servers have certificates of one authority."""
    identities = make_workspace(tmp_path / "cert", ["SN-1", "SL-1", "SL-2", "SWCI-1", "LICENSE-1"])
    return Swarm(processes, tmp_path, identities), Servers(processes, issuer, identities["LICENSE-1"])


def test_the_capacity_is_kept_a_lost_server_stops_nobody_and_the_secondary_serves(
    licensed: tuple[Swarm, Servers], issuer: Issuer, gate: Gate
) -> None:
    swarm, servers = licensed
    issuer.issue({**PLENTY, Feature.SL: 1})
    primary, secondary = servers.start_pair(lease_seconds=3)
    swarm.start_sn("--sentinel", *servers.flags)
    assert swarm.status()["height"] >= 0
    assert "swarm.blCnt : INFO : Acquiring floating license 1100000380:1" in swarm.sn.output
    hold = ("--hold-at", "1", "--gate", str(gate.path))
    first = swarm.start_sl(1, "--rounds", "3", *PAIR, *hold, environment=servers.variables())
    swarm.until(lambda state: state.rounds == 1)

    def start(index: int, *names: str) -> Process:
        return swarm.start_sl(index, "--rounds", "1", identity="SL-2", environment=servers.variables(*names))

    assert NO_TOKEN in start(2).complaint()
    primary.kill()
    alone = start(3, "primary")
    assert NO_TOKEN in start(4).complaint(), "the secondary knows what the primary has lent"
    assert NO_SERVER in alone.complaint()
    assert f"Error in communicating With Server https://127.0.0.1:{servers.ports['primary']}" in alone.output
    gate.let()
    assert_complete([first])
    assert "swarm.mlApp : WARNING : Releasing license" in first.output
    assert "1100000378:1: the token of CN=SL-1,OU=Swarm-Learning" in secondary.output
    assert swarm.start_sl(5, identity="SL-2", environment=servers.variables()).ready["channel"]
