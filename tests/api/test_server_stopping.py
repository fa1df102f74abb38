"""Stopping the mTLS server: what may end, what is cut off, and how long it takes."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from support.raw_client import GET, Client, describe
from swarmlearning.api import server as server_module
from swarmlearning.api.middleware import BodyLimit, send_error
from swarmlearning.api.peer import ServerError
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context

Identities = dict[str, Identity]


async def test_stopping_the_server_lets_a_request_under_way_end(identities: Identities) -> None:
    running, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        running.set()
        await go_on.wait()
        await send_error(send, 200, "x" * 3_000_000)

    server = Server(app, server_context(identities["SN-1"]), "127.0.0.1", 0)
    await server.start()
    async with Client.connected(server, client_context(identities["SL-1"])) as client:
        client.writer.write(GET)
        await running.wait()
        stopping = asyncio.create_task(server.stop(grace=60))
        while True:  # until the port is closed
            try:
                socket.create_connection(("127.0.0.1", server.port)).close()
            except ConnectionRefusedError:
                break
            await asyncio.sleep(0)
        assert not stopping.done()
        go_on.set()
        status, answer = await client.answer()
        assert (status, len(str(answer["detail"]))) == (200, 3_000_000)
        await stopping
    await server.wait()


async def test_stopping_the_server_ends_event_streams(
    identities: Identities, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_NOTICE_SECONDS", 60.0)
    app = FastAPI()
    ended = asyncio.Event()

    @app.get("/events")
    async def events() -> StreamingResponse:
        async def stream() -> AsyncIterator[str]:
            try:
                yield "data: 1\n\n"
                await asyncio.Event().wait()
            finally:
                ended.set()

        return StreamingResponse(stream(), media_type="text/event-stream")

    server = Server(BodyLimit(app, 1000), server_context(identities["SN-1"]), "127.0.0.1", 0)
    await server.start()
    async with Client.connected(server, client_context(identities["SL-1"])) as client:
        client.writer.write(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")
        await client.reader.readuntil(b"data: 1")
        await server.stop(grace=0.1)
        await server.stop()
        assert ended.is_set()
        await client.rest()
    assert "cancelled" not in caplog.text  # it has noticed by itself


async def test_stopping_the_server_cancels_a_handler_that_is_waiting(
    identities: Identities, caplog: pytest.LogCaptureFixture
) -> None:
    """As one does that waits for a majority; nothing is logged about it."""
    running, cancelled = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    server = Server(app, server_context(identities["SN-1"]), "127.0.0.1", 0)
    await server.start()
    async with Client.connected(server, client_context(identities["SL-1"])) as client:
        client.writer.write(GET)
        await running.wait()
        await server.stop(grace=0.1)
    assert cancelled.is_set()
    assert caplog.text == ""


async def test_stopping_the_server_does_not_wait_for_a_handler_that_ignores_cancellation(
    identities: Identities, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "_ABANDON_SECONDS", 0.1)
    running, enough = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        running.set()
        while not enough.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await enough.wait()

    server = Server(app, server_context(identities["SN-1"]), "127.0.0.1", 0)
    await server.start()
    async with Client.connected(server, client_context(identities["SL-1"])) as client:
        client.writer.write(GET)
        await running.wait()
        await server.stop(grace=0.1)
    assert "a request handler goes on" in caplog.text
    enough.set()


async def test_stopping_a_server_that_was_never_started_is_harmless(identities: Identities) -> None:
    server = Server(describe, server_context(identities["SN-1"]), "127.0.0.1", 0)
    await server.stop()
    with pytest.raises(ServerError, match="not been started"):
        await server.wait()
