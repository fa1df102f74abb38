"""The network between the nodes of one machine, as far as it can be disturbed without root: TCP relays on loopback.

Each node announces the address of a relay in its place. A relay knows who dials it by the peer's port, so that a single
site can be cut off or slowed: whatever that site sends or is sent passes its `Line`, on its own relay or on another's.

A line that is cut loses nothing and closes nothing: bytes wait, as they do when a network drops packets and TCP sends
them again later. Whoever dials meanwhile is connected, but gets no answer.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil

from swarmlearning.address import join, split

PIECE = 64 * 1024
CONNECT_SECONDS = 10.0
HOST = "127.0.0.1"


class Line:
    """A site's connection to the network."""

    def __init__(self) -> None:
        self._whole = asyncio.Event()
        self._whole.set()
        self._bytes_per_s: float | None = None
        self._free_at = 0.0

    def cut(self) -> None:
        """Cuts the connection: nothing gets through any more."""
        self._whole.clear()

    def slow_down(self, bytes_per_s: float) -> None:
        """Limits all connections of the site together to this rate."""
        self._bytes_per_s = bytes_per_s

    def mend(self) -> None:
        """Restores the undisturbed connection."""
        self._whole.set()
        self._bytes_per_s = None

    async def carry(self, count: int) -> None:
        """Waits for as long as so many bytes need."""
        await self._whole.wait()
        if self._bytes_per_s is not None:
            now = asyncio.get_running_loop().time()
            self._free_at = max(now, self._free_at) + count / self._bytes_per_s
            await asyncio.sleep(self._free_at - now)
        await self._whole.wait()


WhoDials = Callable[[int], Line | None]
"""From the port that a connection comes from to the line of the site that dials; None: no site."""


class Relay:
    """Passes connections on to `target` (`host:port`), which may change, and be empty while the target is down."""

    def __init__(self, line: Line | None = None, who_dials: WhoDials | None = None) -> None:
        """`line`: of the site behind this relay. Without `who_dials` the dialling node is never looked up."""
        self.target = ""
        self._line = line
        self._who_dials = who_dials
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Listens; returns the address, `host:port`."""
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        return join(HOST, self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Closes everything."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            with suppress(OSError, TimeoutError):
                await self._pass_on(reader, writer)
        except asyncio.CancelledError:
            return  # asyncio's server reports a cancelled handler as an error
        finally:
            await _close(writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [] if self._line is None else [self._line]
        if self._who_dials is not None:
            port: int = writer.get_extra_info("peername")[1]
            dialler = await asyncio.to_thread(self._who_dials, port)
            lines += [dialler] if dialler and dialler is not self._line else []
        if not self.target:
            return
        async with asyncio.timeout(CONNECT_SECONDS):
            there_reader, there_writer = await asyncio.open_connection(*split(self.target))
        ways = [
            asyncio.ensure_future(_pump(reader, there_writer, lines)),
            asyncio.ensure_future(_pump(there_reader, writer, lines)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await _close(there_writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lines: Sequence[Line]) -> None:
    """One direction of a connection, until its end."""
    while data := await reader.read(PIECE):
        for line in lines:
            await line.carry(len(data))
        writer.write(data)
        await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def owner(port: int, pids: Sequence[int]) -> int | None:
    """The one of these processes that has a TCP socket with this local port; reads the system's tables."""
    for pid in pids:
        with suppress(psutil.Error):
            if port in (getattr(found.laddr, "port", None) for found in psutil.Process(pid).net_connections("tcp")):
                return pid
    return None
