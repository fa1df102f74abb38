"""From bare machines to a running swarm: the organisation's authority, the first SN, and the nodes of its sites.

What is to be is a plan (pure). It is carried out on all hosts at once; nodes of sites start when the SN runs, and get
its network's ID, so that they join no other one.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import resources
from ipaddress import ip_address
from typing import Final, Protocol

import msgspec
from cryptography import x509

from swarmlearning.address import is_loopback, join, split
from swarmlearning.errors import UserError
from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.certificates import load_certificate
from swarmlearning.identity.office import Office, make_office
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ui.hosts.bundle import Bundle
from swarmlearning.ui.hosts.certifying import certified, office_signs
from swarmlearning.ui.hosts.gates import Gates
from swarmlearning.ui.hosts.installing import install
from swarmlearning.ui.hosts.judging import Plan
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.logins import Secret
from swarmlearning.ui.hosts.machine import Machine
from swarmlearning.ui.hosts.nodes import NodeSpec, how_for, kind_of
from swarmlearning.ui.hosts.probe import probe
from swarmlearning.ui.hosts.progress import HostsJob, Tell, Work
from swarmlearning.ui.hosts.running import place, start

API_PORT: Final = 30304
P2P_PORT: Final = 30303
JOIN_PORT: Final = 30307
FS_PORT: Final = 30305
AUTHORITY_DAYS: Final = 3650
SHORTEST_PASSPHRASE: Final = 8
DEMO_SCRIPT: Final = "demo_train.py"

_RESERVED: Final = (API_PORT, P2P_PORT, JOIN_PORT, 30306)


class Placed(msgspec.Struct, frozen=True):
    """A node on the host of this name."""

    host: str
    node: NodeSpec


class Founding(msgspec.Struct, frozen=True):
    """A network to found: its first SN, and the nodes that join it."""

    sn: Placed
    others: tuple[Placed, ...] = ()

    @property
    def hosts(self) -> dict[str, list[NodeSpec]]:
        """By host, the SN's first: its nodes, in the order in which they start."""
        found: dict[str, list[NodeSpec]] = {}
        for each in (self.sn, *self.others):
            found.setdefault(each.host, []).append(each.node)
        return found


class Addressed(msgspec.Struct, frozen=True):
    """A host of this name, and the address at which other nodes reach it."""

    host: str
    address: str


def demo(organisation: str, sn: Addressed, sites: Sequence[Addressed], *, ordering: str = "auto") -> Founding:
    """A network of one SN, and an SL at each of the sites that trains the demo's model; a host may stand there twice.

    Raises `UserError` where others could not reach a node, or fewer than two sites take part.
    """
    if len(sites) < 2:
        raise UserError("a swarm needs two sites at least; a host may be named twice")
    far = [each for each in sites if not is_loopback(each.address)]
    if far and is_loopback(sn.address):
        raise UserError(
            f"{far[0].host} cannot reach the SN at {sn.address}; give the address of {sn.host} in the network"
        )
    options = {
        "host-ip": sn.address,
        "sn-api-port": str(API_PORT),
        "sn-p2p-port": str(P2P_PORT),
        "sn-join-port": str(JOIN_PORT),
        "network-name": organisation,
        "ordering": ordering,
    }
    first = NodeSpec(name=f"SN-{organisation}", options=tuple(options.items()), flags=("sentinel",))
    script = resources.files(__package__).joinpath(DEMO_SCRIPT).read_bytes()
    placed: list[Placed] = []
    ports: dict[str, int] = {}
    for number, site in enumerate(sites, start=1):
        ports[site.address] = port = _next_port(ports.get(site.address, FS_PORT - 1))
        node = NodeSpec(
            name=f"SL-{organisation}-{number}",
            options=(("host-ip", site.address), ("sl-fs-port", str(port))),
            training=("python", DEMO_SCRIPT),
            environment=(("MIN_PEERS", str(len(sites))),),
            files=((DEMO_SCRIPT, script),),
        )
        placed.append(Placed(site.host, _named(node, site.address)))
    return Founding(Placed(sn.host, _named(first, sn.address)), tuple(placed))


