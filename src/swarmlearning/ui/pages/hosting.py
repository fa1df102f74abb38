"""What people do with hosts: add them, confirm their keys, look, install, start and stop nodes. Whatever has to reach a
host is a job, so that no page waits for one that does not answer."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from fastapi import FastAPI, Form

from swarmlearning.ui.access import GivenLogin, address_of
from swarmlearning.ui.hosts import commands
from swarmlearning.ui.hosts.addresses import LONGEST, MOST_HOSTS, PORT, read_addresses
from swarmlearning.ui.hosts.bundles import chosen, stated_bundles
from swarmlearning.ui.hosts.hostkeys import HostKey, confirm
from swarmlearning.ui.hosts.layout import Layout
from swarmlearning.ui.hosts.nodes import How, kind_of, proper_name
from swarmlearning.ui.hosts.progress import HostsJob, Work
from swarmlearning.ui.hosts.works import (
    SharedBundle,
    Target,
    installed,
    looked_at,
    shows_key,
    started,
    stopped,
    uninstalled,
)
from swarmlearning.ui.pages.acting import Done, action
from swarmlearning.ui.pages.flash import Flash
from swarmlearning.ui.pages.hosts import DEFAULT, PATH
from swarmlearning.ui.pages.jobs import begun
from swarmlearning.ui.pages.logins import Given
from swarmlearning.ui.site import Here, Visit
from swarmlearning.ui.store.hosts import LONGEST_NOTE, LONGEST_USER, Host, HostFault

KEYS: Final = f"{PATH}/keys"
NAMED: Final = 3
"""Hosts and nodes that the title of a job names."""

NodeLine: TypeAlias = Callable[[Layout, str, How], str]
Word = Annotated[str, Form(max_length=300)]
Ticked = Annotated[list[str], Form(default_factory=list, max_length=MOST_HOSTS)]
Folder = Annotated[str, Form(max_length=200)]
User = Annotated[str, Form(max_length=LONGEST_USER)]
Note = Annotated[str, Form(max_length=LONGEST_NOTE)]


def add_hosting(app: FastAPI) -> None:
    """The actions."""
    _add_list(app)
    _add_keys(app)
    _add_work(app)
    _add_nodes(app)


def _add_list(app: FastAPI) -> None:
    @action(app, f"{PATH}/add", PATH)
    async def add(
        visit: Here,
        addresses: Annotated[str, Form(max_length=LONGEST)],
        folder: Folder,
        user: User = "",
        note: Note = "",
        port: Annotated[int, Form(ge=1, le=65535)] = PORT,
    ) -> Done:
        found = read_addresses(addresses, port)
        await visit.site.hosts.add(found, folder.strip(), user.strip(), note.strip(), visit.user.name)
        return _ask(visit, await visit.site.hosts.some([str(each) for each in found]))

    @action(app, f"{PATH}/change", PATH)
    async def change(visit: Here, host: Word, folder: Folder, user: User = "", note: Note = "") -> Done:
        await visit.site.hosts.change(host, folder.strip(), user.strip(), note.strip())
        return Done(Flash("done", visit.text("hosts.changed", host=host)), f"{PATH}/{host}")

    @action(app, f"{PATH}/remove", PATH)
    async def remove(visit: Here, host: Word) -> Done:
        _require_free(visit, host)
        await visit.site.hosts.remove(host)
        return Done(Flash("done", visit.text("hosts.removed", host=host)), PATH)

    @action(app, f"{PATH}/forget-login", PATH)
    async def forget_login(visit: Here, host: Word) -> Done:
        await visit.site.hosts.keep_login(host, "")
        return Done(Flash("done", visit.text("hosts.login-forgotten", host=host)), f"{PATH}/{host}")


def _add_keys(app: FastAPI) -> None:
    @action(app, f"{KEYS}/ask", KEYS)
    async def ask(visit: Here, host: Ticked) -> Done:
        if host:
            return _ask(visit, await visit.site.hosts.some(host))
        return _ask(visit, [each for each in await visit.site.hosts.all() if each.pinned is None][:MOST_HOSTS])

    @action(app, f"{KEYS}/confirm", KEYS)
    async def confirm_keys(visit: Here, given: Given, shown: Ticked) -> Done:
        if not shown:
            raise HostFault("hosts.no-key-ticked", "no key is ticked")
        hosts: list[Host] = []
        for each in shown:
            address, _, fingerprint = each.rpartition(" ")
            hosts.append(await _confirm(visit, address, fingerprint))
        if given.password or given.key:
            return await _look(visit, hosts, given)
        text = visit.text("hosts.confirmed", count=len(hosts))
        return Done(Flash("done", text), PATH)

    @action(app, f"{KEYS}/forget", PATH)
    async def forget(visit: Here, host: Word) -> Done:
        await visit.site.host_keys.forget(address_of(await visit.site.hosts.get(host)))
        return Done(Flash("done", visit.text("hosts.key-forgotten", host=host)), f"{PATH}/{host}")


def _add_work(app: FastAPI) -> None:
    @action(app, f"{PATH}/look", PATH)
    async def look(visit: Here, given: Given, host: Ticked) -> Done:
        return await _look(visit, await visit.site.hosts.some(host), given)

    @action(app, f"{PATH}/install", PATH)
    async def install(visit: Here, given: Given, host: Ticked, bundle: Word = "") -> Done:
        found = await asyncio.to_thread(stated_bundles, visit.site.settings.bundle_folder)
        wanted = chosen(found, bundle or await visit.site.kept.get(DEFAULT))
        shared = SharedBundle(Path(wanted.folder))
        targets = await _targets(visit, await visit.site.hosts.some(host), given)
        works = {address: installed(target, shared) for address, target in targets.items()}
        lines = []
        for each in await visit.site.hosts.some(host):
            at, there = address_of(each), each.layout
            bundle = there.bundle(wanted.version)
            lines.append(commands.copying(at, given.user or each.user, wanted.folder, bundle))
            lines.append(commands.by_ssh(at, given.user or each.user, commands.installing(there, wanted.version)))
        return _begin(visit, "jobs.install", works, command=commands.joined(lines), version=wanted.version)

    @action(app, f"{PATH}/uninstall", PATH)
    async def uninstall(
        visit: Here, given: Given, host: Word, data: Annotated[bool, Form()] = False, again: Word = ""
    ) -> Done:
        found = await visit.site.hosts.get(host)
        if data and again.strip() != host:
            raise HostFault("hosts.type-address", f"type {host} to confirm that its data is removed, too", host=host)
        target = await visit.site.access.target(found, given)
        title = "jobs.uninstall-data" if data else "jobs.uninstall"
        line = commands.by_ssh(address_of(found), given.user or found.user, commands.removing(found.layout, data=data))
        return _begin(visit, title, {host: uninstalled(target, data=data)}, command=line)


def _add_nodes(app: FastAPI) -> None:
    @action(app, f"{PATH}/start", PATH)
    async def start(visit: Here, given: Given, node: Ticked) -> Done:
        targets, names = await _of_nodes(visit, node, given)
        works = {address: started(target, names[address]) for address, target in targets.items()}
        line = node_commands(commands.starting, await visit.site.hosts.some(list(names)), names, given.user)
        return _begin(
            visit, "jobs.start", works, command=line, nodes=_listed(list(chain.from_iterable(names.values())))
        )

    @action(app, f"{PATH}/stop", PATH)
    async def stop(visit: Here, given: Given, node: Ticked) -> Done:
        targets, names = await _of_nodes(visit, node, given)
        works = {address: stopped(target, names[address]) for address, target in targets.items()}
        line = node_commands(commands.stopping, await visit.site.hosts.some(list(names)), names, given.user)
        return _begin(visit, "jobs.stop", works, command=line, nodes=_listed(list(chain.from_iterable(names.values()))))


async def _confirm(visit: Visit, address: str, fingerprint: str) -> Host:
    """Pins the key that a host has shown, if it is that of the fingerprint. Raises `UserError`."""
    host = await visit.site.hosts.get(address)
    shown = await visit.site.hosts.shown_key(address)
    if shown is None:
        raise HostFault("hosts.no-shown-key", f"{address} has shown no key yet: ask for it", host=address)
    await confirm(visit.site.host_keys.of(visit.user.name), address_of(host), shown, fingerprint)
    return host


def _ask(visit: Visit, hosts: Sequence[Host]) -> Done:
    """Begins to ask hosts for their keys. Raises `UserError`."""
    if not hosts:
        raise HostFault("hosts.none-to-ask", "the keys of all hosts are confirmed")
    works = {host.address: _asking(visit, host) for host in hosts}
    line = commands.joined([commands.keys_of(address_of(host)) for host in hosts])
    return _begin(visit, "jobs.keys", works, to=KEYS, alone=False, command=line)


def _asking(visit: Visit, host: Host) -> Work:
    async def shown(key: HostKey) -> None:
        await visit.site.hosts.show_key(host.address, key)

    return shows_key(address_of(host), shown)


async def _look(visit: Visit, hosts: Sequence[Host], given: GivenLogin) -> Done:
    targets = await _targets(visit, hosts, given)
    lines = [commands.by_ssh(address_of(each), given.user or each.user, commands.LOOKING) for each in hosts]
    works = {address: looked_at(target) for address, target in targets.items()}
    return _begin(visit, "jobs.look", works, command=commands.joined(lines))


async def _targets(visit: Visit, hosts: Sequence[Host], given: GivenLogin) -> dict[str, Target]:
    """By address. Raises `UserError` where there is no login for one of them."""
    return {host.address: await visit.site.access.target(host, given) for host in hosts}


async def _of_nodes(
    visit: Visit, ticked: Sequence[str], given: GivenLogin
) -> tuple[dict[str, Target], dict[str, list[str]]]:
    """The hosts of nodes that were ticked as `ADDRESS NAME`, and by host their names. Raises `UserError`."""
    if not ticked:
        raise HostFault("hosts.no-node-ticked", "no node is ticked")
    names: dict[str, list[str]] = {}
    for each in dict.fromkeys(ticked):
        address, _, name = each.rpartition(" ")
        kind_of(name)
        names.setdefault(address, []).append(name)
    return await _targets(visit, await visit.site.hosts.some(list(names)), given), names


def _begin(
    visit: Visit,
    title: str,
    works: dict[str, Work],
    *,
    command: str,
    to: str = "",
    alone: bool = True,
    **values: str,
) -> Done:
    """Begins a job; `alone`: each of its hosts is in no other one meanwhile. `command` would do the same. Raises
    `UserError`."""
    only = next(iter(works)) if len(works) == 1 else ""
    job = visit.site.jobs.start(
        title,
        visit.user.name,
        HostsJob(works),
        hosts=works if alone else (),
        values={"hosts": _listed(list(works)), **values},
        to=to or (f"{PATH}/{only}" if only else PATH),
    )
    return begun(visit, job, command)


def node_commands(line: NodeLine, hosts: Sequence[Host], names: Mapping[str, Sequence[str]], user: str) -> str:
    """What would start or stop these nodes, by host; `user` logs in there, or else whoever is named with the host."""
    found = []
    for host in hosts:
        seen = {proper_name(each.name): each.how for each in host.seen.nodes} if host.seen else {}
        for name in names[host.address]:
            there = line(host.layout, name, seen.get(name, "detached"))
            found.append(commands.by_ssh(address_of(host), user or host.user, there))
    return commands.joined(found)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f", … ({len(names)})" if len(names) > NAMED else "")


def _require_free(visit: Visit, host: str) -> None:
    if (number := visit.site.jobs.of_host(host)) is not None:
        raise HostFault("jobs.host-busy", f"job {number} is at work on {host}", host=host, number=number)
