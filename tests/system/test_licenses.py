"""Nodes that take tokens from real license servers: capacity, a server that dies, its secondary, expiry."""

import sys
from math import ceil
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.licenses import PLENTY, Issuer, Servers, tokens
from support.processes import Process, Processes
from support.shells import Shell
from support.swarm import ML, Gate, Swarm, assert_complete, identity_options
from support.swops import operations
from swarmlearning.license.features import Feature
from swarmlearning.node.license import REFUSED_SECONDS
from swarmlearning.taskfiles.definition import RunSwarm

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
    identities = make_workspace(tmp_path / "cert", ["SN-1", "SL-1", "SL-2", "SWOP-1", "SWCI-1", "LICENSE-1"])
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


def test_all_kinds_of_nodes_take_tokens_and_more_contracts_and_taskrunners_need_theirs(
    licensed: tuple[Swarm, Servers], issuer: Issuer, tmp_path: Path
) -> None:
    swarm, servers = licensed
    issuer.issue(PLENTY)
    server = servers.start()
    swarm.start_sn("--sentinel", *servers.flags)
    host, port = "127.0.0.1", str(swarm.port)
    with operations(swarm) as ops:
        ops.start("SWOP-1", ["SL-1"], apls=servers.locator)  # the profile alone names the server
        ops.task("train", RunSwarm(f"{sys.executable} {ML} --index 1 --rounds 1 --min-peers 1", "/usr/bin/env", "/tmp"))
        ops.assign("train", 1)
        assert ops.over(1).state == "COMPLETE"
        identity = identity_options(swarm.identities["SWCI-1"])
        with Shell({"data-dir": tmp_path / "swci", **identity, **servers.options}) as shell:
            shell.does(f"CREATE CONTEXT c WITH IP {host} {port}")
            shell.does("SWITCH CONTEXT c")
            refused = {"CONTRACT": "1100000394:1", "TASKRUNNER": "1100000396:1"}
            for kind, feature in refused.items():
                shell.begin(f"CREATE {kind} more")
                shell.until(f"ERROR : the network refuses it: {NO_TOKEN.replace('1100000378:1', feature)}")
                shell.finish()
                assert "more" not in shell.does(f"LIST {kind}S")
            issuer.issue({**PLENTY, Feature.TRAINING_CONTRACTS: 1, Feature.TASKRUNNERS: 1})
            for kind in refused:
                shell.does(f"SLEEP {ceil(REFUSED_SECONDS)}")
                shell.does(f"CREATE {kind} more")
                assert "more" in shell.does(f"LIST {kind}S")
            assert shell.leave() == 0
    assert tokens(server) == {str(feature.value): 1 for feature in Feature}
    assert "1100000378:1: the token of CN=SL-1,OU=Swarm-Learning" in server.output, "the pair has given it back"
