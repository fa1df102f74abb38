"""From bare machines to a running swarm: the organisation's authority, the first SN, and the nodes of its sites.

What is to be is a plan (pure). It is carried out on all hosts at once; nodes of sites start when the SN runs, and get
its network's ID, so that they join no other one.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import resources
from ipaddress import ip_address
from typing import Final, Protocol, TypeAlias

import msgspec
from cryptography import x509

from swarmlearning.address import is_loopback, join, split
from swarmlearning.errors import UserError
from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.certificates import load_certificate
from swarmlearning.identity.office import Office, make_office
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ui.hosts.bundle import Bundle, BundleError
from swarmlearning.ui.hosts.certifying import certified, names_all, office_signs
from swarmlearning.ui.hosts.gates import Gates
from swarmlearning.ui.hosts.installing import install
from swarmlearning.ui.hosts.judging import Plan
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.logins import Secret
from swarmlearning.ui.hosts.machine import Machine
from swarmlearning.ui.hosts.nodes import NodeSpec, how_for, kind_of
from swarmlearning.ui.hosts.own import adopt
from swarmlearning.ui.hosts.probe import probe
from swarmlearning.ui.hosts.progress import HostsJob, Tell, Work
from swarmlearning.ui.hosts.running import place, start

API_PORT: Final = 30304
P2P_PORT: Final = 30303
JOIN_PORT: Final = 30307
FS_PORT: Final = 30305
AUTHORITY_DAYS: Final = 3650
SHORTEST_PASSPHRASE: Final = 12
ORGANISATION: Final = re.compile(r"[a-z][a-z0-9-]{0,30}")
"""Its name is part of files' names."""
DEMO_SCRIPT: Final = "demo_train.py"
EPOCHS: Final = 120
"""Of the demo's training: about two minutes."""


class Ports(msgspec.Struct, frozen=True):
    """Those of the first SN, and the first one of the SLs' file servers on a host."""

    api: int = API_PORT
    p2p: int = P2P_PORT
    join: int = JOIN_PORT
    fs: int = FS_PORT

    def after(self, port: int) -> int:
        """The next port for a file server. Raises `UserError`."""
        taken = (self.api, self.p2p, self.join, 30306)
        found = next((each for each in range(port + 1, 65536) if each not in taken), None)
        if found is None:
            raise UserError(f"there is no port left after {port} for the file server of another SL; name a lower one")
        return found


DEFAULT: Final = Ports()


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


def demo(
    organisation: str, sn: Addressed, sites: Sequence[Addressed], *, ordering: str = "auto", ports: Ports = DEFAULT,
    network: str = "", epochs: int = EPOCHS,
) -> Founding:  # fmt: skip
    """A network of one SN, and an SL at each of the sites that trains the demo's model; a host may stand there twice.

    `network`: its name, by default that of the organisation; `epochs`: of the training. Raises `UserError` where others
    could not reach a node, or fewer than two sites take part.
    """
    if len(sites) < 2:
        raise UserError("a swarm needs two sites at least; a host may be named twice")
    far = [each for each in sites if not is_loopback(each.address)]
    if far and is_loopback(sn.address):
        raise UserError(
            f"{far[0].host} cannot reach the SN at {sn.address}; give the address of {sn.host} in the network"
        )
    script = resources.files(__package__).joinpath(DEMO_SCRIPT).read_bytes()
    placed: list[Placed] = []
    used: dict[str, int] = {}
    for number, site in enumerate(sites, start=1):
        used[site.address] = port = ports.after(used.get(site.address, ports.fs - 1))
        node = NodeSpec(
            name=f"SL-{organisation}-{number}",
            options=(("host-ip", site.address), ("sl-fs-port", str(port))),
            training=("python", DEMO_SCRIPT),
            environment=(("MIN_PEERS", str(len(sites))), ("SWARM_DEMO_EPOCHS", str(epochs))),
            files=((DEMO_SCRIPT, script),),
        )
        placed.append(Placed(site.host, _named(node, site.address)))
    return msgspec.structs.replace(alone(organisation, sn, ordering, ports, network), others=tuple(placed))


