"""A whole swarm for a benchmark on this machine: one SN and N SLs with a participant each.

In a fleet each of them is a process of its own; in a crowd (see `sites.py`) many SLs and participants share a process.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from time import monotonic

import msgspec

from launch import HOST, Linked, hear, make_identities, numbered, start, start_node
from machine import cpu_seconds, peak_bytes
from participant import Done
from swarmlearning.identity.workspace import Workspace
from swarmlearning.supervise.processes import Processes, RunError

SITES = [sys.executable, str(Path(__file__).with_name("sites.py"))]
PARTICIPANT = [sys.executable, str(Path(__file__).with_name("participant.py"))]


class Fleet:
    """A swarm that is ready for its first round. `startup_s`: from the SN's start until all SLs were ready."""

    def __init__(self, processes: Processes, nodes: Sequence[Linked], sites: Sequence[Linked], startup_s: float):
        self.startup_s = startup_s
        self._processes = processes
        self._sites = sites
        self._children = [linked.child for linked in (*nodes, *sites)]
        self._nodes = [linked.child for linked in nodes]

    async def rounds(self, count: int) -> list[list[Done]]:
        """Runs so many rounds in a row and returns each site's times. `RunError` (grouped) when a process fails."""
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._processes.until_ended(self._nodes))
            done = [await self._round() for _ in range(count)]
            watch.cancel()
        return done

    def pid(self, name: str) -> int:
        """Process id of the process of this name."""
        return next(child.pid for child in self._children if child.name == name)

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time (user and system) of each process so far, by its name."""
        return {child.name: cpu_seconds(child.pid) for child in self._children}

    def peak_bytes(self) -> dict[str, int]:
        """The largest resident memory of each process so far, by its name."""
        return {child.name: peak_bytes(child.pid) for child in self._children}

    async def _round(self) -> list[Done]:
        for site in self._sites:
            site.writer.write(b"begin\n")
        done = [msgspec.json.decode(await hear(self._processes, site), type=Done) for site in self._sites]
        if len({one.sample for one in done}) > 1:
            raise RunError(f"the sites hold different models after a round: {done}")
        return done


@contextlib.asynccontextmanager
async def fleet(processes: Processes, folder: Path, nodes: int, size: int) -> AsyncIterator[Fleet]:
    """Starts a swarm of `nodes` SLs for models of `size` bytes. Raises `RunError` when a process fails."""
    workspace = make_identities(folder / "cert", ["SN-1", *numbered("SL", nodes)])
    begin = monotonic()
    sn, port = await _start_sn(processes, folder, workspace)
    options = ["sl", "--sn-ip", HOST, "--sn-api-port", port, "--sl-fs-port", "0"]
    sls = [await start_node(processes, folder, workspace, name, options) for name in numbered("SL", nodes)]
    channels = [msgspec.json.decode(await hear(processes, sl))["channel"] for sl in sls]
    startup_s = monotonic() - begin
    processes.next_wave()
    common = ["--peers", str(nodes), "--size", str(size)]
    sites = [
        await start(processes, name, [*PARTICIPANT, *common, "--channel", channel, "--seed", str(seed)])
        for seed, (name, channel) in enumerate(zip(numbered("ML", nodes), channels, strict=True), start=1)
    ]
    for site in sites:
        await hear(processes, site)
    try:
        yield Fleet(processes, [sn, *sls], sites, startup_s)
    finally:
        for linked in (*sites, *sls, sn):
            linked.writer.close()


@contextlib.asynccontextmanager
async def crowd(processes: Processes, folder: Path, nodes: int, size: int, count: int) -> AsyncIterator[Fleet]:
    """A fleet like that of `fleet`, with all SLs and participants in `count` processes."""
    names = numbered("SL", nodes)
    workspace = make_identities(folder / "cert", ["SN-1", *names])
    begin = monotonic()
    sn, port = await _start_sn(processes, folder, workspace)
    processes.next_wave()
    common = ["--folder", str(folder), "--sn", f"{HOST}:{port}", "--peers", str(nodes), "--size", str(size)]
    sites = [
        await start(processes, f"sites-{number + 1}", [*SITES, *common, *names[number::count]])
        for number in range(min(count, nodes))
    ]
    for site in sites:
        await hear(processes, site)
    try:
        yield Fleet(processes, [sn], sites, monotonic() - begin)
    finally:
        for linked in (*sites, sn):
            linked.writer.close()


async def _start_sn(processes: Processes, folder: Path, workspace: Workspace) -> tuple[Linked, str]:
    """The SN and the port of its API."""
    sn = await start_node(
        processes, folder, workspace, "SN-1", ["sn", "--sentinel", "--sn-api-port", "0", "--ordering", "local"]
    )
    api: str = msgspec.json.decode(await hear(processes, sn))["api"]
    return sn, api.rpartition(":")[2]
