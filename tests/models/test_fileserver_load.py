"""Readers of the file server that are slow, vanish or come in crowds, and models that go while they are read."""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from support.serving import request, serving, serving_models
from swarmlearning.api.protocol import Limits
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.store import TensorStore

Identities = dict[str, Identity]
SIZE = 64_000_000
"""More than the buffers of the kernel hold."""

Serve = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture
def serve(identities: Identities, store: TensorStore) -> Serve:
    """SL-1 serves the store; SL-2 is a member."""
    return partial(serving_models, store, identities["SL-1"], [identities["SL-2"]])


@pytest.fixture
async def path(store: TensorStore, tmp_path: Path) -> str:
    """The path of a model of `SIZE` bytes."""
    return await path_of_zeros(store, tmp_path, SIZE)


async def path_of_zeros(store: TensorStore, folder: Path, size: int) -> str:
    (folder / "model").write_bytes(bytes(size))
    return f"/models/{(await store.adopt(folder / 'model')).root}"


@asynccontextmanager
async def reading_nothing(server: Server, identity: Identity, path: str) -> AsyncIterator[ssl.SSLSocket]:
    """A client that sends a request and then does not read, with a small window."""

    def connect() -> ssl.SSLSocket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.port))
        tls = client_context(identity).wrap_socket(sock)
        tls.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        return tls

    tls = await asyncio.to_thread(connect)
    try:
        yield tls
    finally:
        tls.close()


def rest(tls: ssl.SSLSocket, wanted: int = 2**62) -> int:
    """Counts the bytes that arrive until there are as many as wanted or the connection ends."""
    count = 0
    try:
        while count < wanted and (data := tls.recv(2**16)):
            count += len(data)
    except OSError:
        pass
    return count


class Logged(logging.Handler):
    """An event that is set when a record with this text is logged."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.seen = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.text in record.getMessage():
            self.seen.set()


class Sent:
    """Counts the bytes that an application sends."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.count = 0
        self.left = asyncio.Event()
        """Set when a request has ended before all of a model was sent."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Message) -> None:
            self.count += len(message.get("body", b""))
            await send(message)

        await self.app(scope, receive, counting)
        if self.count < SIZE:
            self.left.set()


async def test_a_reader_that_reads_nothing_is_disconnected(serve: Serve, identities: Identities, path: str) -> None:
    logged = Logged("has read no byte")
    logging.getLogger("swarmlearning.models.sending").addHandler(logged)
    try:
        async with serve(stall_seconds=0.2) as server, reading_nothing(server, identities["SL-2"], path) as tls:
            await logged.seen.wait()
            assert await asyncio.to_thread(rest, tls) < SIZE
    finally:
        logging.getLogger("swarmlearning.models.sending").removeHandler(logged)


async def test_a_crowd_of_slow_readers_delays_no_other_reader_and_takes_little_memory(
    identities: Identities, store: TensorStore, path: str
) -> None:
    count = 30
    app = Sent(file_app(store, lambda thumbprint, digest, chunks: True))
    async with serving(app, identities["SL-1"]) as server, AsyncExitStack() as crowd:
        for _ in range(count):
            await crowd.enter_async_context(reading_nothing(server, identities["SL-3"], path))
        status, _, body = await request(server, identities["SL-2"], path, {"Range": "bytes=-1000"})
        assert (status, len(body)) == (206, 1000)
        assert app.count < count * 2**23  # what the kernel buffers of a connection, and a piece


async def test_a_flood_of_connections_from_one_peer_leaves_the_server_to_the_others(
    identities: Identities, store: TensorStore, tmp_path: Path
) -> None:
    path = await path_of_zeros(store, tmp_path, 1000)
    app = file_app(store, lambda thumbprint, digest, chunks: True)
    async with (
        serving(app, identities["SL-1"], Limits(connections_per_peer=5)) as server,
        AsyncExitStack() as flood,
    ):
        connections = [
            await flood.enter_async_context(reading_nothing(server, identities["SL-3"], "/is_up")) for _ in range(8)
        ]
        answers = await asyncio.gather(*[asyncio.to_thread(tls.recv, 12) for tls in connections])
        assert sorted(answers) == [b"HTTP/1.1 200"] * 5 + [b"HTTP/1.1 503"] * 3
        assert (await request(server, identities["SL-2"], path))[2] == bytes(1000)


async def test_the_server_stops_sending_to_a_client_that_has_disconnected(
    identities: Identities, store: TensorStore, path: str
) -> None:
    app = Sent(file_app(store, lambda thumbprint, digest, chunks: True))
    async with serving(app, identities["SL-1"], grace=2) as server:
        async with reading_nothing(server, identities["SL-2"], path):
            pass
        await app.left.wait()


async def test_a_model_that_the_store_removes_stays_readable_for_those_who_are_reading_it(
    serve: Serve, identities: Identities, store: TensorStore, path: str
) -> None:
    async with serve() as server, reading_nothing(server, identities["SL-2"], path) as tls:
        first = await asyncio.to_thread(tls.recv, 2**16)
        received = len(first.partition(b"\r\n\r\n")[2])
        await store.retain(set())
        assert (await request(server, identities["SL-2"], path))[0] == 404
        assert received + await asyncio.to_thread(rest, tls, SIZE - received) == SIZE


async def test_a_model_file_that_shrinks_while_it_is_sent_ends_the_connection(
    serve: Serve, identities: Identities, store: TensorStore, path: str
) -> None:
    async with serve() as server, reading_nothing(server, identities["SL-2"], path) as tls:
        received = len(await asyncio.to_thread(tls.recv, 2**16))
        with store.path(path.removeprefix("/models/")).open("r+b") as file:
            file.truncate(1000)
        assert received + await asyncio.to_thread(rest, tls) < SIZE
        assert (await request(server, identities["SL-2"], "/is_up"))[0] == 200


async def test_a_slow_reader_that_reads_some_bytes_now_and_then_is_served_to_the_end(
    serve: Serve, identities: Identities, store: TensorStore, tmp_path: Path
) -> None:
    """Reading the server's piece of 1 MiB lasts many times as long as a reader may read nothing."""
    size = 3_000_000
    path = await path_of_zeros(store, tmp_path, size)

    def read_slowly(tls: ssl.SSLSocket) -> int:
        count = 0
        while count <= size and (data := tls.recv(2**16)):
            count += len(data)
            time.sleep(0.02)
        return count

    began = time.monotonic()
    async with (
        serve(stall_seconds=0.5) as server,
        reading_nothing(server, identities["SL-2"], path) as tls,
    ):
        assert await asyncio.to_thread(read_slowly, tls) > size
    assert time.monotonic() - began > 3 * 0.5
