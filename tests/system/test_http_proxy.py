"""Sites that reach others through an HTTP proxy alone (tinyproxy), named by the environment; in network namespaces."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.namespaces import Namespaces
from support.processes import Process, Processes
from support.sns import Network
from support.swarm import assert_complete
from support.tools import needs

pytestmark = [needs("netns"), needs("tinyproxy")]

SN, PROXY, INSIDE, OUTSIDE = 1, 2, 3, 4
"""Hosts. The inner one reaches the proxy alone, and only the proxy reaches it."""
PROXY_PORT = 8888
RELAY_PORT = 30308
CONFIGURATION = """
Port {port}
Listen {address}
Timeout 600
MaxClients 50
Allow {inside}
LogFile "{log}"
LogLevel Connect
BasicAuth site secret
"""


class Proxied(Network):
    """One SN, which is a relay, and SLs that are given a proxy."""

    def place(self, number: int) -> dict[str, str]:
        """See `Network`."""
        return {**super().place(number), "sn-relay-port": str(RELAY_PORT)}

    def start_sl_at(self, index: int, host: int, flags: list[str], environment: dict[str, str], *ml: str) -> Process:
        """Starts SL `index` on a host, with this environment."""
        sn = self.hosts.address(SN)
        options = self.sl_options(index, sn_ip=sn, sn_api_port=str(self.ports[1]), host_ip=self.hosts.address(host))
        if flags:
            options.pop("host-ip")
        return self.processes.node(
            f"SL-{index}",
            "sl",
            options,
            flags,
            ml=self.script(index, ml),
            environment=environment,
            within=self.hosts.command(host),
        )


@pytest.fixture
def hosts() -> Iterator[Namespaces]:
    with Namespaces(4) as made:
        made.partition([INSIDE], [SN, OUTSIDE])
        yield made


@pytest.fixture
def log(hosts: Namespaces, processes: Processes, tmp_path: Path) -> Path:
    """The log of the proxy, which asks for a password and serves the inner host alone."""
    file, log = tmp_path / "tinyproxy.conf", tmp_path / "tinyproxy.log"
    address, inside = hosts.address(PROXY), hosts.address(INSIDE)
    file.write_text(CONFIGURATION.format(port=PROXY_PORT, address=address, inside=inside, log=log))
    processes.start("tinyproxy", *hosts.command(PROXY), "tinyproxy", "-d", "-c", file)
    return log


def test_a_site_takes_part_through_a_proxy_and_one_that_no_proxy_excepts_goes_directly(
    hosts: Namespaces, processes: Processes, log: Path, tmp_path: Path
) -> None:
    net = Proxied(processes, tmp_path, hosts)
    try:
        assert net.start(1, ordering="local").ready
        proxy = f"http://site:secret@{hosts.address(PROXY)}:{PROXY_PORT}"
        script = ("--rounds", "2", "--min-peers", "2")
        inner = net.start_sl_at(1, INSIDE, ["--relay"], {"https_proxy": proxy, "no_proxy": ".example.org"}, *script)
        outer = net.start_sl_at(2, OUTSIDE, [], {"https_proxy": proxy, "no_proxy": "198.18.0.0/24"}, *script)
        assert_complete([inner, outer])
    finally:
        net.kill_sns()
    through = log.read_text()
    for port in (net.ports[1], RELAY_PORT):
        assert f"CONNECT {hosts.address(SN)}:{port} HTTP/1.1" in through
    assert f"CONNECT {hosts.address(OUTSIDE)}:" in through, "the inner site has fetched from the outer one"
    assert "through the proxy" in inner.output
    for each in (inner, outer):
        assert "secret" not in each.output
