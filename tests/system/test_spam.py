"""One organisation sends an SN all it can, by a process of its own, while another one trains."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.benchmarks import BENCH
from support.certs import make_workspace
from support.swarm import SECONDS, Swarm, assert_complete
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.quotas import Usage

ROUNDS = 4


@pytest.fixture
def shared(swarm: Swarm) -> Swarm:
    """A swarm whose SN serves two organisations, that of the sites and `ca-2`."""
    cert = swarm.directory / "cert"
    make_workspace(cert, ["SWCI-9"], ca_name="CA-2")
    swarm.identities = make_workspace(cert, ["SN-1", "SL-1", "SL-2"])
    return swarm


@contextmanager
def spammed(swarm: Swarm) -> Iterator[dict[str, float]]:
    """While the spammer is at work; afterwards its rates, a second, by kind."""
    rates: dict[str, float] = {}
    ours, theirs = socket.socketpair()
    ours.settimeout(SECONDS)
    command = [sys.executable, str(BENCH / "spammer.py"), "--address", swarm.address, "--name", "SWCI-9"]
    command += ["--workspace", str(swarm.directory / "cert"), "--link", str(theirs.fileno())]
    with ours, ours.makefile() as lines, subprocess.Popen(command, pass_fds=[theirs.fileno()]) as spammer:
        theirs.close()
        try:
            assert lines.readline() == "begun\n"
            yield rates
            ours.shutdown(socket.SHUT_WR)
            rates |= json.loads(lines.readline())
        finally:
            spammer.kill()


def test_rounds_go_on_while_another_organisation_sends_the_sn_all_it_can(shared: Swarm) -> None:
    shared.start_sn()
    with spammed(shared) as rates:
        sites = [shared.start_sl(index, "--rounds", str(ROUNDS), "--min-peers", "2") for index in (1, 2)]
        assert_complete(sites)
    chain = shared.chain()
    training = shared.training(chain)
    assert training.rounds == ROUNDS + 1
    assert {member.contributed for member in training.members.values()} == {ROUNDS + 1}
    assert [each.id for each in network.organisations(chain.world)] == ["ca-1", "ca-2"]
    assert chain.world.get("usage/ca-2.operators", Usage)
    assert rates["transactions"] > 0
