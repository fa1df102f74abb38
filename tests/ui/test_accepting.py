"""Browsers' connections as strangers make them: who is slow, silent or too many keeps nobody else out."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from support.certs import make_workspace
from support.uiapp import ui_app
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import browser_context, client_context
from swarmlearning.ui.accepting import MOST_HEAD, Bounds, BrowserServer
from swarmlearning.ui.redirecting import Redirect
from swarmlearning.ui.security import admission

SECONDS = 60.0
GET = b"GET / HTTP/1.1\r\nhost: ui\r\n\r\n"
QUICK_SECONDS = 0.4
QUICK = Bounds(head_seconds=QUICK_SECONDS, handshake_seconds=SECONDS)
"""What is in good time is given all of it: this machine may be busy."""


def patient() -> Bounds:
    return Bounds(head_seconds=SECONDS, handshake_seconds=SECONDS)


class Told:
    """An application that answers when it is told to; by default at once."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.go.set()
        self.asked = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.set()
        await self.go.wait()
        status = 413 if scope["method"] == "POST" else 200  # and leaves the body where it is
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


class Client:
    """Connects to a server at `at`; its connections are closed with it."""

    def __init__(self, at: tuple[str, int], server: BrowserServer) -> None:
        self._at = at
        self._server = server
        self._writers = list[asyncio.StreamWriter]()

    async def connect(
        self, source: str = "127.0.0.1", identity: Identity | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """From this address; with an identity, over TLS."""
        tls: dict[str, Any] = {}
        if identity is not None:
            tls = {"ssl": client_context(identity), "server_hostname": "ui-1"}
        reader, writer = await asyncio.open_connection(*self._at, local_addr=(source, 0), **tls)
        self._writers.append(writer)
        return reader, writer

    def allow(self, seconds: float) -> None:
        """The server gives heads and handshakes so long from now on."""
        for name in ("head_seconds", "handshake_seconds"):
            object.__setattr__(self._server._bounds, name, seconds)
        acceptor = self._server._acceptor
        acceptor._limits = replace(acceptor._limits, seconds=seconds)

    async def close(self) -> None:
        for each in self._writers:
            each.close()
            with suppress(OSError):
                await each.wait_closed()


@asynccontextmanager
async def served(app: ASGIApp, bounds: Bounds, context: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    """Somebody who can connect to a server."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    server = BrowserServer(app, context, bounds)
    serving = asyncio.ensure_future(server.serve([listener]))
    await server.begun.wait()
    client = Client(listener.getsockname(), server)
    try:
        yield client
    finally:
        await client.close()
        server.should_exit = True
        await serving
        await server.accepted()


async def answered(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the connection ends; also what lies here unread when it is reset."""
    got = b""
    async with asyncio.timeout(SECONDS):
        try:
            while part := await reader.read(2**16):
                got += part
        except ConnectionError:
            got += bytes(reader._buffer)  # type: ignore[attr-defined]
    return got


async def one_answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(SECONDS):
        return await reader.readuntil(b"ok")


async def dribble(writer: asyncio.StreamWriter, data: bytes, pause: float = 0.05) -> None:
    """Sends a byte at a time, until the other side has had enough."""
    try:
        for byte in data:
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(pause)  # the pace is what is tested
    except ConnectionError:
        pass


async def test_who_sends_a_request_byte_by_byte_is_refused_in_time() -> None:
    async with served(Told(), QUICK) as client:
        reader, writer = await client.connect()
        sending = asyncio.ensure_future(dribble(writer, b"GET / HTTP/1.1\r\nx: " + b"a" * 10_000))
        assert (await answered(reader)).startswith(b"HTTP/1.1 408 "), "all of it would take minutes"
        await sending


async def test_a_second_request_has_its_own_time_and_a_silent_connection_ends() -> None:
    async with served(Told(), patient()) as client:
        reader, writer = await client.connect()
        for _ in range(3):
            writer.write(GET)
            assert b" 200 " in await one_answer(reader)
        client.allow(QUICK_SECONDS)
        writer.write(GET[:10])
        assert (await answered(reader)).startswith(b"HTTP/1.1 408 ")
        silent, _ = await client.connect()
        assert await answered(silent) == b""


async def test_an_answer_that_takes_long_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Told()
    app.go.clear()
    async with served(app, patient()) as client:
        reader, writer = await client.connect()
        writer.write(GET)
        await app.asked.wait()
        loop, later = asyncio.get_running_loop(), 2 * SECONDS
        monkeypatch.setattr(loop, "time", lambda now=loop.time: now() + later)
        for _ in range(3):
            await asyncio.sleep(0)  # all timers that ran before have rung
        app.go.set()
        assert b" 200 " in await one_answer(reader)


async def test_a_body_that_was_refused_is_not_read_for_ever() -> None:
    app = Told()
    app.go.clear()
    async with served(app, patient()) as client:
        reader, writer = await client.connect()
        writer.write(b"POST / HTTP/1.1\r\nhost: ui\r\ncontent-length: 1000000\r\n\r\n")
        await app.asked.wait()
        client.allow(QUICK_SECONDS)
        app.go.set()
        assert b" 413 " in await one_answer(reader)
        sending = asyncio.ensure_future(dribble(writer, b"a" * 10_000))
        rest = await answered(reader)
        assert rest == b"" or rest.startswith(b"HTTP/1.1 408 ")
        await sending


async def test_a_head_is_bounded() -> None:
    async with served(Told(), Bounds()) as client:
        reader, writer = await client.connect()
        writer.write(b"GET / HTTP/1.1\r\nx: " + b"a" * (MOST_HEAD + 300_000))
        got = await answered(reader)
        assert got == b"" or got.startswith(b"HTTP/1.1 431 ")  # what was sent meanwhile may reset the connection


async def test_an_address_has_so_many_connections_and_others_have_theirs() -> None:
    async with served(Told(), Bounds(of_one=3, head_seconds=SECONDS)) as client:
        held = [await client.connect() for _ in range(3)]
        for reader, writer in held:
            writer.write(GET)
            assert b" 200 " in await one_answer(reader)
            writer.write(GET[:5])  # and so it stays
        refused, writer = await client.connect()
        writer.write(GET)
        assert (await answered(refused)).startswith(b"HTTP/1.1 503 ")
        other, writer = await client.connect("127.0.0.2")
        writer.write(GET)
        assert b" 200 " in await one_answer(other)


async def test_where_all_places_are_taken_the_busiest_address_gives_one_up() -> None:
    async with served(Told(), Bounds(connections=3, of_one=None, head_seconds=SECONDS)) as client:
        held = [await client.connect() for _ in range(3)]
        for reader, writer in held:
            writer.write(GET)
            await one_answer(reader)
            writer.write(GET[:5])
        other, writer = await client.connect("127.0.0.2")
        writer.write(GET)
        assert b" 200 " in await one_answer(other)
        assert await answered(held[2][0]) == b""


async def test_a_handshake_that_is_never_finished_ends(tmp_path: Path) -> None:
    identity = make_workspace(tmp_path, ["UI-1"])["UI-1"]
    async with served(Told(), patient(), browser_context(identity)) as client:
        client.allow(QUICK_SECONDS)
        slow, writer = await client.connect()
        sending = asyncio.ensure_future(
            dribble(writer, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 10_000)
        )
        assert await answered(slow) == b""
        await sending
        client.allow(SECONDS)
        reader, writer = await client.connect(identity=identity)
        writer.write(GET)
        assert b" 200 " in await one_answer(reader)


async def test_a_login_that_is_sent_byte_by_byte_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SILENCE_SECONDS", 0.4)
    async with ui_app(tmp_path) as app, served(app.asgi, Bounds(head_seconds=1)) as client:
        reader, writer = await client.connect()
        head = b"POST /login HTTP/1.1\r\nhost: ui\r\ncontent-type: application/x-www-form-urlencoded\r\n"
        writer.write(head + b"content-length: 8000\r\n\r\n")
        sending = asyncio.ensure_future(dribble(writer, b"name=" + b"a" * 8_000))
        assert (await answered(reader)).startswith(b"HTTP/1.1 408 ")
        await sending


@pytest.mark.parametrize(
    ("port", "request_line", "host", "expected"),
    [
        (443, b"/ledger?search=a%20b", b"ui.example", b"https://ui.example/ledger?search=a%20b"),
        (8443, b"/", b"ui.example:80", b"https://ui.example:8443/"),
        (8443, b"/%0d%0aset-cookie:x", b"[::1]:80", b"https://[::1]:8443/%0d%0aset-cookie:x"),
        (443, b"/" + b"a" * 3000, b"ui", b"https://ui/"),
        (443, b"/", b"evil.example/@ui", None),
        (443, b"/", b"", None),
    ],
)
async def test_plain_http_leads_to_https(port: int, request_line: bytes, host: bytes, expected: bytes | None) -> None:
    async with served(Redirect(port), QUICK) as client:
        reader, writer = await client.connect()
        writer.write(b"GET " + request_line + b" HTTP/1.1\r\nhost: " + host + b"\r\n\r\n")
        got = await answered(reader)
        if expected is None:
            assert got.startswith(b"HTTP/1.1 400 ")
        else:
            assert got.startswith(b"HTTP/1.1 308 ")
            assert b"location: " + expected + b"\r\n" in got
