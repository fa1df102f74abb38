"""A voter whose certificate is revoked loses its vote and ends with the reason; ordering goes on without it."""

import signal

import pytest

from support.certs import make_workspace
from support.processes import COMMAND, Process
from support.sns import Network
from support.swarm import identity_options
from support.tools import needs

pytestmark = needs("etcd")


def revoke(net: Network, number: int, through: int) -> Process:
    """`swarm node revoke` of SN `number`, by an operator who is in touch with SN `through`."""
    folder = net.identities["SN-1"].cert_path.parent
    identity = identity_options(make_workspace(folder, ["SWCI-1"])["SWCI-1"])
    options = {"data-dir": net.directory / "operator", **identity}
    words = [word for option, value in options.items() for word in (f"--{option}", value)]
    where = ("--sn-ip", net.hosts.address(through), "--sn-api-port", str(net.ports[through]))
    done = net.processes.start("operator", *COMMAND, "node", "revoke", f"SN-{number}", *where, *words)
    assert done.wait() == 0, done.output
    return done


@pytest.mark.parametrize("count", [2, 3])
def test_a_revoked_voter_ends_with_the_reason_and_ordering_goes_on_without_it(net: Network, count: int) -> None:
    net.found(count)
    revoked = net.leader()
    others = [number for number in range(1, count + 1) if number != revoked]
    before = net.height(others[0])
    revoke(net, revoked, others[0])
    assert "has been revoked" in net.sns[revoked].complaint()
    voters = f"{count - 1} voter"
    net.until_status(others[0], lambda status: status["fault_tolerance"].startswith(voters))
    net.write(others[0])  # registers a node
    assert net.height(others[0]) > before + 1
    again = net.start(revoked, through=others[0])
    assert again.wait() == 1
    assert "refuses this node: the certificate of" in again.output
    net.assert_one_chain(*others)


def test_a_voter_that_halts_ordering_is_revoked_and_ordering_goes_on(net: Network) -> None:
    """It holds what it is to pass on, and ends neither its lease nor its connections."""
    net.found(3)
    halting = net.leader()
    others = [number for number in (1, 2, 3) if number != halting]
    net.sns[halting].signal(signal.SIGSTOP)
    revoke(net, halting, others[0])
    net.until_status(others[0], lambda status: status["fault_tolerance"].startswith("2 voters"))
    net.write(others[1])
    net.assert_one_chain(*others)
    net.sns[halting].signal(signal.SIGCONT)
    assert "no SN of the network accepts this one" in net.sns[halting].complaint()


def test_a_single_sn_that_is_started_again_logs_no_error(net: Network) -> None:
    assert net.start(1).ready
    net.sns[1].stop()
    assert net.start(1).ready
    assert " ERROR " not in net.sns[1].output
    assert "trying again" not in net.sns[1].output
