"""Carries out a project's plan: on each host its files, then its keys and certificates, then its nodes, each after
those that have to run before it, on whichever host they are."""

import posixpath
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, TypeAlias

from cryptography import x509

from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import load_certificate
from swarmlearning.ui.hosts.certifying import Sign, certified, has_key, installed
from swarmlearning.ui.hosts.gates import Gates
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.machine import Machine, MachineError, checked
from swarmlearning.ui.hosts.nodes import Runs, Wanted, how_for
from swarmlearning.ui.hosts.probe import probe
from swarmlearning.ui.hosts.progress import AT_ONCE, HostsJob, Tell, Work
from swarmlearning.ui.hosts.running import place, start
from swarmlearning.ui.projects.placing import PlannedFile
from swarmlearning.ui.projects.plan import NeededKey, Plan, PlannedNode

Open: TypeAlias = Callable[[str], AbstractAsyncContextManager[Machine]]
"""Opens the machine of a host of this name."""
Content: TypeAlias = Callable[[str], bytes]
"""The content of a project's file. Raises `UserError`."""

_FOLDERS: Final = 'set -eu; umask 077; for each; do mkdir -p "$each"; done'


@dataclass(frozen=True)
class Deployment:
    """A plan without conflicts, and what it is carried out with; `layouts` by host, `authority` signs (`sign`)."""

    plan: Plan
    layouts: Mapping[str, Layout]
    open: Open
    content: Content
    sign: Sign
    authority: x509.Certificate

    def job(self) -> HostsJob:
        """The work on all hosts. Raises `UserError` for a plan that has conflicts."""
        if self.plan.conflicts:
            first = self.plan.conflicts[0]
            raise UserError(f"{self.plan.project} cannot be deployed as it is: {first.of}: {first.what}")
        gates = Gates[dict[str, str]](node.name for node in self.plan.nodes)
        order = dict.fromkeys((*(node.host for node in self.plan.nodes), *(each.host for each in self.plan.files)))
        works: dict[str, Work] = {host: self._work(host, gates) for host in order}
        return HostsJob(works, at_once=max(AT_ONCE, len({n.host for n in self.plan.nodes if n.kind == "sn"}) + 1))

    def _work(self, host: str, gates: Gates[dict[str, str]]) -> Work:
        nodes = [node for node in self.plan.nodes if node.host == host]

        async def work(tell: Tell) -> str:
            with gates.responsible([node.name for node in nodes]):
                async with self.open(host) as machine:
                    layout = self.layouts[host]
                    await self._files(machine, [each for each in self.plan.files if each.host == host], tell)
                    await self._keys(machine, layout, [each for each in self.plan.keys if each.host == host], tell)
                    how = how_for(await probe(machine, layout))
                    for node in nodes:
                        for before in node.after:
                            tell("start", "waiting", f"{node.name} waits for {before}")
                            await gates.passed(before)
                        tell("start", "running", node.name)
                        await place(machine, layout, runs_of(node))
                        gates.open(node.name, await start(machine, layout, node.name, how))
                    tell("start", "done", ", ".join(node.name for node in nodes))
            return f"{len(nodes)} nodes run"

        return work

    async def _files(self, machine: Machine, files: Sequence[PlannedFile], tell: Tell) -> None:
        folders = sorted({posixpath.dirname(each.path) for each in files})
        checked(machine, await machine.run(_FOLDERS, *folders), "making the project's folders")
        for number, each in enumerate(files):
            tell("copy", "running", each.source, number, len(files))
            data = each.text.encode() if each.text is not None else self.content(each.source)
            await machine.put(data, each.path, 0o600)
        tell("copy", "done", "", len(files), len(files))

    async def _keys(self, machine: Machine, layout: Layout, keys: Sequence[NeededKey], tell: Tell) -> None:
        addresses = {node.host: node.address for node in self.plan.nodes}
        for key in keys:
            tell("certify", "running", key.node)
            wanted = _wanted(key, addresses.get(key.host, ""))
            if key.certificate and await has_key(machine, wanted):
                issued = load_certificate(self.content(key.certificate))
                await installed(machine, layout, wanted, issued, self.authority)
            else:
                await certified(machine, layout, wanted, self.sign, self.authority)
        tell("certify", "done", ", ".join(key.node for key in keys))


def runs_of(node: PlannedNode) -> Runs:
    """How a node of a plan is run. Raises `UserError`."""
    if node.command[:1] != ("swarm",):
        raise MachineError(f"{node.name}: the plan runs {node.command[:1]}, which is not `swarm`")
    role, _, rest = node.name.partition("-")
    return Runs(name=f"{role.upper()}-{rest}", words=node.command[1:], folder=posixpath.dirname(node.data_dir))


def _wanted(key: NeededKey, address: str) -> Wanted:
    """The certificate for a key; it names the host's address."""
    try:
        return Wanted(node=key.node, folder=key.folder, addresses=(str(ip_address(address)),))
    except ValueError:
        return Wanted(node=key.node, folder=key.folder, names=(address,) if address else ())
