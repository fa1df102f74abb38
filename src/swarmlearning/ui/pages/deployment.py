"""What the page of a project's deployment shows: its hosts, what would change on each, and how its nodes are."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.world import World
from swarmlearning.ui.access import address_of
from swarmlearning.ui.projects.deployed import Change, DeployedHost, changes, leaving
from swarmlearning.ui.projects.plan import Conflict, Plan
from swarmlearning.ui.projects.settings import HostPlace, ProjectSettings
from swarmlearning.ui.store.hosts import Host
from swarmlearning.views.nodes import node_view

OFFICE: Final = "office"
"""Where the UI keeps the authority of its organisation, in its folder."""

Fault: TypeAlias = Literal["", "unlisted", "folder", "key", "not-installed"]
"""Why nothing can be done at a host; empty where that is not known."""
CLOSED: Final[tuple[Fault, ...]] = ("unlisted", "folder", "key")
"""Those where the UI does not even log in."""
Authority: TypeAlias = Literal["here", "new", "elsewhere"]
"""Where the key of the organisation's authority is: in the UI's folder, nowhere yet, or at its office."""


class HostDeploy(msgspec.Struct, frozen=True):
    """A host of the project; `listed`: its address in the UI's list of hosts, empty where there is none. `left`: it was
    deployed to, and has no node any more: what runs there is stopped."""

    place: HostPlace
    listed: str
    keeps_login: bool
    fault: Fault
    deployed: DeployedHost | None
    changes: list[Change]
    left: bool = False


class NodeDeploy(msgspec.Struct, frozen=True):
    """A node of the project, or one that was deployed and is none any more (`gone`). `ledger`: its state there, with
    its `uid`; `process`: as it was seen on its host at `seen_ms`; both empty where that is not known."""

    name: str
    kind: str
    host: str
    listed: str
    gone: bool
    uid: str
    ledger: str
    process: str
    seen_ms: int | None


class DeployView(msgspec.Struct, frozen=True):
    """The page. `first`: nothing was deployed yet; `keeps`: logins can be kept."""

    name: str
    hosts: list[HostDeploy]
    nodes: list[NodeDeploy]
    conflicts: tuple[Conflict, ...]
    warnings: tuple[str, ...]
    organisation: str
    authority: Authority
    keeps: bool
    first: bool


def matched(place: HostPlace, hosts: Iterable[Host]) -> tuple[Host | None, Fault]:
    """The host of the UI's list at the address of a project's, and why it cannot be used."""
    there = [each for each in hosts if address_of(each).host.lower() == place.address.lower()]
    if not there:
        return None, "unlisted"
    same = [each for each in there if each.folder == place.root]
    if not same:
        return there[0], "folder"
    found = same[0]
    if found.pinned is None:
        return found, "key"
    return found, "not-installed" if found.seen is not None and not found.seen.facts.installed else ""


def hosts_of(
    settings: ProjectSettings, made: Plan, deployed: Mapping[str, DeployedHost], listed: Sequence[Host]
) -> list[HostDeploy]:
    """The hosts that the project uses or was deployed to, each with what would change there."""
    known = changes(made, dict(deployed))
    used = {node.host for node in made.nodes}
    places = {each.name: each for each in settings.hosts}
    left = {name: HostPlace(name, done.address, done.root) for name, done in deployed.items() if name not in used}
    places |= left  # as they were then: the nodes are there
    found = []
    for name, place in places.items():
        if name in used or name in deployed:
            host, fault = matched(place, listed)
            differs = [each for each in known if each.host == name]
            address, keeps = (host.address, host.keeps_login) if host else ("", False)
            found.append(HostDeploy(place, address, keeps, fault, deployed.get(name), differs, name in left))
    return found


def nodes_of(
    made: Plan, deployed: Mapping[str, DeployedHost], hosts: Sequence[HostDeploy], listed: Sequence[Host], world: World
) -> list[NodeDeploy]:
    """The project's nodes, those that it has no more at the end."""
    planned = [(node.name, node.kind, node.host, False) for node in made.nodes]
    gone = [
        (name, name.partition("-")[0].lower(), host, True)
        for host, names in leaving(made, deployed).items()
        for name in names
    ]
    there = {name for name, *_ in planned}
    addresses = {each.place.name: each.listed for each in hosts}
    seen = {each.address: each.seen for each in listed}
    ledger = on_ledger(world)
    found = []
    for name, kind, host, is_gone in (*planned, *gone):
        address = addresses.get(host, "")
        sight = seen.get(address)
        process = {each.name: each.state for each in sight.nodes} if sight else {}
        moved = is_gone and name in there  # the ledger has it where it runs now
        uid, state = ("", "") if moved else ledger.get((kind, name.upper()), ("", ""))
        found.append(
            NodeDeploy(
                name=name,
                kind=kind,
                host=host,
                listed=address,
                gone=is_gone,
                uid=uid,
                ledger=state,
                process=process.get(name.lower(), ""),
                seen_ms=sight.at_ms if sight else None,
            )
        )
    return found


def authority_of(folder: Path, organisation: str, *, founds: bool) -> Authority:
    """Where the authority's key is. Blocks for as long as the disk takes."""
    if organisation.upper() in Workspace(folder / OFFICE).authorities():
        return "here"
    return "new" if founds else "elsewhere"


def on_ledger(world: World) -> dict[tuple[str, str], tuple[str, str]]:
    """By kind and name: UID and state of the nodes that have not left."""
    if world.get("network", network.Network) is None:
        return {}
    return {
        (each.type.lower(), each.name.upper()): (each.uid, node_view(world, each).state)
        for each in network.nodes(world)
        if not each.left
    }
