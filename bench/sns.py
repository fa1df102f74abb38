"""A network of real SNs for a benchmark: one that orders alone, or several with etcd, each with ports that it keeps."""

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import SystemRandom
from typing import Any, Literal

import aiohttp
import psutil
from filelock import FileLock, Timeout

from launch import HOST, Linked, hear, make_identities, numbered, start_node
from machine import cpu_seconds
from swarmlearning.api.client import SnClient, Unavailable
from swarmlearning.channel.address import short_path
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ordering.etcd.member import CLIENT_SOCKET
from swarmlearning.supervise.processes import Processes, RunError

Ordering = Literal["local", "etcd"]

PORTS = range(10_000, 20_000, 20)
"""The first ports of blocks, outside the range from which the kernel assigns those of connections: a port is still free
for an SN that is restarted."""
LOCKS = Path(tempfile.gettempdir(), "swarmlearning-bench-ports")
PAUSE_SECONDS = 0.05
PLACE_SECONDS = 60.0


class Sns:
    """SNs 1 to `count`, whose data lies in `folder`; the first founds the network. `client`: the identity of those who
    send them requests. `organisations`: the names of each one's nodes; by default all are of one."""

    def __init__(
        self,
        processes: Processes,
        folder: Path,
        count: int,
        ordering: Ordering,
        organisations: Sequence[Sequence[str]] = (),
    ) -> None:
        self.names = numbered("SN", count)
        nodes = organisations or [self.names]
        self.workspace = make_identities(folder / "cert", [*nodes[0], "SWCI-1"], *nodes[1:])
        self.client: Identity = self.workspace.identity("SWCI-1")
        self._processes = processes
        self._folder = folder
        self._ordering = ordering
        free, self._lock = _free_ports(2 * count)
        self._api = dict(zip(self.names, free[:count], strict=True))
        self._p2p = dict(zip(self.names, free[count:], strict=True))
        self._running: dict[str, Linked] = {}

    @property
    def addresses(self) -> list[str]:
        """The SNs' APIs, `host:port`."""
        return [f"{HOST}:{self._api[name]}" for name in self.names]

    @contextlib.contextmanager
    def etcd_socket(self, name: str) -> Iterator[Path]:
        """Returns the URL at which the SN's etcd member listens for it."""
        with short_path(self._folder / name / "etcd" / CLIENT_SOCKET) as path:
            yield Path(path)

    async def found(self) -> None:
        """Starts all of them, one after another, and returns when all of them order."""
        for name in self.names:
            await self.start(name)
        await self.until_all_order()

    async def start(self, name: str) -> None:
        """Starts an SN, or starts it again; returns when it serves."""
        options = ["sn", "--ordering", self._ordering]
        options += ["--sn-api-port", str(self._api[name]), "--sn-p2p-port", str(self._p2p[name])]
        first = self.names[0]
        if name == first:
            options += ["--sentinel"]
        else:
            options += ["--sentinel-ip", HOST, "--sentinel-api-port", str(self._api[first])]
        linked = await start_node(self._processes, self._folder, self.workspace, name, options)
        self._running[name] = linked
        await hear(self._processes, linked)

    async def kill(self, name: str) -> None:
        """SIGKILL, as a power failure would end it; its etcd member goes with it."""
        linked = self._running.pop(name)
        await self._processes.sacrifice(linked.child)
        linked.writer.close()

    async def let_lead(self, name: str) -> None:
        """Makes the SN's etcd member the leader of its cluster."""
        states = {other: await self._etcd(other, "maintenance/status") for other in self.names}
        ids = {state["header"]["member_id"]: other for other, state in states.items()}
        wanted = states[name]["header"]["member_id"]
        leader = ids[states[name]["leader"]]
        if leader != name:
            await self._etcd(leader, "maintenance/transfer-leadership", {"targetID": wanted})

    async def _etcd(self, name: str, call: str, body: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Asks the SN's etcd member."""
        with self.etcd_socket(name) as path:
            connector = aiohttp.UnixConnector(str(path))
            async with (
                aiohttp.ClientSession(connector=connector, raise_for_status=True) as session,
                session.post(f"http://etcd/v3/{call}", json=body or {}) as response,
            ):
                answer: dict[str, Any] = await response.json()
                return answer

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time so far: of each SN, and of all etcd members together."""
        pids = {name: linked.child.pid for name, linked in self._running.items()}
        spent = {name: cpu_seconds(pid) for name, pid in pids.items()}
        members = [member.pid for pid in pids.values() for member in psutil.Process(pid).children()]
        return spent | ({"etcd": sum(map(cpu_seconds, members))} if members else {})

    async def until_all_order(self) -> None:
        """Waits until every SN votes and has every block that another one has."""
        votes = f"{len(self.names)} voters" if self._ordering == "etcd" else ""
        top = -1
        async with asyncio.timeout(PLACE_SECONDS):
            for address in (*self.addresses, self.addresses[0]):
                status = await self._until(address, _orders(votes, top))
                top = max(top, status["height"])

    async def _until(self, address: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with SnClient(address, client_context(self.client)) as client:
            while True:
                with contextlib.suppress(Unavailable):
                    status = await client.status()
                    if reached(status):
                        return status
                await asyncio.sleep(PAUSE_SECONDS)


def _orders(votes: str, height: int) -> Callable[[dict[str, Any]], bool]:
    return lambda status: status["height"] >= height and votes in status["fault_tolerance"]


def _free_ports(count: int) -> tuple[list[int], FileLock]:
    """A block of ports, and the lock that keeps other benchmarks of this machine off it."""
    LOCKS.mkdir(exist_ok=True)
    for first in SystemRandom().sample(PORTS, len(PORTS)):
        lock, ports = FileLock(LOCKS / str(first)), list(range(first, first + count))
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
            if all(map(_is_free, ports)):
                return ports, lock
            lock.release()
    raise RunError(f"no ports are free from {PORTS.start} to {PORTS.stop}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
