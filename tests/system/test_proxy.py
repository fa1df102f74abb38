"""Nodes behind a reverse proxy that passes TLS through by name (SNI), with a real nginx: nobody reaches them directly.

All services are behind its port 443: the SNs' APIs, P2P ports, relays and ports for newcomers, and the file server of a
site.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certs import make_workspace
from support.namespaces import Namespaces
from support.processes import COMMAND, Process, Processes
from support.sns import Network
from support.swarm import Gate, assert_complete, has_models, identity_options
from support.tools import needs, nginx_stream
from swarmlearning.cli.join import STILL_WAITING
from swarmlearning.ledger.contracts import network

pytestmark = [needs("etcd"), needs("netns"), needs("nginx")]

SNS = (1, 2, 3)
PROXY = 4
SITE, HIDDEN = 5, 6
"""Hosts of sites: the proxy leads to the file server of the one, nothing leads to the other."""
FILES = "fs.sl-1.swarm"
PAIR = ("--min-peers", "2")

CONFIGURATION = """
{module}
user root;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{}}
stream {{
    map $ssl_preread_server_name $node {{
        {nodes}
    }}
    server {{
        listen 443;
        ssl_preread on;
        proxy_pass $node;
    }}
}}
"""


def api_name(number: int) -> str:
    return f"api.sn-{number}.swarm"


def p2p_name(number: int) -> str:
    return f"p2p.sn-{number}.swarm"


def relay_name(number: int) -> str:
    return f"relay.sn-{number}.swarm"


def join_name(number: int) -> str:
    return f"join.sn-{number}.swarm"


NAMES = (api_name, p2p_name, relay_name, join_name)


class Proxied(Network):
    """All nodes know SNs by names, which lead to the proxy; SNs listen on the documented ports."""

    def place(self, number: int) -> dict[str, str]:
        return {
            "sn-api-service": api_name(number),
            "sn-p2p-service": f"{p2p_name(number)}:443",
            "sn-relay-port": "30308",
            "sn-relay-service": relay_name(number),
            "sn-join-service": join_name(number),
        }

    def sentinel(self, number: int) -> dict[str, str]:
        return {"sentinel-api-service": api_name(number)}

    def api(self, number: int) -> str:
        return f"{self.hosts.address(number)}:30304"

    def start_proxied_site(self, index: int, *ml: str, sn: int, host: int) -> Process:
        """On a site's host, configured with one SN by its name; the hidden one has a relay."""
        options = self.sl_options(index, sn_api_service=api_name(sn))
        options |= {"host-ip": self.hosts.address(host), "sl-fs-port": "30305", "sl-fs-service": f"{FILES}:443"}
        hidden = ("host-ip", "sl-fs-port", "sl-fs-service") if host == HIDDEN else ()
        for option in ("sn-ip", "sn-api-port", *hidden):
            options.pop(option)
        flags, ml_command = ["--relay"] if hidden else [], self.script(index, ml)
        return self.processes.node(f"SL-{index}", "sl", options, flags, ml=ml_command, within=self.hosts.command(host))

    def invite(self, node: str, *, sn: int) -> str:
        """The code for a node, by an operator at a site."""
        operator = identity_options(make_workspace(self.directory / "cert", ["SWCI-1"])["SWCI-1"])
        options = {"sn-ip": api_name(sn), "sn-api-port": "443", "data-dir": self.directory / "operator", **operator}
        words = [word for option, value in options.items() for word in (f"--{option}", value)]
        done = self.processes.start("invite", *self.hosts.command(SITE), *COMMAND, "invite", "--node", node, *words)
        assert done.wait() == 0, done.output
        return done.output.splitlines()[-1]

    def join(self, code: str, *, host: int) -> Process:
        """`swarm join` at a host that reaches nothing but the proxy."""
        place = self.directory / "joined"
        return self.processes.start(
            "join", *self.hosts.command(host), *COMMAND, "join", code, "--out", place, "--wait", "0"
        )


@pytest.fixture
def hosts() -> Iterator[Namespaces]:
    names = {name(number): PROXY for number in SNS for name in NAMES} | {FILES: PROXY}
    with Namespaces(HIDDEN, names) as made:
        made.partition(*([number] for number in (*SNS, SITE, HIDDEN)))
        yield made


@pytest.fixture
def net(hosts: Namespaces, processes: Processes, tmp_path: Path) -> Iterator[Proxied]:
    nodes = [
        f"{name} {hosts.address(number)}:{port};"
        for number in SNS
        for name, port in zip((name(number) for name in NAMES), (30304, 30303, 30308, 30307), strict=True)
    ]
    nodes.append(f"{FILES} {hosts.address(SITE)}:30305;")
    file = tmp_path / "nginx.conf"
    file.write_text(CONFIGURATION.format(module=nginx_stream(), folder=tmp_path, nodes="\n        ".join(nodes)))
    processes.start("nginx", *hosts.command(PROXY), "nginx", "-p", tmp_path, "-c", file, "-g", "daemon off;")
    made = Proxied(processes, tmp_path, hosts)
    yield made
    made.kill_sns()


def test_sns_join_and_vote_and_sls_train_by_names_alone(net: Proxied, gate: Gate) -> None:
    net.found(3)
    held = ("--rounds", "2", *PAIR, "--hold-at", "1", "--gate", str(gate.path))
    sites = [
        net.start_proxied_site(1, "--rounds", "2", *PAIR, sn=1, host=SITE),
        net.start_proxied_site(2, *held, sn=1, host=HIDDEN),
    ]
    net.until_training(2, has_models(1, 1))
    net.sns[1].kill()
    gate.let()
    assert_complete(sites)
    net.assert_one_chain(2, 3)
    world = net.verified(2)[-1].chain.world
    addresses = {node.name: node.addresses for node in network.nodes(world) if node.type == "SN"}
    assert addresses == {
        f"SN-{number}": {
            "api": f"{api_name(number)}:443",
            "p2p": f"{p2p_name(number)}:443",
            "relay": f"{relay_name(number)}:443",
            "join": f"{join_name(number)}:443",
        }
        for number in SNS
    }
    files = {node.name: node.addresses["fs"] for node in network.nodes(world) if node.type == "SL"}
    assert files["site-1"] == f"{FILES}:443"
    assert files["site-2"] in {f"{relay_name(number)}:443" for number in (2, 3)}, "its first relay was killed"
    invited = net.invite("SL-9", sn=2)
    joined = net.join(invited, host=HIDDEN)
    assert joined.wait() == STILL_WAITING, joined.output
    assert "SL-9 has requested its certificate" in joined.output
