"""A whole swarm for a benchmark: one SN, N SLs and N participants, each a process of its own on this machine."""

import asyncio
import contextlib
import socket
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import msgspec
import psutil

from participant import Done
from swarmlearning.cli.processes import Child, Processes, RunError
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.workspace import Workspace

HOST = "127.0.0.1"
SWARM = [sys.executable, "-m", "swarmlearning.cli.main"]
PARTICIPANT = [sys.executable, str(Path(__file__).with_name("participant.py"))]


@dataclass(frozen=True)
class _Linked:
    """A process and our end of its socket."""

    child: Child
    reader: StreamReader
    writer: StreamWriter


class Fleet:
    """A swarm that is ready for its first round. `startup_s`: from the SN's start until all SLs were ready."""

    def __init__(self, processes: Processes, nodes: Sequence[_Linked], sites: Sequence[_Linked], startup_s: float):
        self.startup_s = startup_s
        self._processes = processes
        self._sites = sites
        self._children = [linked.child for linked in (*nodes, *sites)]
        self._nodes = [linked.child for linked in nodes]

    async def rounds(self, count: int) -> list[list[Done]]:
        """So many rounds, one after another; what each site says of each. `RunError` (grouped) when a process fails."""
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._processes.until_ended(self._nodes))
            done = [await self._round() for _ in range(count)]
            watch.cancel()
        return done

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time (user and system) of each process so far, by its name."""
        times = {child.name: psutil.Process(child.pid).cpu_times() for child in self._children}
        return {name: spent.user + spent.system for name, spent in times.items()}

    def peak_bytes(self) -> dict[str, int]:
        """The largest resident memory of each process so far, by its name."""
        return {child.name: _peak_bytes(child.pid) for child in self._children}

    async def _round(self) -> list[Done]:
        for site in self._sites:
            site.writer.write(b"begin\n")
        done = [msgspec.json.decode(await _hear(self._processes, site), type=Done) for site in self._sites]
        if len({one.sample for one in done}) > 1:
            raise RunError(f"the sites hold different models after a round: {done}")
        return done


@contextlib.asynccontextmanager
async def fleet(processes: Processes, folder: Path, nodes: int, size: int) -> AsyncIterator[Fleet]:
    """Starts a swarm of `nodes` SLs for models of `size` bytes. Raises `RunError` when a process fails."""
    workspace = make_identities(folder / "cert", ["SN-1", *_names("SL", nodes)])
    begin = monotonic()
    sn = await _start_node(
        processes, folder, workspace, "SN-1", ["sn", "--sentinel", "--sn-api-port", "0", "--ordering", "local"]
    )
    api = msgspec.json.decode(await _hear(processes, sn))["api"]
    port = api.rpartition(":")[2]
    options = ["sl", "--sn-ip", HOST, "--sn-api-port", port, "--sl-fs-port", "0"]
    sls = [await _start_node(processes, folder, workspace, name, options) for name in _names("SL", nodes)]
    channels = [msgspec.json.decode(await _hear(processes, sl))["channel"] for sl in sls]
    startup_s = monotonic() - begin
    processes.next_wave()
    common = ["--peers", str(nodes), "--size", str(size)]
    sites = [
        await _start(processes, name, [*PARTICIPANT, *common, "--channel", channel, "--seed", str(seed)])
        for seed, (name, channel) in enumerate(zip(_names("ML", nodes), channels, strict=True), start=1)
    ]
    for site in sites:
        await _hear(processes, site)
    try:
        yield Fleet(processes, [sn, *sls], sites, startup_s)
    finally:
        for linked in (*sites, *sls, sn):
            linked.writer.close()


def make_identities(root: Path, names: Sequence[str]) -> Workspace:
    """A CA and a certificate for each of these nodes, below `root`."""
    workspace = Workspace(root)
    authority = create_authority("CA-1", days=2)
    workspace.save_authority("CA-1", authority)
    for name in names:
        workspace.save_node(name, issue(authority, name, [], [HOST], days=1))
    return workspace


def _names(kind: str, count: int) -> list[str]:
    return [f"{kind}-{number}" for number in range(1, count + 1)]


async def _start_node(
    processes: Processes, folder: Path, workspace: Workspace, name: str, options: Sequence[str]
) -> _Linked:
    identity = ["--capath", workspace.capath, "--cert", workspace.certificate(name), "--key", workspace.key(name)]
    place = ["--host-ip", HOST, "--node-name", name, "--data-dir", folder / name]
    return await _start(processes, name, [*SWARM, *options, *map(str, [*identity, *place])], "--ready-fd")


async def _start(processes: Processes, name: str, command: Sequence[str], link_option: str = "--link") -> _Linked:
    """Starts a process with one end of a socket pair, whose descriptor goes to `link_option`."""
    ours, theirs = socket.socketpair()
    with theirs:
        descriptor = theirs.fileno()
        child = await processes.start(
            name, [*command, link_option, str(descriptor)], lasting=True, inherited=[descriptor]
        )
    return _Linked(child, *await asyncio.open_unix_connection(sock=ours))


async def _hear(processes: Processes, linked: _Linked) -> bytes:
    """The next line of a process."""
    line = await linked.reader.readline()
    if not line:
        await processes.until_ended([linked.child])
    return line


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].removesuffix("kB")) * 1024
    return int(psutil.Process(pid).memory_info().rss)  # not Linux: no peak, what it holds now