def alone(
    organisation: str, sn: Addressed, ordering: str = "auto", ports: Ports = DEFAULT, network: str = ""
) -> Founding:
    """A network of one SN, which others may join."""
    options = {
        "host-ip": sn.address,
        "sn-api-port": str(ports.api),
        "sn-p2p-port": str(ports.p2p),
        "sn-join-port": str(ports.join),
        "network-name": network or organisation,
        "ordering": ordering,
    }
    first = NodeSpec(name=f"SN-{organisation}", options=tuple(options.items()), flags=("sentinel",))
    return Founding(Placed(sn.host, _named(first, sn.address)))


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


Founded: TypeAlias = Callable[[Mapping[str, str]], Awaitable[None]]
Finished: TypeAlias = Callable[[str, Machine], Awaitable[None]]


class Open(Protocol):
    """Opens the machine of a host."""

    def __call__(self, host: str) -> AbstractAsyncContextManager[Machine]: ...


@dataclass(frozen=True)
class Founder:
    """Carries out foundings. `office` signs for the keys that the hosts make; `bundle` is what they get, but for the
    hosts in `own`, which are this machine: there nodes run in the UI's own environment. `founded` gets what the first
    SN reports once it runs, `finished` each host on which all runs."""

    open: Open
    layouts: Mapping[str, Layout]
    bundle: Bundle | None
    office: Office
    authority: x509.Certificate
    own: frozenset[str] = frozenset()
    founded: Founded | None = None
    finished: Finished | None = None

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
                    await self._install(host, machine, layout, tell)
                    await self._certify(machine, layout, nodes, tell)
                    how = how_for(await probe(machine, layout))
                    for node in nodes:
                        if node.name != first:
                            tell("start", "waiting", f"{node.name} waits for {first}")
                            node = joining(node, await gates.passed(first))
                        tell("start", "running", node.name)
                        await place(machine, layout, node.runs(layout), node.files)
                        report = await start(machine, layout, node.name, how)
                        if node.name == first and self.founded is not None:
                            await self.founded(report)
                        gates.open(node.name, report)
                    tell("start", "done", ", ".join(node.name for node in nodes))
                    if self.finished is not None:
                        await self.finished(host, machine)
            return ", ".join(f"{node.name} runs" for node in nodes)

        return work

    async def _install(self, host: str, machine: Machine, layout: Layout, tell: Tell) -> None:
        if host in self.own:
            await adopt(machine, Plan(layout), tell)
        elif self.bundle is not None:
            await install(machine, self.bundle, Plan(layout), tell)
        else:
            raise BundleError(f"{host}: there is no bundle to install from; make one (make bundle) for the UI")

    async def _certify(self, machine: Machine, layout: Layout, nodes: Sequence[NodeSpec], tell: Tell) -> None:
        sign = office_signs(self.office)
        for number, node in enumerate(nodes):
            tell("certify", "running", node.name, number, len(nodes))
            wanted = node.wanted(layout)
            renew = not await names_all(machine, wanted)
            await certified(machine, layout, wanted, sign, self.authority, renew=renew)
        tell("certify", "done", "", len(nodes), len(nodes))


def open_office(workspace: Workspace, organisation: str, passphrase: Secret) -> tuple[Office, x509.Certificate]:
    """The office of an organisation, its authority made if there is none; its key lies encrypted by the passphrase.

    Raises `CertificateError` for files that are damaged or another passphrase, `UserError` for one that is too short.
    """
    if not ORGANISATION.fullmatch(organisation.lower()):
        raise UserError(f"{organisation[:40]!r} is no organisation's name: letters, digits and hyphens, 31 at most")
    made = organisation.upper() in workspace.authorities()
    if not made and len(passphrase.reveal()) < SHORTEST_PASSPHRASE:
        raise UserError(
            f"the authority of {organisation} signs for all its nodes, so its key is kept encrypted: choose a "
            f"passphrase of {SHORTEST_PASSPHRASE} characters at least"
        )
    word = passphrase.reveal().encode()
    if not made:
        make_office(workspace, organisation, create_authority(organisation, AUTHORITY_DAYS), word)
    office = Office(workspace, organisation, word)
    return office, load_certificate(workspace.authority_certificate(organisation).read_bytes())


def api_of(report: Mapping[str, str]) -> str:
    """The address of the API that an SN has reported, `host:port`. Raises `UserError`."""
    return join(*split(report.get("api", "")))
