"""Carries out a project's plan: on each host its files, then its keys and certificates, then its nodes, each after
those that have to run before it, on whichever host they are.

It may be repeated: what lies there already is not copied again, a node that runs goes on, and one whose command,
profile or policy has changed is started anew.
"""

import posixpath
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509

from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import load_certificate, to_pem
from swarmlearning.ui.hosts.certifying import Sign, certified, has_key, installed
from swarmlearning.ui.hosts.facts import Facts
from swarmlearning.ui.hosts.filing import SMALL, Placed, digest_of, digests, file
from swarmlearning.ui.hosts.gates import Gates
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.machine import Machine, MachineError, checked
from swarmlearning.ui.hosts.nodes import How, Runs, Wanted, how_for, proper_name, run_script
from swarmlearning.ui.hosts.probe import probe
from swarmlearning.ui.hosts.progress import AT_ONCE, HostsJob, Tell, Work
from swarmlearning.ui.hosts.running import SCRIPT, place, start, stop
from swarmlearning.ui.projects.deployed import content_digest
from swarmlearning.ui.projects.placing import PlannedFile
from swarmlearning.ui.projects.plan import NeededKey, Plan, PlannedNode

Open: TypeAlias = Callable[[str], AbstractAsyncContextManager[Machine]]
"""Opens the machine of a host of this name."""
Content: TypeAlias = Callable[[str], bytes]
"""The content of a project's file. Raises `UserError`."""
NOT_STOPPED: Final = (
    "{name} runs on another host, where it was not stopped: see what keeps from that; if that host is gone for good, "
    "forget it on the project's page Deploy"
)
_CAPATH: Final = "--capath"
_FOLDER: Final = 'set -eu; umask 077; mkdir -p "$1"'


@dataclass(frozen=True)
class Deployment:
    """A plan without conflicts, and what it is carried out with; `layouts` by host, `authority` signs (`sign`).

    `path`: where a project's file lies here, for those too large for `content`. `gone`: nodes by host that were
    deployed there and are planned there no more: they are stopped, before they start on another host. `finished` gets
    each host on which all is done, also one that has left the project.
    """

    plan: Plan
    layouts: Mapping[str, Layout]
    open: Open
    content: Content
    sign: Sign
    authority: x509.Certificate
    path: Callable[[str], Path] | None = None
    gone: Mapping[str, Sequence[str]] = field(default_factory=dict)
    finished: Callable[[str, Machine], Awaitable[None]] | None = None

    def job(self) -> HostsJob:
        """The work on all hosts. Raises `UserError` for a plan that has conflicts."""
        require_sound(self.plan)
        gates = Gates[dict[str, str]](node.name for node in self.plan.nodes)
        stops = Gates[None]((name for names in self.gone.values() for name in names), NOT_STOPPED)
        order = dict.fromkeys((*(node.host for node in self.plan.nodes), *(each.host for each in self.plan.files)))
        works: dict[str, Work] = {host: self._work(host, gates, stops) for host in order}
        works |= {host: self._leave(host, stops) for host in self.gone if host not in order}
        # All that others wait for is under way at once, so that nobody waits for what has no turn.
        first = {*(node.host for node in self.plan.nodes if node.kind == "sn"), *self.gone}
        return HostsJob(works, at_once=max(AT_ONCE, len(first) + 1))

    def _leave(self, host: str, stops: Gates[None]) -> Work:
        """The nodes of a host that has left the project are stopped; nothing else is done there."""

        async def work(tell: Tell) -> str:
            with stops.responsible(self.gone[host]):
                async with self.open(host) as machine:
                    await self._stop(machine, host, stops, tell)
                    if self.finished is not None:
                        await self.finished(host, machine)
            return ", ".join(self.gone[host])

        return work

    async def _stop(self, machine: Machine, host: str, stops: Gates[None], tell: Tell) -> None:
        gone = self.gone.get(host, ())
        for name in gone:
            tell("stop", "running", name)
            await stop(machine, self.layouts[host], name)
            stops.open(name, None)
        if gone:
            tell("stop", "done", ", ".join(gone))

    def _work(self, host: str, gates: Gates[dict[str, str]], stops: Gates[None]) -> Work:
        nodes = [node for node in self.plan.nodes if node.host == host]
        moved = {name for names in self.gone.values() for name in names}

        async def work(tell: Tell) -> str:
            with gates.responsible([node.name for node in nodes]), stops.responsible(self.gone.get(host, ())):
                async with self.open(host) as machine:
                    layout = self.layouts[host]
                    how = how_for(await _installed(machine, layout, tell))
                    files = [self._placed(each) for each in self.plan.files if each.host == host]
                    copied = await file(machine, files, tell)
                    await self._keys(machine, layout, [each for each in self.plan.keys if each.host == host], tell)
                    await self._trust(machine, nodes)
                    await self._stop(machine, host, stops, tell)
                    for node in nodes:
                        if (name := proper_name(node.name)) in moved:
                            tell("start", "waiting", f"{node.name} waits for its end where it was before")
                            await stops.passed(name)
                        for before in node.after:
                            tell("start", "waiting", f"{node.name} waits for {before}")
                            await gates.passed(before)
                        gates.open(node.name, await _runs(machine, layout, node, copied, how, tell))
                    tell("start", "done", ", ".join(node.name for node in nodes))
                    if self.finished is not None:
                        await self.finished(host, machine)
            return f"{len(nodes)} nodes run"

        return work

    def _placed(self, planned: PlannedFile) -> Placed:
        text, digest = planned.text, content_digest(planned)
        if text is not None:
            return Placed(planned.path, digest, planned.size, text.encode)
        if planned.size > SMALL and self.path is not None:
            return Placed(planned.path, digest, planned.size, None, self.path(planned.source))
        return Placed(planned.path, digest, planned.size, partial(self.content, planned.source))

    async def _trust(self, machine: Machine, nodes: Sequence[PlannedNode]) -> None:
        """Has the nodes trust their own authority, beside those of the project."""
        pem = to_pem(self.authority).encode()
        for folder in sorted({options[_CAPATH] for node in nodes if _CAPATH in (options := _options(node))}):
            checked(machine, await machine.run(_FOLDER, folder), f"making {folder}")
            await machine.put(pem, f"{folder}/{digest_of(pem)[:16]}-cert.pem", 0o644)

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


