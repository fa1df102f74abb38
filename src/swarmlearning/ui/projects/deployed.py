"""What was deployed of a project, host by host, and what another deployment would change. Pure but for its file."""

import hashlib
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from swarmlearning.files import open_plain, replace_file
from swarmlearning.ui.projects.placing import PlannedFile
from swarmlearning.ui.projects.plan import Plan

FILE: Final = "deployed.json"
"""In the project's folder; it is none of its files."""
MOST_BYTES: Final = 16 * 2**20

What: TypeAlias = Literal["new-node", "changed-node", "same-node", "gone-node", "new-file", "changed-file", "gone-file"]
"""`changed-node`: it is started anew; `gone-node`: it is stopped. A `gone-file` stays on its host, as all data does."""


class DeployedHost(msgspec.Struct, frozen=True):
    """A host on which all was done, at a Unix time by a person: the product's folder, the files by path with their
    SHA-256, and by name the commands of nodes."""

    at_ms: int
    by: str
    address: str
    root: str
    files: dict[str, str]
    nodes: dict[str, str]


class Change(msgspec.Struct, frozen=True):
    """What a deployment does to a node or file that the last one has not done."""

    host: str
    what: What
    name: str


def read(folder: Path) -> dict[str, DeployedHost]:
    """What was deployed, by host; empty where nothing was, or where that cannot be read any more: all of it is then
    seen as new."""
    try:
        with open_plain(folder / FILE) as file:
            return msgspec.json.decode(file.read(MOST_BYTES), type=dict[str, DeployedHost])
    except (OSError, msgspec.DecodeError):
        return {}


def write(folder: Path, deployed: dict[str, DeployedHost]) -> None:
    """Keeps what was deployed. Raises `OSError`."""
    replace_file(folder / FILE, msgspec.json.encode(deployed))


def done(plan: Plan, host: str, root: str, by: str, at_ms: int) -> DeployedHost:
    """What lies and runs on a host once the plan is carried out there."""
    nodes = [node for node in plan.nodes if node.host == host]
    return DeployedHost(
        at_ms=at_ms,
        by=by,
        address=nodes[0].address if nodes else "",
        root=root,
        files={each.path: content_digest(each) for each in plan.files if each.host == host},
        nodes={node.name: shlex.join(node.command) for node in nodes},
    )


def changes(plan: Plan, deployed: Mapping[str, DeployedHost]) -> list[Change]:
    """What the plan changes, host by host; `same-node` goes on as it is, `gone-node` is stopped."""
    hosts = dict.fromkeys((*(node.host for node in plan.nodes), *deployed))
    return [change for host in hosts for change in _on(plan, host, deployed.get(host))]


def leaving(plan: Plan, deployed: Mapping[str, DeployedHost]) -> dict[str, list[str]]:
    """By host the nodes that were deployed there and are planned there no more: a host that leaves has all of its."""
    planned = {(node.host, node.name) for node in plan.nodes}
    return {
        host: gone
        for host, known in deployed.items()
        if (gone := [name for name in known.nodes if (host, name) not in planned])
    }


def content_digest(planned: PlannedFile) -> str:
    """SHA-256 (hex) of what lies on the host."""
    return planned.digest if planned.text is None else hashlib.sha256(planned.text.encode()).hexdigest()


def _on(plan: Plan, host: str, known: DeployedHost | None) -> Iterator[Change]:
    nodes = {node.name: shlex.join(node.command) for node in plan.nodes if node.host == host}
    files = {each.path: content_digest(each) for each in plan.files if each.host == host}
    before_nodes, before_files = (known.nodes, known.files) if known else ({}, {})
    for name, command in nodes.items():
        same: What = "same-node" if before_nodes.get(name) == command else "changed-node"
        yield Change(host, same if name in before_nodes else "new-node", name)
    yield from (Change(host, "gone-node", name) for name in before_nodes if name not in nodes)
    for path, digest in files.items():
        if before_files.get(path) != digest:
            yield Change(host, "changed-file" if path in before_files else "new-file", path)
    yield from (Change(host, "gone-file", path) for path in before_files if path not in files)
