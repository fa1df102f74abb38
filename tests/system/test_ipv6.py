"""A network without IPv4: SNs that vote, a site that others connect to, one behind a relay; in network namespaces."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.namespaces import Namespaces
from support.processes import Processes
from support.sns import Network
from support.swarm import assert_complete
from support.tools import needs
from swarmlearning.ledger.contracts import network

pytestmark = [needs("etcd"), needs("netns"), needs("ipv6")]


class Relaying(Network):
    """SNs that are relays, too."""

    def place(self, number: int) -> dict[str, str]:
        """See `Network`."""
        return {**super().place(number), "sn-relay-port": "30308"}


@pytest.fixture
def net(processes: Processes, tmp_path: Path) -> Iterator[Relaying]:
    with Namespaces(4, ipv6=True) as hosts:
        made = Relaying(processes, tmp_path, hosts)
        yield made
        made.kill_sns()


def test_a_network_without_ipv4_trains(net: Relaying) -> None:
    net.found(2)
    script = ("--rounds", "2", "--min-peers", "2")
    sn = {"sn_ip": net.hosts.address(1), "sn_api_port": str(net.ports[1])}
    options = {index: net.sl_options(index, host_ip=net.hosts.address(2 + index), **sn) for index in (1, 2)}
    options[2].pop("host-ip")
    sites = [
        net.processes.node(
            f"SL-{index}",
            "sl",
            options[index],
            flags,
            ml=net.script(index, script),
            within=net.hosts.command(2 + index),
        )
        for index, flags in ((1, []), (2, ["--relay"]))
    ]
    assert_complete(sites)
    world = net.verified(1)[-1].chain.world
    files = {node.name: node.addresses["fs"] for node in network.nodes(world) if node.type == "SL"}
    assert files["site-1"].startswith("[fd00:198:18::3]:")
    assert files["site-2"] in {"[fd00:198:18::1]:30308", "[fd00:198:18::2]:30308"}
