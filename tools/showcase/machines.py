"""Hosts with SSH on which the UI has installed the product, one for each hospital: for the page that shows them.

The nodes on them are stand-ins, named as those of the swarm.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from showcase.hospitals import HOSPITALS
from showcase.people import Operator
from support.bundles import make_bundle, pip_wheel
from support.ports import fixed_port
from support.sshd import PASSWORD, USER, SshHost
from swarmlearning import __version__
from swarmlearning.ui.hosts.addresses import Address
from swarmlearning.ui.hosts.hostkeys import MemoryHostKeys
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.nodes import NodeSpec
from swarmlearning.ui.hosts.running import place
from swarmlearning.ui.hosts.ssh import connected, look

Machines = dict[SshHost, tuple[NodeSpec, ...]]
FIRST: Final = 21
"""The last part of the first one's loopback address."""


def bundle(folder: Path) -> Path:
    """A small bundle of this version, whose nodes are stand-ins."""
    folder.mkdir(parents=True)
    return make_bundle(folder / "bundle", __version__, pip_wheel(folder))


@contextmanager
def machines(folder: Path) -> Iterator[Machines]:
    """The hosts, each with the nodes for it, until the block ends."""
    with ExitStack() as stack:
        found: Machines = {}
        for number, each in enumerate(HOSPITALS, FIRST):
            host = SshHost(folder / each.id, at=Address(f"127.0.0.{number}", fixed_port()))
            found[stack.enter_context(host)] = (NodeSpec(name=each.sn), NodeSpec(name=each.swop))
        yield found


async def prepare(operator: Operator, hosts: Machines) -> None:
    """Has the product installed on all of them, and nodes started. Raises `RunError`."""
    for host, hospital in zip(hosts, HOSPITALS, strict=True):
        form = {"addresses": str(host.address), "user": USER, "folder": host.prefix, "note": hospital.name}
        await _job(operator, "/hosts/add", **form)
    shown = (await operator.data("/hosts/keys.json"))["shown"]
    login = {"password": PASSWORD} if USER == "root" else {"key": next(iter(hosts)).login.key}
    keys = [f"{each['address']} {each['shown']['fingerprint']}" for each in shown]
    await _job(operator, "/hosts/keys/confirm", shown=keys, **login)
    named = [str(host.address) for host in hosts]
    await _job(operator, "/hosts/install", host=named, **login)
    for host, nodes in hosts.items():
        await _put(host, nodes)
    await _job(operator, "/hosts/look", host=named, **login)
    started = [f"{host.address} {node.name}" for host, nodes in hosts.items() for node in nodes]
    await _job(operator, "/hosts/start", node=started, **login)


async def _job(operator: Operator, path: str, **form: Any) -> None:
    """Begins a job, and waits for its end."""
    await operator.do(path, **form)
    newest = (await operator.data("/jobs.json"))["jobs"][0]["id"]
    await operator.until(f"/jobs/{newest}.json", lambda it: it["job"]["state"] != "running")


async def _put(host: SshHost, nodes: tuple[NodeSpec, ...]) -> None:
    """As a project deploys them."""
    keys, layout = MemoryHostKeys(), Layout(host.prefix)
    await keys.pin(host.address, await look(host.address))
    async with connected(host.address, host.login, keys) as machine:
        for node in nodes:
            await place(machine, layout, node.runs(layout))
