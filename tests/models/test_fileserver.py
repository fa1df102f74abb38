"""The file server over real mTLS: parts of models, members only, and nothing but models."""

import asyncio
import http.client
import json
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from blake3 import blake3

from swarmlearning.api.protocol import Limits
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.models.fileserver import RangeError, file_app, parse_range
from swarmlearning.models.store import TensorStore
from swarmlearning.tensors.digest import ModelDigest

Identities = dict[str, Identity]
Answer = tuple[int, dict[str, str], bytes]
SIZE = 2_500_000
CONTENT = blake3(b"model").digest(SIZE)
UNKNOWN = "0" * 64


@asynccontextmanager
async def serving(
    identities: Identities,
    store: TensorStore,
    members: tuple[str, ...] = ("SL-2",),
    stall_seconds: float = 60,
    on_missing: Callable[[str], None] = lambda digest: None,
) -> AsyncIterator[Server]:
    """SL-1 serves `store` to `members`."""
    thumbprints = {identities[name].thumbprint for name in members}
    app = file_app(store, lambda thumbprint, digest: thumbprint in thumbprints, on_missing, stall_seconds)
    server = Server(app, server_context(identities["SL-1"]), "127.0.0.1", 0)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace=0.1)


@pytest.fixture
def store(tmp_path: Path) -> TensorStore:
    return TensorStore(tmp_path / "store")


@pytest.fixture
async def info(store: TensorStore, tmp_path: Path) -> ModelDigest:
    (tmp_path / "model").write_bytes(CONTENT)
    return await store.adopt(tmp_path / "model")


async def ask(
    server: Server, identity: Identity, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> Answer:
    def blocking() -> Answer:
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=client_context(identity))
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    return await asyncio.to_thread(blocking)


def detail(answer: Answer) -> str:
    return str(json.loads(answer[2])["detail"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=10-", (10, 100)),
        ("bytes=99-", (99, 100)),
        ("bytes=50-1000", (50, 100)),
        ("bytes=0-9223372036854775807", (0, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-100", (0, 100)),
        ("bytes=-101", (0, 100)),
        ("bytes=-9999999999999999999", (0, 100)),
        ("bytes=100-", 416),
        ("bytes=100-200", 416),
        ("bytes=9999999999999999999-", 416),
        ("bytes=-0", 416),
        ("", 400),
        ("bytes=", 400),
        ("bytes=-", 400),
        ("bytes=5-4", 400),
        ("bytes=0-1,5-6", 400),
        ("bytes=0-1, bytes=5-6", 400),
        ("bytes=" + ",".join(["0-"] * 1000), 400),
        ("bytes=0-" + "9" * 5000, 400),
        ("bytes=+1-2", 400),
        ("bytes=1_0-20", 400),
        ("bytes= 1-2", 400),
        ("bytes=0x1-0x2", 400),
        ("items=0-1", 400),
        ("bytes=\u00b2-", 400),
    ],
)
def test_ranges(value: str, expected: tuple[int, int] | int) -> None:
    if isinstance(expected, tuple):
        assert parse_range(value.encode("latin1"), 100) == expected
    else:
        with pytest.raises(RangeError) as caught:
            parse_range(value.encode("latin1"), 100)
        assert caught.value.status == expected


def test_no_range_of_an_empty_file() -> None:
    for value in (b"bytes=0-", b"bytes=-1"):
        with pytest.raises(RangeError, match="0 bytes"):
            parse_range(value, 0)


async def test_whole_model(identities: Identities, store: TensorStore, info: ModelDigest) -> None:
    async with serving(identities, store) as server:
        status, headers, body = await ask(server, identities["SL-2"], f"/models/{info.root}")
    assert (status, body) == (200, CONTENT)
    assert headers["etag"] == f'"{info.root}"'
    assert headers["content-length"] == str(SIZE)
    assert headers["accept-ranges"] == "bytes"
    assert "server" not in headers


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1048575-1048577", 1048575, 1048578),
        ("bytes=-7", SIZE - 7, SIZE),
        ("bytes=5-9223372036854775807", 5, SIZE),
        ("bytes=-9999999999999999999", 0, SIZE),
    ],
)
async def test_part_of_a_model(
    value: str, start: int, end: int, identities: Identities, store: TensorStore, info: ModelDigest
) -> None:
    async with serving(identities, store) as server:
        status, headers, body = await ask(server, identities["SL-2"], f"/models/{info.root}", {"Range": value})
    assert (status, body) == (206, CONTENT[start:end])
    assert headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("bytes=0-1,3-4", 400),
        ("bytes=" + ",".join(["0-"] * 5000), 400),  # a few bytes that ask for gigabytes
        ("bytes=0-" + "9" * 5000, 400),
        (f"bytes={SIZE}-", 416),
        ("bytes=9999999999999999999-", 416),
    ],
)
async def test_bad_range(
    value: str, status: int, identities: Identities, store: TensorStore, info: ModelDigest
) -> None:
    async with serving(identities, store) as server:
        answer = await ask(server, identities["SL-2"], f"/models/{info.root}", {"Range": value})
    assert answer[0] == status
    assert answer[1]["content-range"] == f"bytes */{SIZE}"
    assert "range" in detail(answer)


