"""`swarm logs collect`: one archive for whoever has to find out what went wrong."""

import asyncio
import os
import platform
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from swarmlearning.api.client import Unavailable
from swarmlearning.cli.collect.folders import add_folder
from swarmlearning.cli.command import command
from swarmlearning.cli.connection import Connection
from swarmlearning.cli.since import since_of
from swarmlearning.collect.archive import Archive, CollectError, safe
from swarmlearning.collect.content import Content, Entry
from swarmlearning.collect.files import as_json
from swarmlearning.collect.index import page
from swarmlearning.collect.network import Asking, add_network
from swarmlearning.errors import first_cause
from swarmlearning.node.errors import NodeError
from swarmlearning.node.expiry import while_working
from swarmlearning.node.facts import cleaned, host_facts
from swarmlearning.node.secrets import known_secrets
from swarmlearning.operator.link import operating
from swarmlearning.views.names import escaped
from swarmlearning.views.sizes import size_text

MB: Final = 10**6
MOST_MB: Final = 512
WITHOUT: Final = "Without a network: `swarm logs collect FOLDER` collects what lies on this host (data directories)"

Folders = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="FOLDER",
        help="Of this host, without a network: data directories of nodes, folders of runs (runs/latest), or folders "
        "of such. Without any: of all nodes, over the SN.",
    ),
]
Output = Annotated[
    Path | None, typer.Option(dir_okay=False, help="The file to write; by default swarm_logs_<host>_<time>.tar.gz.")
]
Named = Annotated[
    list[str] | None, typer.Option("--node", metavar="NODE", help="This node only, by name or UID. Repeatable.")
]
Since = Annotated[
    str,
    typer.Option(metavar="TIME", help="Logs from this time on: 2026-11-29T12:30, or 2h ago; else the newest."),
]
Megabytes = Annotated[int, typer.Option("--mb-per-node", min=1, max=MOST_MB, help="MB of logs of a node, or a folder.")]


@command("swarm logs collect")
def collect(
    connection: Connection,
    folders: Folders = None,
    output: Output = None,
    node: Named = None,
    since: Since = "",
    mb_per_node: Megabytes = 20,
) -> None:
    """Put logs, versions, settings, stacks and the ledger's newest blocks into one archive, with a page to begin with.

    Secrets are taken out. Each site decides what it gives; what is not in the archive is named, with the reason.
    """
    since_ms = since_of(since, time.time()) if since else None
    root = f"swarm_logs_{safe(platform.node())}_{time.strftime('%Y%m%d%H%M%S')}"
    path = (output or Path(f"{root}.tar.gz")).absolute()
    files = connection.credentials.files
    known = known_secrets(os.environ, [each for each in (files.key, files.passphrase) if each])
    content = Content("Swarm logs", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), {"host": platform.node()})
    with Archive(path, root) as archive:
        _add(archive, content, "host.json", as_json(cleaned(host_facts(), known)))
        if folders:
            for number, folder in enumerate(folders, start=1):
                add_folder(archive, content, folder, number, known, mb_per_node * MB)
        else:
            asking = Asking(node or (), mb_per_node * MB, since_ms, known)
            asyncio.run(_over_network(connection, archive, content, asking))
        content.title = f"Swarm logs: {content.facts.get('network') or platform.node()}"
        archive.add("summary.json", as_json(content.summary()))
        archive.add("index.html", page(content))
    _tell(content, path, root)


async def _over_network(connection: Connection, archive: Archive, content: Content, asking: Asking) -> None:
    source = connection.credentials.source()

    async def work() -> None:
        async with operating(connection.address, source, connection.home, connection.network_id) as operator:
            await add_network(archive, content, operator, asking)

    try:
        await while_working(work(), source.watch())
    except (Unavailable, NodeError, ExceptionGroup) as error:
        cause = first_cause(error)
        if not isinstance(cause, Unavailable | NodeError):
            raise
        raise CollectError(f"{cause}. {WITHOUT}") from error


def _add(archive: Archive, content: Content, name: str, text: str) -> None:
    if chosen := archive.add(name, text):
        content.entries.append(Entry(chosen, len(text)))


def _tell(content: Content, path: Path, root: str) -> None:
    """What is in the archive and what is not."""
    count = sum(len(source.entries) for source in content.sources) + len(content.entries)
    lines = [f"{path}: {count} files of {len(content.sources)} nodes or folders, {size_text(path.stat().st_size)}"]
    lines += [f"not in it: {what}: {why}" for what, why in content.missing.items()]
    lines += [f"not in it: {line}" for source in content.sources for line in source.lacking]
    lines += [f"wrong now: {alert}" for alert in content.alerts]
    lines.append(f"Begin with {root}/index.html. Before you pass it on: it has names, addresses and what scripts print")
    print("\n".join(escaped(line) for line in lines))
