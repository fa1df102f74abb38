"""Processes of a benchmark: nodes with certificates of one CA, each linked to the benchmark by a socket pair."""

import asyncio
import socket
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.workspace import Workspace
from swarmlearning.supervise.processes import Child, Processes

HOST = "127.0.0.1"
SWARM = [sys.executable, "-m", "swarmlearning.cli.main"]


@dataclass(frozen=True)
class Linked:
    """A process and our end of its socket."""

    child: Child
    reader: StreamReader
    writer: StreamWriter


def make_identities(root: Path, *names: Sequence[str], days: int = 1) -> Workspace:
    """For each of these organisations a CA, CA-1, CA-2, …, and a certificate for each of its nodes; below `root`."""
    workspace = Workspace(root)
    for ca, nodes in zip(numbered("CA", len(names)), names, strict=True):
        authority = create_authority(ca, days=days + 1)
        workspace.save_authority(ca, authority)
        for name in nodes:
            workspace.save_node(name, issue(authority, name, [], [HOST], days=days))
    return workspace


def numbered(kind: str, count: int) -> list[str]:
    """`SL-1`, `SL-2`, …"""
    return [f"{kind}-{number}" for number in range(1, count + 1)]


async def start_node(
    processes: Processes,
    folder: Path,
    workspace: Workspace,
    name: str,
    options: Sequence[str],
    swarm: Sequence[str] = SWARM,
    host: str = HOST,
) -> Linked:
    """Starts `swarm OPTIONS` as the node of this name and address, with its data in `folder`; it reports when it is
    ready."""
    identity = ["--capath", workspace.capath, "--cert", workspace.certificate(name), "--key", workspace.key(name)]
    place = ["--host-ip", host, "--node-name", name, "--data-dir", folder / name]
    return await start(processes, name, [*swarm, *options, *map(str, [*identity, *place])], "--ready-fd")


async def start(processes: Processes, name: str, command: Sequence[str], link_option: str = "--link") -> Linked:
    """Starts a process with one end of a socket pair, whose descriptor goes to `link_option`."""
    ours, theirs = socket.socketpair()
    with theirs:
        descriptor = theirs.fileno()
        child = await processes.start(
            name, [*command, link_option, str(descriptor)], lasting=True, inherited=[descriptor]
        )
    return Linked(child, *await asyncio.open_unix_connection(sock=ours))


async def hear(processes: Processes, linked: Linked) -> bytes:
    """The next line of a process. Raises `RunError` when it has ended."""
    line = await linked.reader.readline()
    if not line:
        await processes.until_ended([linked.child])
    return line
