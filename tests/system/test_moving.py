"""A node whose machine gets another address while it runs; in network namespaces."""

from pathlib import Path

from support.namespaces import Namespaces
from support.processes import Process, Processes
from support.sns import Network
from support.swarm import Gate, assert_complete, has_models
from support.tools import needs
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network

pytestmark = needs("netns")

MOVING, STAYING = 2, 3
"""Hosts beside that of the SN."""
NEW = "198.18.0.77"


def start(net: Network, index: int, host: int, host_ip: str, *ml: str) -> Process:
    """SL `index` with an ML stand-in on a host."""
    options = net.sl_options(index, host_ip=host_ip, sn_ip=net.hosts.address(1), sn_api_port=str(net.ports[1]))
    script = net.script(index, ("--rounds", "2", "--min-peers", "2", *ml))
    return net.processes.node(f"SL-{index}", "sl", options, ml=script, within=net.hosts.command(host))


def is_announced(chain: Chain, name: str, host: str) -> bool:
    """True if the file server of a node is at this host, as the ledger has it."""
    found = [node for node in network.nodes(chain.world) if node.name == name]
    return any(node.addresses.get("fs", "").startswith(f"{host}:") for node in found)


def test_a_site_that_finds_its_address_by_itself_announces_a_new_one_and_goes_on(
    processes: Processes, tmp_path: Path, gate: Gate
) -> None:
    with Namespaces(3) as hosts:
        net = Network(processes, tmp_path, hosts)
        try:
            assert net.start(1, ordering="local").ready
            moving = start(net, 1, MOVING, "auto")
            staying = start(net, 2, STAYING, hosts.address(STAYING), "--hold-at", "1", "--gate", str(gate.path))
            net.until_training(1, has_models(1, 1))
            hosts.remove_address(MOVING, hosts.address(MOVING))
            hosts.add_address(MOVING, NEW)
            net.until_chain(lambda chain: is_announced(chain, "site-1", NEW))
            gate.let()
            assert_complete([moving, staying])
        finally:
            net.kill_sns()