async def test_chunk_list_and_bundle(identities: Identities, store: TensorStore, info: ModelDigest) -> None:
    async with serving(identities, store) as server:
        status, _, chunks = await ask(server, identities["SL-2"], f"/models/{info.root}/chunks")
        assert status == 200
        assert ModelDigest.from_bytes(chunks) == info
        status, headers, body = await ask(
            server, identities["SL-2"], f"/models/{info.root}/bundle", {"Range": "bytes=5-6"}
        )
    assert (status, body) == (200, chunks + CONTENT)
    assert headers["x-chunk-list-bytes"] == str(len(chunks))


@pytest.mark.parametrize("part", ["", "/chunks", "/bundle"])
async def test_head(part: str, identities: Identities, store: TensorStore, info: ModelDigest) -> None:
    async with serving(identities, store) as server:
        path = f"/models/{info.root}{part}"
        head = await ask(server, identities["SL-2"], path, method="HEAD")
        get = await ask(server, identities["SL-2"], path)
    assert head == (200, get[1], b"")


async def test_only_members_may_read(identities: Identities, store: TensorStore, info: ModelDigest) -> None:
    async with serving(identities, store, members=("SL-2",)) as server:
        for digest in (info.root, UNKNOWN):  # a stranger does not learn what is held
            for part in ("", "/chunks", "/bundle"):
                answer = await ask(server, identities["SL-3"], f"/models/{digest}{part}")
                assert answer[0] == 403
                assert "takes no part" in detail(answer)
        assert (await ask(server, identities["SL-2"], f"/models/{info.root}"))[0] == 200


async def test_membership_is_asked_for_that_certificate_and_model(
    identities: Identities, store: TensorStore, info: ModelDigest
) -> None:
    asked: list[tuple[str, str]] = []

    def may_read(thumbprint: str, digest: str) -> bool:
        asked.append((thumbprint, digest))
        return True

    server = Server(file_app(store, may_read), server_context(identities["SL-1"]), "127.0.0.1", 0)
    await server.start()
    await ask(server, identities["SL-3"], f"/models/{info.root}")
    await server.stop()
    assert asked == [(identities["SL-3"].thumbprint, info.root)]


