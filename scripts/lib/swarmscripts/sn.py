"""`run-sn`: starts a Swarm Network node."""

from __future__ import annotations

from collections.abc import Sequence

from swarmscripts.common import host_and_port, present
from swarmscripts.containers import Needs
from swarmscripts.errors import ScriptError
from swarmscripts.options import Given, Option
from swarmscripts.runtime import Runtime
from swarmscripts.script import Script, main

OPTIONS = (
    Option("host-ip", "HOST", "address of this host for other nodes"),
    Option("sentinel", help="found the network, as its first SN"),
    Option("sentinel-ip", "HOST", "address of an SN of the network to join"),
    Option("sentinel-api-port", "PORT", "API port of that SN"),
    Option("sentinel-api-service", "FQDN[:PORT]", "that SN's API behind a proxy"),
    Option("sn-api-port", "PORT", "API port of this SN"),
    Option("sn-api-service", "FQDN[:PORT]", "this SN's API behind a proxy"),
    Option("sn-p2p-port", "PORT", "port of this SN for other SNs"),
    Option("sn-p2p-service", "FQDN[:PORT]", "the same by a name"),
    Option("sn-relay-port", "PORT", "also be the relay, on this port, for SLs that nobody can connect to"),
    Option("sn-relay-service", "FQDN[:PORT]", "the relay behind a proxy"),
    Option("sn-join-port", "PORT", "port for newcomers who are invited (swarm invite), open only while somebody is"),
    Option("sn-join-service", "FQDN[:PORT]", "the same behind a proxy"),
)
API_PORT, P2P_PORT = "30304", "30303"


def check(given: Given) -> None:
    """Raises `ScriptError` for what is missing."""
    if not (given.last("host-ip") or (given.last("sn-api-service") and given.last("sn-p2p-service"))):
        raise ScriptError("mandatory parameter --host-ip not specified")
    if not (given.flag("sentinel") or given.last("sentinel-ip") or given.last("sentinel-api-service")):
        raise ScriptError("either --sentinel or --sentinel-ip must be specified")
    if given.last("sn-relay-service") and not given.last("sn-relay-port"):
        raise ScriptError("--sn-relay-service: --sn-relay-port is needed too, the port at which the relay listens")
    if given.last("sn-join-service") and not given.last("sn-join-port"):
        raise ScriptError("--sn-join-service: --sn-join-port is needed too, the port to which it leads")


def needs(given: Given, _runtime: Runtime) -> Needs:
    """The variables and ports of an SN's container."""
    published = []
    if port := given.last("sn-api-port"):
        published.append(f"{port}:{port}")
    if service := given.last("sn-api-service"):
        published.append(f"{host_and_port(service, API_PORT)[1]}:{given.last('sn-api-port') or API_PORT}")
    if port := given.last("sn-p2p-port"):
        published.append(f"{port}:{P2P_PORT}")
    if service := given.last("sn-p2p-service"):
        published.append(f"{host_and_port(service, P2P_PORT)[1]}:{P2P_PORT}")
    if port := given.last("sn-relay-port"):
        published.append(f"{host_and_port(given.last('sn-relay-service'), port)[1]}:{port}")
    if port := given.last("sn-join-port"):
        published.append(f"{host_and_port(given.last('sn-join-service'), port)[1]}:{port}")
    environment = present(
        ("THIS_NODE_IP", given.last("host-ip")),
        ("SN_I_AM_SENTINEL", "1" if given.flag("sentinel") else ""),
        ("SENTINEL_NODE_IP", given.last("sentinel-ip")),
        ("SENTINEL_API_SERVER_PORT", given.last("sentinel-api-port")),
        ("SENTINEL_API_SERVICE", given.last("sentinel-api-service")),
        ("SN_API_SERVER_PORT", given.last("sn-api-port")),
        ("SN_API_SERVICE", given.last("sn-api-service")),
        ("SN_ETH_PORT_EXT", given.last("sn-p2p-port")),
        ("SN_ETH_P2P_SERVICE", given.last("sn-p2p-service")),
        ("SN_RELAY_PORT", given.last("sn-relay-port")),
        ("SN_RELAY_SERVICE", given.last("sn-relay-service")),
        ("SN_JOIN_PORT", given.last("sn-join-port")),
        ("SN_JOIN_SERVICE", given.last("sn-join-service")),
    )
    return Needs(environment, list(dict.fromkeys(published)))


def arguments(given: Given) -> Sequence[str]:
    """The options of `swarm sn`, which has the same names."""
    found = ["--sentinel"] if given.flag("sentinel") else []
    for option in OPTIONS:
        if not option.is_flag and (value := given.last(option.name)):
            found += [f"--{option.name}", value]
    return found


SN = Script("sn", "Starts a Swarm Network node.", OPTIONS, check, needs, arguments)


def run(words: Sequence[str]) -> int:
    """Returns the exit status."""
    return main(SN, words)
