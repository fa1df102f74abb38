"""The page of a project's hosts and nodes: what would lie and run where, what cannot work, and how far it is."""

import asyncio
import re
import shlex
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from fastapi import FastAPI, Form

from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.world import World
from swarmlearning.ui.access import address_of
from swarmlearning.ui.pages.acting import Done, action
from swarmlearning.ui.pages.flash import Flash
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.pages.projects import PATH, changed
from swarmlearning.ui.projects.folder import Projects
from swarmlearning.ui.projects.kinds import ProjectError, kind_of
from swarmlearning.ui.projects.placing import Source
from swarmlearning.ui.projects.plan import Plan, plan
from swarmlearning.ui.projects.settings import HostPlace, NodeKind, ProjectNode, ProjectSettings
from swarmlearning.ui.site import Here
from swarmlearning.ui.store.hosts import Host
from swarmlearning.views.nodes import node_view

AT: Final = f"{PATH}/{{name}}/nodes"
Word = Annotated[str, Form(max_length=200)]
Port = Annotated[int, Form(ge=0, le=65535)]
Tick = Annotated[bool, Form()]


class NodeRow(msgspec.Struct, frozen=True):
    """A node of the project. `state`: of the node of this name and kind on the ledger, empty where there is none."""

    node: ProjectNode
    command: str
    state: str


class NodesView(msgspec.Struct, frozen=True):
    """Hosts, nodes and the plan; `profiles` and `policies` are files to choose from, `listed` hosts of the UI's list
    that the project has not."""

    name: str
    hosts: tuple[HostPlace, ...]
    nodes: list[NodeRow]
    plan: Plan
    profiles: tuple[str, ...]
    policies: tuple[str, ...]
    listed: list[HostPlace] = []


def add_project_nodes(app: FastAPI) -> None:
    """The page, and its acts."""

    @page(app, AT, "projectnodes.html")
    async def nodes(visit: Here, name: str) -> NodesView:
        address = next(iter(network.sn_addresses(visit.feed.chain.world)), "") if visit.feed.configured else ""
        view = await asyncio.to_thread(nodes_view, visit.site.projects, name, visit.feed.chain.world, address)
        return msgspec.structs.replace(view, listed=not_in(view.hosts, await visit.site.hosts.all()))

    _add_host_acts(app)
    _add_node_acts(app)


def _add_node_acts(app: FastAPI) -> None:
    @action(app, f"{AT}/add", AT)
    async def add(
        visit: Here,
        name: str,
        node: Word,
        kind: Annotated[NodeKind, Form()],
        host: Word,
        founds: Tick = False,
        join: Word = "",
        api_port: Port = 30304,
        p2p_port: Port = 30303,
        fs_port: Port = 30305,
        join_port: Port = 30307,
        profile: Word = "",
        policy: Word = "",
        script: Annotated[str, Form(max_length=2000)] = "",
        more: Annotated[str, Form(max_length=2000)] = "",
    ) -> Done:
        made = ProjectNode(
            node,
            kind,
            host,
            founds,
            join,
            api_port,
            p2p_port,
            fs_port,
            join_port,
            profile,
            policy,
            words(script),
            words(more),
        )

        def change(settings: ProjectSettings) -> ProjectSettings:
            others = tuple(each for each in settings.nodes if each.name.upper() != node.upper())
            return msgspec.structs.replace(settings, nodes=(*others, made))

        await changed(visit, name, change)
        return Done(Flash("done", visit.text("nodes.added", node=node)), f"{PATH}/{name}/nodes")

    @action(app, f"{AT}/remove", AT)
    async def remove(visit: Here, name: str, node: Word) -> Done:
        def change(settings: ProjectSettings) -> ProjectSettings:
            return msgspec.structs.replace(settings, nodes=tuple(each for each in settings.nodes if each.name != node))

        await changed(visit, name, change)
        return Done(Flash("done", visit.text("nodes.removed", node=node)), f"{PATH}/{name}/nodes")


def _add_host_acts(app: FastAPI) -> None:
    @action(app, f"{AT}/host", AT)
    async def host(visit: Here, name: str, host: Word, address: Word, root: Word) -> Done:
        def change(settings: ProjectSettings) -> ProjectSettings:
            others = tuple(each for each in settings.hosts if each.name != host)
            return msgspec.structs.replace(settings, hosts=(*others, HostPlace(host, address, root)))

        await changed(visit, name, change)
        return Done(Flash("done", visit.text("nodes.host-added", host=host)), f"{PATH}/{name}/nodes")

    @action(app, f"{AT}/host/remove", AT)
    async def drop_host(visit: Here, name: str, host: Word) -> Done:
        def change(settings: ProjectSettings) -> ProjectSettings:
            if any(each.host == host for each in settings.nodes):
                raise ProjectError(visit.text("nodes.host-used", host=host))
            return msgspec.structs.replace(settings, hosts=tuple(each for each in settings.hosts if each.name != host))

        await changed(visit, name, change)
        return Done(Flash("done", visit.text("nodes.host-removed", host=host)), f"{PATH}/{name}/nodes")


def nodes_view(projects: Projects, name: str, world: World, sn: str) -> NodesView:
    """The page's data; `sn`: an SN of the network that the UI knows. Raises `ProjectError`."""
    settings, sources = projects.settings(name), projects.sources(name)
    made = plan(name, settings, sources, sn)
    commands = {each.name: shlex.join(each.command) for each in made.nodes}
    known = {
        (each.type.lower(), each.name.upper()): node_view(world, each).state
        for each in network.nodes(world)
        if not each.left
    }
    rows = [
        NodeRow(each, commands.get(each.name, ""), known.get((each.kind, each.name.upper()), ""))
        for each in settings.nodes
    ]
    bare = tuple(msgspec.structs.replace(each, text=None, replaced=()) for each in made.files)
    made = msgspec.structs.replace(made, files=bare, tasks={})  # contents are for operators
    return NodesView(name, settings.hosts, rows, made, _of_kind(sources, "profile"), _of_kind(sources, "policy"))


def not_in(places: Sequence[HostPlace], hosts: Sequence[Host]) -> list[HostPlace]:
    """The hosts of the list that are none of these, as a project would have them."""
    known = {(each.address.lower(), each.root) for each in places}
    found = []
    for host in hosts:
        address = address_of(host).host
        if (address.lower(), host.folder) not in known:
            found.append(HostPlace(re.sub(r"[^A-Za-z0-9_.-]", "-", address)[:63], address, host.folder))
    return found


def words(text: str) -> tuple[str, ...]:
    """The words of a command line. Raises `ProjectError` for a quotation mark without its partner."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ProjectError(f"{text[:100]!r}: {error}; close each quotation mark") from error


def _of_kind(sources: list[Source], kind: str) -> tuple[str, ...]:
    return tuple(each.path for each in sources if kind_of(each.path) == kind)
