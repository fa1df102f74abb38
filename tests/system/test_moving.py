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
NEW, NAME = "198.18.0.77", "site.swarm"


def start(net: Network, index: int, host: int, host_ip: str, *ml: str, **changes: str) -> Process:
    """SL `index` with an ML stand-in on a host; `changes` are options."""
    where = {"host_ip": host_ip, "sn_ip": net.hosts.address(1), "sn_api_port": str(net.ports[1])}
    script = net.script(index, ("--rounds", "2", "--min-peers", "2", *ml))
    options = net.sl_options(index, **where, **changes)
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


def test_a_site_that_is_known_by_a_name_and_listens_on_all_addresses_needs_no_restart_when_the_name_leads_elsewhere(
    processes: Processes, tmp_path: Path, gate: Gate
) -> None:
    with Namespaces(3, {NAME: MOVING}) as hosts:
        net = Network(processes, tmp_path, hosts)
        try:
            assert net.start(1, ordering="local").ready
            moving = start(net, 1, MOVING, NAME, bind_ip="0.0.0.0")
            staying = start(net, 2, STAYING, hosts.address(STAYING), "--hold-at", "1", "--gate", str(gate.path))
            net.until_training(1, has_models(1, 1))
            hosts.remove_address(MOVING, hosts.address(MOVING))
            hosts.add_address(MOVING, NEW)
            hosts.rename(NAME, NEW)
            gate.let()
            assert_complete([moving, staying])
        finally:
            net.kill_sns()


def test_a_site_with_an_explicit_address_is_started_again_with_another_one_and_stays_the_same_node(
    processes: Processes, tmp_path: Path
) -> None:
    with Namespaces(3) as hosts:
        net = Network(processes, tmp_path, hosts)
        try:
            assert net.start(1, ordering="local").ready
            moving = start(net, 1, MOVING, hosts.address(MOVING))
            net.until_chain(lambda chain: is_announced(chain, "site-1", hosts.address(MOVING)))
            uid = moving.ready["uid"]
            moving.kill()
            hosts.remove_address(MOVING, hosts.address(MOVING))
            hosts.add_address(MOVING, NEW)
            moving = start(net, 1, MOVING, NEW)
            staying = start(net, 2, STAYING, hosts.address(STAYING))
            assert_complete([moving, staying])
            assert moving.ready["uid"] == uid
            assert is_announced(net.verified(1)[-1].chain, "site-1", NEW)
            known = network.node(net.verified(1)[-1].chain.world, uid)
            assert known
            assert known.incarnation == 2
        finally:
            net.kill_sns()
