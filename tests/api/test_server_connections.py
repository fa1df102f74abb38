"""Connections are bounded in number and in time, and a crowd of them leaves room for the others."""

import asyncio
import contextlib
import socket
import ssl

from starlette.types import Receive, Scope, Send

from support.raw_client import GET, Client, describe
from support.serving import serving
from swarmlearning.api.protocol import Limits
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context

Identities = dict[str, Identity]


async def test_a_client_that_reads_nothing_of_its_answer_is_disconnected(identities: Identities) -> None:
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"64000000")]})
        await send({"type": "http.response.body", "body": bytes(64_000_000), "more_body": True})
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    def connect(server: Server) -> ssl.SSLSocket:
        sock = socket.create_connection(("127.0.0.1", server.port))
        tls = client_context(identities["SL-1"]).wrap_socket(sock)
        tls.sendall(GET)
        return tls

    async with serving(app, identities["SN-1"], Limits(unread_seconds=0.5)) as server:
        with await asyncio.to_thread(connect, server):
            await ended.wait()


async def test_an_idle_connection_is_closed(identities: Identities) -> None:
    async with (
        serving(describe, identities["SN-1"], Limits(keep_alive_seconds=1)) as server,
        Client.connected(server, client_context(identities["SL-1"])) as client,
    ):
        assert (await client.request())[0] == 200
        assert await client.rest() == b""


async def test_the_number_of_connections_with_one_certificate_is_limited(identities: Identities) -> None:
    async with serving(describe, identities["SN-1"], Limits(connections_per_peer=2)) as server:
        context = client_context(identities["SL-1"])
        async with Client.connected(server, context) as first, Client.connected(server, context) as second:
            assert (await first.request())[0] == (await second.request())[0] == 200
            async with Client.connected(server, context) as third:
                status, answer = await third.answer()
                assert status == 503
                assert "more than 2 connections" in str(answer["detail"])
            async with Client.connected(server, client_context(identities["SL-2"])) as other:
                assert (await other.request())[0] == 200
        status = 503
        while status == 503:  # until the server has seen that the others are gone
            async with Client.connected(server, context) as later:
                status, _ = await later.request()
        assert status == 200


async def test_further_connections_with_one_certificate_are_dropped_without_an_answer(identities: Identities) -> None:
    async with serving(describe, identities["SN-1"], Limits(connections_per_peer=1)) as server:
        context = client_context(identities["SL-1"])

        def connect() -> ssl.SSLSocket:
            return context.wrap_socket(socket.create_connection(("127.0.0.1", server.port)))

        def everything(sock: ssl.SSLSocket) -> bytes:
            received = b""
            with contextlib.suppress(OSError):
                while data := sock.recv(1000):
                    received += data
            return received

        async with Client.connected(server, context) as first:
            assert (await first.request())[0] == 200
            refused = await asyncio.to_thread(connect)  # does not read that it is
            dropped = await asyncio.to_thread(connect)
            with refused, dropped:
                assert await asyncio.to_thread(everything, dropped) == b""
                assert b" 503 " in await asyncio.to_thread(everything, refused)


async def test_the_number_of_connections_of_all_clients_is_limited(identities: Identities) -> None:
    async with (
        serving(describe, identities["SN-1"], Limits(connections=1)) as server,
        Client.connected(server, client_context(identities["SL-1"])) as first,
    ):
        assert (await first.request())[0] == 200
        async with Client.connected(server, client_context(identities["SL-2"])) as second:
            assert await second.rest() == b""
        assert (await first.request())[0] == 200


async def test_connections_without_a_handshake_do_not_keep_members_out(identities: Identities) -> None:
    async with (
        serving(describe, identities["SN-1"], Limits(handshakes=2, handshake_seconds=1000)) as server,
        Client.connected(server, None) as oldest,
        Client.connected(server, None),
        Client.connected(server, client_context(identities["SL-1"])) as member,
    ):
        assert (await member.request())[0] == 200
        assert await oldest.rest() == b""


async def test_an_unfinished_handshake_is_ended_after_its_time(identities: Identities) -> None:
    async with (
        serving(describe, identities["SN-1"], Limits(handshake_seconds=0.1)) as server,
        Client.connected(server, None) as client,
    ):
        assert await client.rest() == b""
