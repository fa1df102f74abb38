"""The relays between the nodes: real sockets, cut, slowed and mended."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from swarmlearning.cli.chaos.relay import Line, Relay, owner

SHORT_SECONDS = 0.2
"""For what must not happen."""


@asynccontextmanager
async def echo() -> AsyncIterator[str]:
    """A server that sends back what it gets; its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


class Dialler:
    """A client of a relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.port: int = writer.get_extra_info("sockname")[1]

    @classmethod
    async def to(cls, address: str) -> "Dialler":
        host, _, port = address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def receive(self, count: int) -> bytes:
        async with asyncio.timeout(60):
            return await self._reader.readexactly(count)

    async def receives_nothing(self) -> bool:
        try:
            async with asyncio.timeout(SHORT_SECONDS):
                await self._reader.read(1)
        except TimeoutError:
            return True
        return False

    async def is_closed(self) -> bool:
        async with asyncio.timeout(60):
            return await self._reader.read(1) == b""

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def test_a_relay_passes_bytes_on_and_closes_when_one_side_does() -> None:
    async with echo() as target:
        relay = Relay()
        address = await relay.start()
        relay.target = target
        dialler = await Dialler.to(address)
        dialler.send(b"x" * 300_000)
        assert await dialler.receive(300_000) == b"x" * 300_000
        await dialler.close()
        await relay.stop()


async def test_a_relay_with_nothing_behind_it_closes_connections_and_keeps_its_address() -> None:
    relay = Relay()
    address = await relay.start()
    nobody = await Dialler.to(address)
    assert await nobody.is_closed()
    await nobody.close()
    async with echo() as target:
        relay.target = target
        dialler = await Dialler.to(address)
        dialler.send(b"hello")
        assert await dialler.receive(5) == b"hello"
        await relay.stop()
        assert await dialler.is_closed()
        await dialler.close()


async def test_a_cut_line_delays_old_and_new_connections_and_loses_nothing() -> None:
    async with echo() as target:
        line = Line()
        relay = Relay(line)
        address = await relay.start()
        relay.target = target
        old = await Dialler.to(address)
        old.send(b"one")
        assert await old.receive(3) == b"one"
        line.cut()
        new = await Dialler.to(address)
        old.send(b"two")
        new.send(b"three")
        assert await old.receives_nothing()
        assert await new.receives_nothing()
        line.mend()
        assert (await old.receive(3), await new.receive(5)) == (b"two", b"three")
        await relay.stop()
        await old.close()
        await new.close()


async def test_only_the_site_that_dials_over_a_cut_line_is_cut_off() -> None:
    async with echo() as target:
        lines: dict[int, Line] = {}
        relay = Relay(who_dials=lambda port: lines.setdefault(port, Line()))
        address = await relay.start()
        relay.target = target
        cut, whole = await Dialler.to(address), await Dialler.to(address)
        for dialler in (cut, whole):
            dialler.send(b"hello")
            assert await dialler.receive(5) == b"hello"
        lines[cut.port].cut()
        cut.send(b"again")
        whole.send(b"again")
        assert await whole.receive(5) == b"again"
        assert await cut.receives_nothing()
        lines[cut.port].mend()
        assert await cut.receive(5) == b"again"
        await relay.stop()
        await cut.close()
        await whole.close()


async def test_a_slow_line_takes_the_time_that_its_bytes_need() -> None:
    """In virtual terms: how long it says that it will be busy."""
    line = Line()
    line.slow_down(1e6)
    clock = asyncio.get_running_loop()
    began = clock.time()
    await asyncio.gather(line.carry(100_000), line.carry(100_000))
    assert clock.time() - began >= 0.2
    line.mend()
    await line.carry(10**12)


async def test_a_relay_knows_which_process_dials_it() -> None:
    code = "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); s.recv(1)"
    dials: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dials.set_result(writer.get_extra_info("peername")[1])
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(port))
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", "import signal; signal.pause()")
    try:
        async with asyncio.timeout(60):
            dialled_from = await dials
        assert owner(dialled_from, [os.getpid(), other.pid, child.pid]) == child.pid
        assert owner(dialled_from, [other.pid]) is None
    finally:
        for process in (child, other):
            process.kill()
            await process.wait()
        server.close()
