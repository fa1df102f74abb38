"""Sites behind NAT, which may only open connections, take part through the relay of an SN; in network namespaces."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.namespaces import Namespaces
from support.processes import Process, Processes
from support.sns import Network
from support.swarm import Gate, assert_complete, has_models
from support.tools import needs
from swarmlearning.ledger.contracts import network

pytestmark = needs("netns")

SN, NORTH, SOUTH, OPEN = 1, 2, 3, 4
"""Hosts that everybody reaches: that of the SN, two routers, and that of a site."""
BEHIND = {5: NORTH, 6: NORTH, 7: SOUTH}
RELAY_PORT = 30308


class Relayed(Network):
    """One SN or two on the host of all, with relays, and sites on the other hosts."""

    def start_relaying(self, number: int, *, through: int = 0, ordering: str = "local") -> Process:
        """Starts an SN that is a relay, too."""
        return self.start(number, through=through, ordering=ordering)

    def place(self, number: int) -> dict[str, str]:
        """See `Network`."""
        return {**super().place(number), "sn-relay-port": str(RELAY_PORT + number)}

    def start_behind(self, index: int, host: int, *ml: str, relay: bool = True) -> Process:
        """Starts SL `index` on a host; without a relay one that is impatient when a model cannot be fetched."""
        sn = self.hosts.address(SN)
        options = self.sl_options(index, sn_ip=sn, sn_api_port=str(self.ports[1]), host_ip=self.hosts.address(host))
        if relay:
            options.pop("host-ip")
        flags = ["--relay"] if relay else []
        within = self.hosts.command(host)
        script, hurry = self.script(index, ml), {} if relay else {"SL_LEADER_FAILURE_BASE_TIMEOUT": "3"}
        return self.processes.node(f"SL-{index}", "sl", options, flags, ml=script, environment=hurry, within=within)

    def reached_at(self, number: int = 1) -> dict[str, str]:
        """The addresses at which SLs are reached, by their names."""
        world = self.verified(number)[-1].chain.world
        return {node.name: node.addresses["fs"] for node in network.nodes(world) if node.type == "SL"}


@pytest.fixture
def hosts() -> Iterator[Namespaces]:
    with Namespaces(7, behind=BEHIND) as made:
        yield made


@pytest.fixture
def net(hosts: Namespaces, processes: Processes, tmp_path: Path) -> Iterator[Relayed]:
    made = Relayed(processes, tmp_path, hosts)
    yield made
    made.kill_sns()


def test_sites_behind_two_nats_train_with_each_other_and_with_an_open_one(net: Relayed) -> None:
    """Two of them are behind the same router, and one of these leads at some time: each leads in its turn."""
    assert net.start_relaying(1).ready
    script = ("--rounds", "4", "--min-peers", "4")
    sites = [net.start_behind(index, host, *script) for index, host in enumerate((5, 6, 7), start=1)]
    sites.append(net.start_behind(4, OPEN, *script, relay=False))
    assert_complete(sites)
    relay = f"{net.hosts.address(SN)}:{RELAY_PORT + 1}"
    at = net.reached_at()
    assert [at[f"site-{index}"] for index in (1, 2, 3)] == [relay] * 3
    assert at["site-4"].startswith(net.hosts.address(OPEN))


def test_a_site_that_others_cannot_connect_to_finds_a_relay_by_itself(net: Relayed) -> None:
    assert net.start_relaying(1).ready
    script = ("--rounds", "3", "--min-peers", "2")
    hidden = net.start_behind(1, 5, *script, relay=False)
    assert_complete([hidden, net.start_behind(2, OPEN, *script, relay=False)])
    assert net.reached_at()["site-1"] == f"{net.hosts.address(SN)}:{RELAY_PORT + 1}"
    assert "Others cannot connect to this node" in hidden.output


@needs("etcd")
def test_a_site_goes_to_another_relay_when_its_own_is_gone(net: Relayed, gate: Gate) -> None:
    for number, through in ((1, 0), (2, 1), (3, 2)):
        assert net.start_relaying(number, through=through, ordering="etcd").ready
    net.until_status(1, lambda status: status["fault_tolerance"].startswith("3 voter"))
    script = ("--rounds", "3", "--min-peers", "2")
    sites = [
        net.start_behind(1, 5, *script),
        net.start_behind(2, 7, *script, "--hold-at", "1", "--gate", str(gate.path)),
    ]
    net.until_training(2, has_models(1, 1))
    net.sns[1].kill()
    gate.let()
    assert_complete(sites)
    gone = f"{net.hosts.address(1)}:{RELAY_PORT + 1}"
    assert gone not in net.reached_at(2).values()
