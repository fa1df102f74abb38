"""Starting a node and waiting until it reports, on an inherited descriptor, that it is ready."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from swarmlearning.supervise.processes import Child, Processes, ProcessFailed, describe

READY_SECONDS = 60.0

Facts = TypeVar("Facts", bound=msgspec.Struct)


class SnFacts(msgspec.Struct, frozen=True):
    """The report of an SN that is ready: its API as `host:port`, where that listens, the hash of its genesis."""

    api: str
    listens: str
    network: str


class SlFacts(msgspec.Struct, frozen=True):
    """The report of an SL that is ready: the socket for its script, where its file server listens (`host:port`)."""

    channel: str
    fs: str


class StartedNode:
    """A started node. `reader` is the read end of the pipe on which it reports that it is ready."""

    def __init__(self, child: Child, reader: int) -> None:
        self.child = child
        self._reader = reader

    async def ready(self, facts: type[Facts]) -> Facts:
        """Returns its report. Raises `ProcessFailed` when it ends before, or is not ready within `READY_SECONDS`."""
        name, log = self.child.name, self.child.log
        try:
            async with asyncio.timeout(READY_SECONDS):
                report = await _read_all(self._reader)
                if report:
                    return msgspec.convert(json.loads(report), facts)  # paths need not be UTF-8: escaped surrogates
                raise ProcessFailed(name, f"{describe(await self.child.ended())} before it was ready", log)
        except TimeoutError:
            raise ProcessFailed(name, f"was not ready after {READY_SECONDS:.0f} s", log) from None


async def start_node(processes: Processes, name: str, command: Sequence[str], *, lasting: bool = False) -> StartedNode:
    """Starts a node; it is not ready yet."""
    reader, writer = os.pipe()
    try:
        child = await processes.start(name, [*command, "--ready-fd", str(writer)], lasting=lasting, inherited=[writer])
    finally:
        os.close(writer)
    return StartedNode(child, reader)


def node_command(kind: str, options: Mapping[str, str | Path], *flags: str) -> list[str]:
    """The command line of a node of this kind (`sn`, `sl`), run by this interpreter."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    # -P: a file of the user's that is called like a module of ours or Python's must not take its place.
    return [sys.executable, "-P", "-m", "swarmlearning.cli.main", kind, *flags, *words]


async def _read_all(descriptor: int) -> bytes:
    """Everything written to a pipe until its end; closes it."""
    reader = asyncio.StreamReader()
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), file
        )
        try:
            return await reader.read()
        finally:
            transport.close()
