"""The mTLS server over real sockets: who the peer is, what is bounded, and how it ends."""

import asyncio
import contextlib
import hashlib
import json
import logging
import re
import signal
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from support.certs import expired, make_workspace, stranger
from support.gencert import gen_cert
from swarmlearning.api import server as server_module
from swarmlearning.api.middleware import BodyLimit, send_error
from swarmlearning.api.peer import ServerError, peer_certificate, peer_thumbprint
from swarmlearning.api.protocol import MAX_HEAD_BYTES, Limits
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.transport import listener
from swarmlearning.transport.listener import ListenError

Identities = dict[str, Identity]
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with who asks, and how long the body was."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    certificate = peer_certificate(scope).public_bytes(Encoding.DER)
    answer = {
        "thumbprint": peer_thumbprint(scope),
        "certificate": hashlib.sha256(certificate).hexdigest(),
        "received": len(body),
    }
    data = json.dumps(answer).encode()
    headers = [(b"content-length", b"%d" % len(data))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": data})


@asynccontextmanager
async def serving(app: ASGIApp, identity: Identity, limits: Limits | None = None) -> AsyncIterator[Server]:
    server = Server(app, server_context(identity), "127.0.0.1", 0, limits)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace=1)


class Client:
    """One TLS connection that speaks HTTP by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def connected(cls, server: Server, context: ssl.SSLContext | None) -> AsyncIterator["Client"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
        client = cls(reader, writer)
        try:
            yield client
        finally:
            writer.transport.abort()

    async def ask(self, request: bytes = GET) -> tuple[int, dict[str, object]]:
        self.writer.write(request)
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, object]]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        return int(head.split()[1]), json.loads(await self.reader.readexactly(int(length[1])))

    async def rest(self) -> bytes:
        """All that comes until the server ends the connection."""
        try:
            return await self.reader.read()
        except OSError:
            return b""


def as_client(identities: Identities, name: str) -> ssl.SSLContext:
    return client_context(identities[name])


async def test_application_knows_its_peer_on_every_request(identities: Identities) -> None:
    """The contract with uvicorn: if an upgrade changes its protocol class, this fails."""
    async with serving(hello, identities["SN-1"]) as server:
        for name in ("SL-1", "SL-2"):
            async with Client.connected(server, as_client(identities, name)) as client:
                for _ in range(2):
                    status, answer = await client.ask()
                    assert status == 200
                    assert answer["thumbprint"] == answer["certificate"] == identities[name].thumbprint


async def test_application_knows_peers_with_certificates_of_the_original(tmp_path: Path) -> None:
    old = gen_cert(tmp_path)
    async with (
        serving(hello, old["SN-1"]) as server,
        Client.connected(server, client_context(old["SL-1"])) as client,
    ):
        _, answer = await client.ask()
    assert answer["thumbprint"] == old["SL-1"].thumbprint


def test_scope_of_another_server_is_refused() -> None:
    with pytest.raises(ServerError, match="no peer certificate"):
        peer_thumbprint({"type": "http"})


@pytest.mark.parametrize("kind", ["none", "stranger", "expired"])
async def test_unknown_client_gets_no_answer_and_is_logged(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    identities = make_workspace(tmp_path, ["SN-1", "SL-1"])
    if kind == "none":
        context = as_client(identities, "SL-1")
        anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anonymous.check_hostname = False
        anonymous.load_verify_locations(cadata="".join(map(ssl.DER_cert_to_PEM_cert, context.get_ca_certs(True))))
        context = anonymous
    else:
        make = {"stranger": stranger, "expired": expired}[kind]
        context = client_context(make(tmp_path, "SL-9"))
        context.verify_mode = ssl.CERT_NONE  # it is the server's judgement that is tested
    called = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal called
        called = True

    caplog.set_level(logging.WARNING)
    async with serving(app, identities["SN-1"]) as server, Client.connected(server, context) as client:
        client.writer.write(GET)
        assert await client.rest() == b""
        async with Client.connected(server, as_client(identities, "SL-1")) as member:
            member.writer.write(GET)
            await member.rest()
    assert called  # by the member, which shows that the server lives
    assert "TLS handshake with 127.0.0.1" in caplog.text


async def test_port_in_use_is_named(identities: Identities) -> None:
    async with serving(hello, identities["SN-1"]) as server:
        second = Server(hello, server_context(identities["SN-1"]), "127.0.0.1", server.port)
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1:{server.port}.*in use.*another port"):
            await second.start()


async def test_address_of_another_machine_is_named(identities: Identities) -> None:
    server = Server(hello, server_context(identities["SN-1"]), "192.0.2.1", 0)
    with pytest.raises(ListenError, match=r"192\.0\.2\.1:0.*address of this machine"):
        await server.start()


def test_context_without_client_certificates_is_refused() -> None:
    with pytest.raises(ServerError, match="client certificate"):
        Server(hello, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "127.0.0.1", 0)


async def test_signal_handlers_stay_with_the_owner(identities: Identities) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    async with serving(hello, identities["SN-1"]):
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


SLOW = {
    "nothing at all": b"",
    "part of the head": b"GET / HTTP/1.1\r\nhost: ",
    "part of the body": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc",
    "an empty line after a request": GET + b"\r\n",
    "part of a second request": GET + b"GET /",
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=list(SLOW))
async def test_slow_request_is_cut(sent: bytes, identities: Identities) -> None:
    seconds = 1 if sent.startswith(GET) else 0.2  # in which the client, on a busy machine, does ask
    async with (
        serving(hello, identities["SN-1"], Limits(request_seconds=seconds)) as server,
        Client.connected(server, as_client(identities, "SL-1")) as client,
    ):
        if sent.startswith(GET):
            assert (await client.ask())[0] == 200
        client.writer.write(sent.removeprefix(GET))
        status, answer = await client.answer()
        assert status == 408
        assert f"did not arrive within {seconds} seconds" in str(answer["detail"])
        assert await client.rest() == b""


async def stalled(scope: Scope, receive: Receive, send: Send) -> None:
    """Never answers."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
    """Begins to answer and never ends."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun", "more_body": True})
    await stalled(scope, receive, send)


PIPELINED = {
    "a second request": GET + GET,
    "a part of a second request": GET + b"GET /HT",
    "many requests": GET * 1000,
    "a request behind a body": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc" + GET,
    "a request behind chunks": b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
}


@pytest.mark.parametrize("sent", PIPELINED.values(), ids=list(PIPELINED))
async def test_a_connection_that_pipelines_is_closed(sent: bytes, identities: Identities) -> None:
    async with (
        serving(stalled, identities["SN-1"]) as server,
        Client.connected(server, as_client(identities, "SL-1")) as client,
    ):
        status, answer = await client.ask(sent)
        assert (status, answer["detail"]) == (400, "send a request after the answer to the one before it")
        assert await client.rest() == b""


async def test_a_request_during_a_stream_closes_the_connection(identities: Identities) -> None:
    async with (
        serving(streaming, identities["SN-1"]) as server,
        Client.connected(server, as_client(identities, "SL-1")) as client,
    ):
        client.writer.write(GET)
        await client.reader.readuntil(b"begun")
        client.writer.write(GET)
        assert b"HTTP" not in await client.rest()


async def test_pipelined_requests_take_no_memory(identities: Identities) -> None:
    """As much as the kernel takes: the server reads none of it once it has closed the connection."""
    requests = GET * 2000
    async with serving(stalled, identities["SN-1"]) as server:
        tracemalloc.start()
        async with Client.connected(server, as_client(identities, "SL-1")) as client:
            with contextlib.suppress(OSError):
                for _ in range(100):
                    client.writer.write(requests)
                    await client.writer.drain()
            await client.rest()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("kind", ["trailer", "one long trailer", "chunk extension", "empty lines"])
async def test_bytes_that_belong_to_no_body_are_bounded(kind: str, identities: Identities) -> None:
    chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    begin, endless = {
        "trailer": (chunked + b"0\r\n", b"a: b\r\n"),
        "one long trailer": (chunked + b"0\r\na: ", b"bbbbbbb"),
        "chunk extension": (chunked + b"1;", b"bbbbbb"),
        "empty lines": (b"", b"\r\n"),
    }[kind]
    async with (
        serving(hello, identities["SN-1"], Limits(request_seconds=1000)) as server,
        Client.connected(server, as_client(identities, "SL-1")) as client,
    ):
        client.writer.write(begin + endless * (3 * MAX_HEAD_BYTES // len(endless)))
        assert (await client.answer())[0] == 431


async def test_long_answer_is_not_cut_by_the_request_limit(identities: Identities) -> None:
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await go_on.wait()
        await send_error(send, 200, "done")

    limits = Limits(request_seconds=1)
    async with (
        serving(app, identities["SN-1"], limits) as server,
        Client.connected(server, as_client(identities, "SL-1")) as slow,
        Client.connected(server, as_client(identities, "SL-2")) as idle,
    ):
        slow.writer.write(GET)
        await idle.rest()  # cut by the limit, which is therefore over for the other one too
        go_on.set()
        assert (await slow.answer())[0] == 200


async def test_client_that_leaves_everything_unread_is_cut(identities: Identities) -> None:
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
        tls = as_client(identities, "SL-1").wrap_socket(sock)
        tls.sendall(GET)
        return tls

    async with serving(app, identities["SN-1"], Limits(unread_seconds=0.5)) as server:
        with await asyncio.to_thread(connect, server):
            await ended.wait()


async def test_a_body_is_taken_when_it_is_sent(identities: Identities) -> None:
    """The file server uses its buffer again at once; here the client reads only when that has been overwritten."""
    size, overwritten = 8_000_000, asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        buffer = memoryview(bytearray(b"1" * size))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.body", "body": buffer, "more_body": True})
        buffer[:] = bytes(size)
        overwritten.set()

    async with (
        serving(app, identities["SN-1"]) as server,
        Client.connected(server, as_client(identities, "SL-1")) as client,
    ):
        client.writer.write(GET)
        await overwritten.wait()
        await client.reader.readuntil(b"\r\n\r\n")
        assert await client.reader.readexactly(size) == b"1" * size


async def test_nothing_is_put_into_an_answer_under_way(identities: Identities) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with (
        serving(app, identities["SN-1"], Limits(request_seconds=1)) as server,
        Client.connected(server, as_client(identities, "SL-1")) as client,
    ):
        client.writer.write(SLOW["part of the body"])
        assert (await client.rest()).endswith(b"\r\n\r\n12345")


async def test_idle_connection_is_closed(identities: Identities) -> None:
    async with (
        serving(hello, identities["SN-1"], Limits(keep_alive_seconds=1)) as server,
        Client.connected(server, as_client(identities, "SL-1")) as client,
    ):
        assert (await client.ask())[0] == 200
        assert await client.rest() == b""


async def test_long_head_is_refused(identities: Identities) -> None:
    async with (
        serving(hello, identities["SN-1"]) as server,
        Client.connected(server, as_client(identities, "SL-1")) as client,
    ):
        line = b"a: " + b"x" * 1000 + b"\r\n"
        client.writer.write(b"GET / HTTP/1.1\r\n" + line * (MAX_HEAD_BYTES // 1000 + 1))
        assert (await client.answer())[0] == 431


async def test_heads_of_many_requests_do_not_add_up(identities: Identities) -> None:
    request = b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"x" * (MAX_HEAD_BYTES // 3) + b"\r\n\r\n"
    async with (
        serving(hello, identities["SN-1"]) as server,
        Client.connected(server, as_client(identities, "SL-1")) as client,
    ):
        for _ in range(5):
            assert (await client.ask(request))[0] == 200


async def test_connections_with_one_certificate_are_limited(identities: Identities) -> None:
    async with serving(hello, identities["SN-1"], Limits(connections_per_peer=2)) as server:
        context = as_client(identities, "SL-1")
        async with Client.connected(server, context) as first, Client.connected(server, context) as second:
            assert (await first.ask())[0] == (await second.ask())[0] == 200
            async with Client.connected(server, context) as third:
                status, answer = await third.answer()
                assert status == 503
                assert "more than 2 connections" in str(answer["detail"])
            async with Client.connected(server, as_client(identities, "SL-2")) as other:
                assert (await other.ask())[0] == 200
        status = 503
        while status == 503:  # until the server has seen that the others are gone
            async with Client.connected(server, context) as later:
                status, _ = await later.ask()
        assert status == 200


async def test_flood_with_one_certificate_is_dropped(identities: Identities) -> None:
    async with serving(hello, identities["SN-1"], Limits(connections_per_peer=1)) as server:
        context = as_client(identities, "SL-1")

        def connect() -> ssl.SSLSocket:
            return context.wrap_socket(socket.create_connection(("127.0.0.1", server.port)))

        def everything(sock: ssl.SSLSocket) -> bytes:
            received = b""
            with contextlib.suppress(OSError):
                while data := sock.recv(1000):
                    received += data
            return received

        async with Client.connected(server, context) as first:
            assert (await first.ask())[0] == 200
            refused = await asyncio.to_thread(connect)  # does not read that it is
            dropped = await asyncio.to_thread(connect)
            with refused, dropped:
                assert await asyncio.to_thread(everything, dropped) == b""
                assert b" 503 " in await asyncio.to_thread(everything, refused)


async def test_connections_in_all_are_limited(identities: Identities) -> None:
    async with (
        serving(hello, identities["SN-1"], Limits(connections=1)) as server,
        Client.connected(server, as_client(identities, "SL-1")) as first,
    ):
        assert (await first.ask())[0] == 200
        async with Client.connected(server, as_client(identities, "SL-2")) as second:
            assert await second.rest() == b""
        assert (await first.ask())[0] == 200


async def test_half_open_connections_do_not_lock_members_out(identities: Identities) -> None:
    async with (
        serving(hello, identities["SN-1"], Limits(handshakes=2, handshake_seconds=1000)) as server,
        Client.connected(server, None) as oldest,
        Client.connected(server, None),
        Client.connected(server, as_client(identities, "SL-1")) as member,
    ):
        assert (await member.ask())[0] == 200
        assert await oldest.rest() == b""


async def test_unfinished_handshake_is_cut(identities: Identities) -> None:
    async with (
        serving(hello, identities["SN-1"], Limits(handshake_seconds=0.1)) as server,
        Client.connected(server, None) as client,
    ):
        assert await client.rest() == b""


def post(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % length + b"x" * length


def post_chunked(*lengths: int) -> bytes:
    chunks = b"".join(b"%x\r\n" % length + b"x" * length + b"\r\n" for length in (*lengths, 0))
    return b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + chunks


@pytest.mark.parametrize(
    ("request_bytes", "received"),
    [
        (GET, 0),
        (post(0), 0),
        (post(100_000), 100_000),
        (post_chunked(60_000, 40_000), 100_000),
        (post(100_001), None),
        (post(5_000_000), None),
        (post_chunked(60_000, 40_001), None),
        (post_chunked(*[65_536] * 80), None),
    ],
    ids=[
        "GET",
        "empty",
        "largest",
        "largest chunked",
        "larger",
        "much larger",
        "larger chunked",
        "much larger chunked",
    ],
)
async def test_bodies_are_limited(request_bytes: bytes, received: int | None, identities: Identities) -> None:
    async with (
        serving(BodyLimit(hello, 100_000), identities["SN-1"]) as server,
        Client.connected(server, as_client(identities, "SL-1")) as client,
    ):
        status, answer = await client.ask(request_bytes)
        if received is None:
            assert status == 413
            assert "100000 bytes" in str(answer["detail"])
        else:
            assert (status, answer["received"]) == (200, received)
        assert (await client.ask())[0] == 200  # the connection is as good as before


async def test_fastapi_application(identities: Identities) -> None:
    app = FastAPI()

    @app.post("/double")
    async def double(request: Request, value: dict[str, int]) -> dict[str, object]:
        return {"doubled": 2 * value["x"], "by": peer_thumbprint(request.scope)}

    body = b'{"x": 21}'
    head = b"POST /double HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    async with (
        serving(BodyLimit(app, 1000), identities["SN-1"]) as server,
        Client.connected(server, as_client(identities, "SL-1")) as client,
    ):
        assert await client.ask(head % len(body) + body) == (
            200,
            {"doubled": 42, "by": identities["SL-1"].thumbprint},
        )


async def test_stop_lets_a_request_end(identities: Identities) -> None:
    running, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        running.set()
        await go_on.wait()
        await send_error(send, 200, "x" * 3_000_000)

    server = Server(app, server_context(identities["SN-1"]), "127.0.0.1", 0)
    await server.start()
    async with Client.connected(server, as_client(identities, "SL-1")) as client:
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


async def test_stop_ends_event_streams(identities: Identities, caplog: pytest.LogCaptureFixture) -> None:
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
    async with Client.connected(server, as_client(identities, "SL-1")) as client:
        client.writer.write(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")
        await client.reader.readuntil(b"data: 1")
        await server.stop(grace=0.1)
        await server.stop()
        assert ended.is_set()
        await client.rest()
    assert "cancelled" not in caplog.text  # it has noticed by itself


async def test_stop_cancels_a_handler_that_waits_for_others(
    identities: Identities, caplog: pytest.LogCaptureFixture
) -> None:
    """As one does that waits for a majority; that is nothing to report."""
    running, cancelled = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    server = Server(app, server_context(identities["SN-1"]), "127.0.0.1", 0)
    await server.start()
    async with Client.connected(server, as_client(identities, "SL-1")) as client:
        client.writer.write(GET)
        await running.wait()
        await server.stop(grace=0.1)
    assert cancelled.is_set()
    assert caplog.text == ""


async def test_stop_does_not_wait_for_a_handler_that_cannot_be_cancelled(
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
    async with Client.connected(server, as_client(identities, "SL-1")) as client:
        client.writer.write(GET)
        await running.wait()
        await server.stop(grace=0.1)
    assert "a request handler goes on" in caplog.text
    enough.set()


async def test_failure_of_the_server_reaches_its_owner(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    def deaf(host: str, port: int) -> socket.socket:
        sock = socket.socket()
        sock.bind((host, port))
        sock.setblocking(False)
        return sock  # never told to listen: accepting fails

    monkeypatch.setattr(listener, "listen", deaf)
    server = Server(hello, server_context(identities["SN-1"]), "127.0.0.1", 0)
    await server.start()
    with pytest.raises(OSError, match="Invalid argument"):
        await server.wait()
    with pytest.raises(OSError, match="Invalid argument"):
        await server.stop()


async def test_stop_before_start_is_harmless(identities: Identities) -> None:
    server = Server(hello, server_context(identities["SN-1"]), "127.0.0.1", 0)
    await server.stop()
    with pytest.raises(ServerError, match="not been started"):
        await server.wait()