async def test_model_that_is_not_held(identities: Identities, store: TensorStore) -> None:
    missed: list[str] = []
    async with serving(identities, store, on_missing=missed.append) as server:
        answer = await ask(server, identities["SL-2"], f"/models/{UNKNOWN}")
    assert answer[0] == 404
    assert detail(answer) == f"model {UNKNOWN} is not held here; ask another peer"
    assert missed == [UNKNOWN], "its node has to know that what it may believe to have is gone"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/models",
        "/models/",
        "/models/..",
        "/models/../secret",
        "/models/%2e%2e%2fsecret",
        "/models/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/models//etc/passwd",
        f"/models/{'A' * 64}",
        f"/models/{'a' * 65}",
        f"/models/{'a' * 64}%00",
        f"/models/{'a' * 64}%0a",
        f"/models/{'a' * 64}/",
        f"/models/{'a' * 64}/../{'a' * 64}",
        f"/models/{'a' * 64}.safetensors",
        f"/models/{'a' * 64}/chunks/",
        f"/x/models/{'a' * 64}",
        f"/models/{'%D9%A1' * 64}",
        "/models/" + "a" * 60_000,
    ],
)
async def test_nothing_but_models_has_a_path(path: str, identities: Identities, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    async with serving(identities, TensorStore(tmp_path / "store")) as server:
        answer = await ask(server, identities["SL-2"], path)
    assert answer[0] == 404
    assert "a model is at /models/<digest>" in detail(answer)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_nothing_can_be_changed(method: str, identities: Identities, store: TensorStore) -> None:
    async with serving(identities, store) as server:
        status, headers, _ = await ask(server, identities["SL-2"], f"/models/{UNKNOWN}", method=method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")


async def test_is_up(identities: Identities, store: TensorStore) -> None:
    async with serving(identities, store) as server:
        status, _, body = await ask(server, identities["SL-3"], "/is_up")
    assert (status, body) == (200, b"OK")


@asynccontextmanager
async def reading_nothing(server: Server, identity: Identity, path: str) -> AsyncIterator[ssl.SSLSocket]:
    """A client that asks and then does not read, with a small window."""

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
    """Bytes that come until there are as many as wanted or the connection ends."""
    count = 0
    try:
        while count < wanted and (data := tls.recv(2**16)):
            count += len(data)
    except OSError:
        pass
    return count


class Logged(logging.Handler):
    """An event for a log record with a certain text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.seen = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self.text in record.getMessage():
            self.seen.set()


async def test_a_reader_that_takes_nothing_is_cut_off(identities: Identities, tmp_path: Path) -> None:
    size = 64_000_000  # more than the buffers of the kernel take
    store = TensorStore(tmp_path / "store")
    (tmp_path / "model").write_bytes(bytes(size))
    info = await store.adopt(tmp_path / "model")
    logged = Logged("has taken no byte")
    logging.getLogger("swarmlearning.models.fileserver").addHandler(logged)
    try:
        async with (
            serving(identities, store, stall_seconds=0.2) as server,
            reading_nothing(server, identities["SL-2"], f"/models/{info.root}") as tls,
        ):
            await logged.seen.wait()
            assert await asyncio.to_thread(rest, tls) < size
    finally:
        logging.getLogger("swarmlearning.models.fileserver").removeHandler(logged)


async def test_a_crowd_of_slow_readers_keeps_nobody_waiting(identities: Identities, tmp_path: Path) -> None:
    """Nor does it cost the memory of what it asked for."""
    count, size = 30, 64_000_000
    store = TensorStore(tmp_path / "store")
    (tmp_path / "model").write_bytes(bytes(size))
    info = await store.adopt(tmp_path / "model")
    sent = 0
    app = file_app(store, lambda thumbprint, digest: True)

    async def watched(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        async def counting(message) -> None:  # type: ignore[no-untyped-def]
            nonlocal sent
            sent += len(message.get("body", b""))
            await send(message)

        await app(scope, receive, counting)

    server = Server(watched, server_context(identities["SL-1"]), "127.0.0.1", 0)
    await server.start()
    async with AsyncExitStack() as crowd:
        for _ in range(count):
            await crowd.enter_async_context(reading_nothing(server, identities["SL-3"], f"/models/{info.root}"))
        status, _, body = await ask(server, identities["SL-2"], f"/models/{info.root}", {"Range": "bytes=-1000"})
        assert (status, len(body)) == (206, 1000)
        assert sent < count * 2**23  # what the kernel buffers of a connection, and a piece
    await server.stop(grace=0.1)


async def test_a_flood_of_connections_leaves_the_server_to_the_others(
    identities: Identities, store: TensorStore, info: ModelDigest
) -> None:
    server = Server(
        file_app(store, lambda thumbprint, digest: True),
        server_context(identities["SL-1"]),
        "127.0.0.1",
        0,
        Limits(connections_per_peer=5),
    )
    await server.start()
    async with AsyncExitStack() as flood:
        connections = [
            await flood.enter_async_context(reading_nothing(server, identities["SL-3"], "/is_up")) for _ in range(8)
        ]
        answers = await asyncio.gather(*[asyncio.to_thread(tls.recv, 12) for tls in connections])
        assert sorted(answers) == [b"HTTP/1.1 200"] * 5 + [b"HTTP/1.1 503"] * 3
        assert (await ask(server, identities["SL-2"], f"/models/{info.root}"))[2] == CONTENT
    await server.stop(grace=0.1)


async def test_server_stops_sending_to_a_client_that_has_gone(
    identities: Identities, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = TensorStore(tmp_path / "store")
    (tmp_path / "model").write_bytes(bytes(64_000_000))
    info = await store.adopt(tmp_path / "model")
    closed = asyncio.Event()
    app = file_app(store, lambda thumbprint, digest: True)

    async def watched(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        sent = 0

        async def counting(message) -> None:  # type: ignore[no-untyped-def]
            nonlocal sent
            sent += len(message.get("body", b""))
            await send(message)

        await app(scope, receive, counting)
        assert sent < 64_000_000
        closed.set()

    server = Server(watched, server_context(identities["SL-1"]), "127.0.0.1", 0)
    await server.start()
    async with reading_nothing(server, identities["SL-2"], f"/models/{info.root}"):
        pass
    await closed.wait()
    await server.stop()


async def test_model_stays_readable_for_those_who_read(identities: Identities, tmp_path: Path) -> None:
    size = 64_000_000
    store = TensorStore(tmp_path / "store")
    (tmp_path / "model").write_bytes(bytes(size))
    info = await store.adopt(tmp_path / "model")
    async with (
        serving(identities, store) as server,
        reading_nothing(server, identities["SL-2"], f"/models/{info.root}") as tls,
    ):
        first = await asyncio.to_thread(tls.recv, 2**16)
        received = len(first.partition(b"\r\n\r\n")[2])
        await store.retain(set())
        assert (await ask(server, identities["SL-2"], f"/models/{info.root}"))[0] == 404
        assert received + await asyncio.to_thread(rest, tls, size - received) == size


async def test_file_that_shrinks_while_it_is_sent_ends_the_connection(identities: Identities, tmp_path: Path) -> None:
    size = 64_000_000
    store = TensorStore(tmp_path / "store")
    (tmp_path / "model").write_bytes(bytes(size))
    info = await store.adopt(tmp_path / "model")
    path = store.path(info.root)
    async with (
        serving(identities, store) as server,
        reading_nothing(server, identities["SL-2"], f"/models/{info.root}") as tls,
    ):
        received = len(await asyncio.to_thread(tls.recv, 2**16))
        with path.open("r+b") as file:
            file.truncate(1000)
        assert received + await asyncio.to_thread(rest, tls) < size
        assert (await ask(server, identities["SL-2"], "/is_up"))[0] == 200


async def test_a_slow_reader_that_takes_some_bytes_now_and_then_is_served_to_the_end(
    identities: Identities, tmp_path: Path
) -> None:
    """It needs many times as long for the server's piece of 1 MiB as a reader may take nothing."""
    size = 3_000_000
    store = TensorStore(tmp_path / "store")
    (tmp_path / "model").write_bytes(bytes(size))
    info = await store.adopt(tmp_path / "model")

    def read_slowly(tls: ssl.SSLSocket) -> int:
        count = 0
        while count <= size and (data := tls.recv(2**16)):
            count += len(data)
            time.sleep(0.02)
        return count

    began = time.monotonic()
    async with (
        serving(identities, store, stall_seconds=0.5) as server,
        reading_nothing(server, identities["SL-2"], f"/models/{info.root}") as tls,
    ):
        assert await asyncio.to_thread(read_slowly, tls) > size
    assert time.monotonic() - began > 3 * 0.5