def require_sound(plan: Plan) -> None:
    """Raises `UserError` for a plan that has conflicts."""
    if plan.conflicts:
        first = plan.conflicts[0]
        raise UserError(f"{plan.project} cannot be deployed as it is: {first.of}: {first.what}")


async def _installed(machine: Machine, layout: Layout, tell: Tell) -> Facts:
    """What the host is. Raises `MachineError` where the product is not installed there."""
    tell("check", "running")
    facts = await probe(machine, layout)
    if not facts.installed:
        raise MachineError(
            f"{machine.name}: the product is not installed in {layout.prefix}: install it on the page Hosts"
        )
    tell("check", "done", facts.version)
    return facts


async def _runs(
    machine: Machine, layout: Layout, node: PlannedNode, copied: Collection[str], how: How, tell: Tell
) -> dict[str, str]:
    """Has the node run as it is planned; returns what it reports. Raises `MachineError`."""
    runs = runs_of(node)
    script = f"{layout.node(runs.name)}/{SCRIPT}"
    (before,) = await digests(machine, [script])
    if before and (before != digest_of(run_script(layout, runs).encode()) or uses(node) & set(copied)):
        tell("restart", "running", node.name)
        await stop(machine, layout, runs.name)
        tell("restart", "done", node.name)
    tell("start", "running", node.name)
    await place(machine, layout, runs)
    return await start(machine, layout, runs.name, how)


def uses(node: PlannedNode) -> set[str]:
    """The files that the node reads when it starts: the profile and policy of a SWOP."""
    options = _options(node)
    found = {options[name] for name in ("--policy-file",) if name in options}
    if "--usr-dir" in options and "--profile-file-name" in options:
        found.add(f"{options['--usr-dir']}/{options['--profile-file-name']}")
    return found


def _options(node: PlannedNode) -> dict[str, str]:
    return dict(pairwise(node.command))


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
