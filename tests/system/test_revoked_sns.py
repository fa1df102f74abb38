"""A voter that is revoked, or in quarantine, loses its vote; ordering goes on without it."""

import signal
from typing import Any

import pytest

from support.certs import make_workspace
from support.processes import COMMAND, Process
from support.sns import Network
from support.swarm import identity_options, run
from support.tools import needs
from swarmlearning.api.client import SnClient
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.chain import replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.world import World

pytestmark = needs("etcd")


def operate(net: Network, act: str, number: int, through: int) -> Process:
    """`swarm node ACT` of SN `number`, by an operator who is in touch with SN `through`."""
    folder = net.identities["SN-1"].cert_path.parent
    identity = identity_options(make_workspace(folder, ["SWCI-1"])["SWCI-1"])
    options = {"data-dir": net.directory / "operator", **identity}
    words = [word for option, value in options.items() for word in (f"--{option}", value)]
    where = ("--sn-ip", net.hosts.address(through), "--sn-api-port", str(net.ports[through]))
    done = net.processes.start("operator", *COMMAND, "node", act, f"SN-{number}", *where, *words)
    assert done.wait() == 0, done.output
    return done


@pytest.mark.parametrize("count", [2, 3])
def test_a_revoked_voter_ends_with_the_reason_and_ordering_goes_on_without_it(net: Network, count: int) -> None:
    net.found(count)
    revoked = net.leader()
    others = [number for number in range(1, count + 1) if number != revoked]
    before = net.height(others[0])
    operate(net, "revoke", revoked, others[0])
    assert "has been revoked" in net.sns[revoked].complaint()
    voters = f"{count - 1} voter"
    net.until_status(others[0], lambda status: status["fault_tolerance"].startswith(voters))
    net.write(others[0])  # registers a node
    assert net.height(others[0]) > before + 1
    again = net.start(revoked, through=others[0])
    assert again.wait() == 1
    assert "refuses this node: the certificate of" in again.output
    net.assert_one_chain(*others)


def test_a_revoked_sn_without_a_vote_ends_with_the_reason(net: Network) -> None:
    net.found(4)
    status = net.until_status(1, lambda status: [sn["part"] for sn in status["sns"]].count("spare") == 1)
    spare = next(number for number in range(1, 5) if part_of(status, f"SN-{number}")["part"] == "spare")
    operate(net, "revoke", spare, through=next(number for number in (1, 2) if number != spare))
    assert "has been revoked" in net.sns[spare].complaint()


def test_a_voter_that_halts_ordering_is_revoked_and_ordering_goes_on(net: Network) -> None:
    """It holds what it is to pass on, and ends neither its lease nor its connections."""
    net.found(3)
    halting = net.leader()
    others = [number for number in (1, 2, 3) if number != halting]
    net.sns[halting].signal(signal.SIGSTOP)
    operate(net, "revoke", halting, others[0])
    net.until_status(others[0], lambda status: status["fault_tolerance"].startswith("2 voters"))
    net.write(others[1])
    net.assert_one_chain(*others)
    net.sns[halting].signal(signal.SIGCONT)
    assert "no SN of the network accepts this one" in net.sns[halting].complaint()


def test_an_sn_in_quarantine_starts_again_only_once_an_operator_has_lifted_it(net: Network) -> None:
    net.found(3)
    net.assert_one_chain(1, 2, 3)
    seal_wrongly(net, 3)
    net.until_status(1, lambda status: {"part": "quarantine"}.items() <= part_of(status, "SN-3").items())
    net.until_status(1, lambda status: status["fault_tolerance"].startswith("2 voters"))
    net.sns[3].stop()
    refused = net.start(3, through=1)
    assert refused.wait() == 1
    assert "is in quarantine for a block that it has sealed" in refused.output
    assert "swarm node lift-quarantine" in refused.output
    operate(net, "lift-quarantine", 3, 1)
    assert net.start(3, through=1).ready
    net.until_status(1, lambda status: status["fault_tolerance"].startswith("3 voters"))


def part_of(status: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(sn) for sn in status["sns"] if sn["name"] == name)


def seal_wrongly(net: Network, number: int) -> None:
    """Puts a block into the log that SN `number` seals and that states a false state."""
    chain = replay(net.blocks(1))
    identity = net.identities[f"SN-{number}"]
    uid = next(sn.uid for sn in network.admitted(chain.world) if sn.name == f"SN-{number}")
    raw = chain.seal([], World(), chain.next_time(chain.time_ms), uid, identity.signer()).raw

    async def append() -> None:
        async with SnClient(net.api(1), client_context(identity)) as client:
            await client.append(chain.height, chain.hash, raw)

    run(append())


def test_a_single_sn_that_is_started_again_logs_no_error(net: Network) -> None:
    assert net.start(1).ready
    net.sns[1].stop()
    assert net.start(1).ready
    assert " ERROR " not in net.sns[1].output
    assert "trying again" not in net.sns[1].output