def _next_port(port: int) -> int:
    return next(each for each in range(port + 1, 65536) if each not in _RESERVED)


def _named(node: NodeSpec, address: str) -> NodeSpec:
    """The node with a certificate that names its address."""
    try:
        return msgspec.structs.replace(node, addresses=(str(ip_address(address)),))
    except ValueError:
        return msgspec.structs.replace(node, names=(address,))


def joining(node: NodeSpec, report: Mapping[str, str]) -> NodeSpec:
    """The node with what it needs to join the network of an SN that has reported this. Raises `UserError`."""
    host, port = split(report.get("api", ""))
    through = (("sn-ip", host), ("sn-api-port", str(port)), ("network-id", report.get("network", "")))
    if kind_of(node.name) == "sn":
        through = (("sentinel-ip", host), ("sentinel-api-port", str(port)), through[2])
    return msgspec.structs.replace(node, options=(*node.options, *through))


class Open(Protocol):
    """Opens the machine of a host."""

    def __call__(self, host: str) -> AbstractAsyncContextManager[Machine]: ...


@dataclass(frozen=True)
class Founder:
    """Carries out foundings. `office` signs for the keys that the hosts make; `bundle` is what they get."""

    open: Open
    layouts: Mapping[str, Layout]
    bundle: Bundle
    office: Office
    authority: x509.Certificate

    def job(self, founding: Founding) -> HostsJob:
        """The work on all hosts of a founding; each step may be repeated."""
        names = [node.name for nodes in founding.hosts.values() for node in nodes]
        gates = Gates[dict[str, str]](names)
        works = {host: self._work(host, nodes, founding, gates) for host, nodes in founding.hosts.items()}
        return HostsJob(works)

    def _work(self, host: str, nodes: Sequence[NodeSpec], founding: Founding, gates: Gates[dict[str, str]]) -> Work:
        first = founding.sn.node.name

        async def work(tell: Tell) -> str:
            with gates.responsible([node.name for node in nodes]):
                async with self.open(host) as machine:
                    layout = self.layouts[host]
                    await install(machine, self.bundle, Plan(layout), tell)
                    await self._certify(machine, layout, nodes, tell)
                    how = how_for(await probe(machine, layout))
                    for node in nodes:
                        if node.name != first:
                            tell("start", "waiting", f"{node.name} waits for {first}")
                            node = joining(node, await gates.passed(first))
                        tell("start", "running", node.name)
                        await place(machine, layout, node.runs(layout), node.files)
                        gates.open(node.name, await start(machine, layout, node.name, how))
                    tell("start", "done", ", ".join(node.name for node in nodes))
            return ", ".join(f"{node.name} runs" for node in nodes)

        return work

    async def _certify(self, machine: Machine, layout: Layout, nodes: Sequence[NodeSpec], tell: Tell) -> None:
        sign = office_signs(self.office)
        for number, node in enumerate(nodes):
            tell("certify", "running", node.name, number, len(nodes))
            await certified(machine, layout, node.wanted(layout), sign, self.authority)
        tell("certify", "done", "", len(nodes), len(nodes))


def open_office(workspace: Workspace, organisation: str, passphrase: Secret) -> tuple[Office, x509.Certificate]:
    """The office of an organisation, its authority made if there is none; its key lies encrypted by the passphrase.

    Raises `CertificateError` for files that are damaged or another passphrase, `UserError` for one that is too short.
    """
    if len(passphrase.reveal()) < SHORTEST_PASSPHRASE:
        raise UserError(
            f"the authority of {organisation} signs for all its nodes, so its key is kept encrypted: choose a "
            f"passphrase of {SHORTEST_PASSPHRASE} characters at least"
        )
    word = passphrase.reveal().encode()
    if organisation.upper() not in workspace.authorities():
        make_office(workspace, organisation, create_authority(organisation, AUTHORITY_DAYS), word)
    office = Office(workspace, organisation, word)
    return office, load_certificate(workspace.authority_certificate(organisation).read_bytes())


def api_of(report: Mapping[str, str]) -> str:
    """The address of the API that an SN has reported, `host:port`. Raises `UserError`."""
    return join(*split(report.get("api", "")))
