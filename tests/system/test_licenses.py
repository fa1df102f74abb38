"""Nodes that take tokens from real license servers: capacity, a server that dies, its secondary, expiry."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import ceil
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.checks import Check
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
FURTHER = {"CONTRACT": Feature.TRAINING_CONTRACTS, "TASKRUNNER": Feature.TASKRUNNERS}
"""What needs a token of its own beside what is there from the start."""


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path / "licenses")


@pytest.fixture
def licensed(processes: Processes, issuer: Issuer, tmp_path: Path) -> tuple[Swarm, Servers]:
    """A swarm whose nodes and license servers have certificates of one authority."""
    identities = make_workspace(tmp_path / "cert", ["SN-1", "SL-1", "SL-2", "SWOP-1", "SWCI-1", "LICENSE-1"])
    return Swarm(processes, tmp_path, identities), Servers(processes, issuer, identities["LICENSE-1"])


def test_the_capacity_is_kept_a_lost_server_stops_nobody_and_the_secondary_serves(
    licensed: tuple[Swarm, Servers], issuer: Issuer, gate: Gate, check: Check
) -> None:
    swarm, servers = licensed
    issuer.issue({**PLENTY, Feature.SL: 1})
    primary, secondary = servers.start_pair(lease_seconds=30)
    swarm.start_sn("--sentinel", *servers.flags)
    assert swarm.status()["height"] >= 0
    assert "swarm.blCnt : INFO : Acquiring floating license 1100000380:1" in swarm.sn.output
    hold = ("--hold-at", "1", "--gate", str(gate.path))
    first = swarm.start_sl(1, "--rounds", "3", *PAIR, *hold, environment=servers.variables())
    swarm.until(lambda state: state.rounds == 1)

    def start(index: int, *names: str) -> Process:
        return swarm.start_sl(index, "--rounds", "1", identity="SL-2", environment=servers.variables(*names))

    with check("capacity 1 and two SLs: the second ends with exit status 1 and the text of 304"):
        assert NO_TOKEN in start(2).complaint()
    primary.kill()
    alone = start(3, "primary")
    with check("the server is killed: the secondary knows what it has lent, and lends no second token"):
        assert NO_TOKEN in start(4).complaint()
    with check("who starts with the killed server alone ends with exit status 1 and the text of 6002"):
        assert NO_SERVER in alone.complaint()
        assert f"Error in communicating With Server https://127.0.0.1:{servers.ports['primary']}" in alone.output
    with check("the training that ran when the server was killed goes on to its end"):
        gate.let()
        assert_complete([first])
        assert "swarm.mlApp : WARNING : Releasing license" in first.output
        assert "1100000378:1: the token of CN=SL-1,OU=Swarm-Learning" in secondary.output
    with check("the secondary lends the token that is free then"):
        assert swarm.start_sl(5, identity="SL-2", environment=servers.variables()).ready["channel"]


def test_all_kinds_of_nodes_take_tokens_and_more_contracts_and_taskrunners_need_theirs(
    licensed: tuple[Swarm, Servers], issuer: Issuer, tmp_path: Path, check: Check
) -> None:
    swarm, servers = licensed
    issuer.issue(PLENTY)
    server = servers.start()
    swarm.start_sn("--sentinel", *servers.flags)
    with operations(swarm) as ops:
        with check("apls of a profile takes effect for its SWOP and SL: a pair trains under the license"):
            ops.start("SWOP-1", ["SL-1"], apls=servers.locator)  # the profile alone names the server
            train = RunSwarm(f"{sys.executable} {ML} --index 1 --rounds 1 --min-peers 1", "/usr/bin/env", "/tmp")
            ops.task("train", train)
            ops.assign("train", 1)
            assert ops.over(1).state == "COMPLETE"
            assert set(tokens(server)) == {str(each.value) for each in (Feature.SN, Feature.SWOP, Feature.SL)}
        with shell(swarm, tmp_path, servers.options) as swci:
            with check("a second contract and taskrunner are refused without 1100000394 and 1100000396"):
                for kind, feature in FURTHER.items():
                    swci.begin(f"CREATE {kind} more")
                    refusal = NO_TOKEN.replace("1100000378:1", feature.versioned)
                    swci.until(f"ERROR : the network refuses it: {refusal}")
                    swci.finish()
                    assert "more" not in swci.does(f"LIST {kind}S")
            with check("they are created once there are tokens for them"):
                issuer.issue({**PLENTY, Feature.TRAINING_CONTRACTS: 1, Feature.TASKRUNNERS: 1})
                for kind in FURTHER:
                    swci.does(f"SLEEP {ceil(REFUSED_SECONDS)}")
                    swci.does(f"CREATE {kind} more")
                    assert "more" in swci.does(f"LIST {kind}S")
            assert swci.leave() == 0
    with check("SN, SL, SWOP and SWCI have taken one token each, of their features"):
        assert tokens(server) == {str(feature.value): 1 for feature in Feature}
    assert "1100000378:1: the token of CN=SL-1,OU=Swarm-Learning" in server.output, "the pair has given it back"


def test_more_contracts_and_taskrunners_need_no_tokens_where_no_server_is_named(
    licensed: tuple[Swarm, Servers], tmp_path: Path
) -> None:
    swarm, _ = licensed
    swarm.start_sn()
    with shell(swarm, tmp_path, {}) as swci:
        for kind in FURTHER:
            swci.does(f"CREATE {kind} more")
            assert "more" in swci.does(f"LIST {kind}S")
        assert swci.leave() == 0


@contextmanager
def shell(swarm: Swarm, folder: Path, options: Mapping[str, str]) -> Iterator[Shell]:
    """SWCI, with the swarm's SN as its context."""
    identity = identity_options(swarm.identities["SWCI-1"])
    with Shell({"data-dir": folder / "swci", **identity, **options}) as swci:
        swci.does(f"CREATE CONTEXT c WITH IP 127.0.0.1 {swarm.port}")
        swci.does("SWITCH CONTEXT c")
        yield swci
