"""Fetching models over real mTLS from file servers that work, and from such that do not."""

import asyncio
import os
import re
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from blake3 import blake3
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from support.certs import make_workspace, stranger
from support.gencert import gen_cert
from support.ports import fixed_port
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.models.transfer import Fetcher, Source, TransferError
from swarmlearning.tensors.digest import CHUNK, ModelDigest

Identities = dict[str, Identity]
SIZE = 2 * CHUNK + 1_000_000
CONTENT = blake3(b"model").digest(SIZE)
PREFIX = 13 + 8 + 3 * 32  # the chunk list, which goes before the model in a bundle
UNKNOWN = "0" * 64


@dataclass
class Holder:
    """A node that holds the model, with a fault if told so.

    `cut`: ends the connection after this many bytes of the model. `stall`: sends no more after this many.
    `flip`: alters the byte at this offset of the model.
    """

    store: TensorStore
    members: Callable[[str, str], bool] = lambda thumbprint, digest: True
    cut: int | None = None
    stall: int | None = None
    flip: int | None = None
    asked: list[str] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)
    sent: int = 0
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    server: Server = field(init=False)

    @property
    def source(self) -> Source:
        return "127.0.0.1", self.server.port

    def app(self) -> ASGIApp:
        good = file_app(self.store, self.members)

        async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
            wanted = dict(scope["headers"]).get(b"range", b"").decode()
            self.asked.append((scope["path"].removeprefix("/models/")[64:] + " " + wanted).strip())
            self.connections.add(scope["client"])
            start = re.match(r"bytes=(\d+)-", wanted)
            position = int(start[1]) if start else -PREFIX

            async def tampered(message: Message) -> None:
                nonlocal position
                if message["type"] == "http.response.start":
                    if message["status"] > 206:
                        position = 2**62
                    await send(message)
                    return
                body = bytearray(message.get("body", b""))
                if self.flip is not None and 0 <= self.flip - position < len(body):
                    body[self.flip - position] ^= 1
                end = position + len(body)
                limit = min(limit for limit in (self.cut, self.stall, end) if limit is not None)
                more = message.get("more_body", False) or limit < end
                keep = bytes(body[: max(0, limit - position)])
                self.sent += len(keep)
                await send({"type": "http.response.body", "body": keep, "more_body": more})
                position = end
                if limit < end and self.stall is not None:
                    self.stalled.set()
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    self.left.set()
                if limit < end:
                    raise _Cut

            try:
                await good(scope, receive, tampered)
            except _Cut:
                return  # with the answer unfinished, the server closes the connection

        return faulty


class _Cut(Exception):
    pass


Hold = Callable[..., Awaitable[Holder]]


@pytest.fixture
async def hold(identities: Identities, tmp_path: Path) -> AsyncIterator[Hold]:
    """Starts holders of the model: `await hold(cut=1000)`."""
    servers: list[Server] = []

    async def start(identity: Identity | None = None, content: bytes | None = CONTENT, **faults: object) -> Holder:
        store = TensorStore(tmp_path / f"holder-{len(servers)}")
        if content is not None:
            (tmp_path / "content").write_bytes(content)
            await store.adopt(tmp_path / "content")
        holder = Holder(store, **faults)  # type: ignore[arg-type]
        holder.server = Server(holder.app(), server_context(identity or identities["SL-1"]), "127.0.0.1", 0)
        await holder.server.start()
        servers.append(holder.server)
        return holder

    yield start
    for server in servers:
        await server.stop(grace=0.1)


@asynccontextmanager
async def fetching(identity: Identity, store: TensorStore, stall_seconds: float = 600) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(client_context(identity), store, connect_seconds=600, stall_seconds=stall_seconds)
    try:
        yield fetcher
    finally:
        await fetcher.close()


@pytest.fixture
def store(tmp_path: Path) -> TensorStore:
    return TensorStore(tmp_path / "store")


@pytest.fixture
async def fetcher(identities: Identities, store: TensorStore) -> AsyncIterator[Fetcher]:
    async with fetching(identities["SL-2"], store) as fetcher:
        yield fetcher


@pytest.fixture
def digest(tmp_path: Path) -> str:
    chunks = tuple(blake3(CONTENT[at : at + CHUNK]).digest() for at in range(0, SIZE, CHUNK))
    return ModelDigest(SIZE, chunks).root


async def begin(fetcher: Fetcher, digest: str, sources: list[Source]) -> "asyncio.Task[Path]":
    """A fetch of which some bytes have arrived."""
    got_some = asyncio.Event()
    fetch = asyncio.create_task(fetcher.fetch(digest, sources, lambda held: got_some.set()))
    await got_some.wait()
    return fetch


async def test_fetch_takes_one_request(digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore) -> None:
    holder = await hold()
    path = await fetcher.fetch(digest, [holder.source])
    assert path.read_bytes() == CONTENT
    assert path == store.path(digest)
    assert holder.asked == ["/bundle"]
    assert await fetcher.fetch(digest, []) == path  # it is held now
    assert holder.asked == ["/bundle"]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1])
async def test_sizes(size: int, hold: Hold, fetcher: Fetcher, store: TensorStore) -> None:
    holder = await hold(content=CONTENT[:size])
    wanted = holder.store.digest_info(next(iter(holder.store._held)))
    path = await fetcher.fetch(wanted.root, [holder.source])
    assert path.read_bytes() == CONTENT[:size]
    assert store.digest_info(wanted.root) == wanted


async def test_certificates_of_the_original(digest: str, hold: Hold, tmp_path: Path, store: TensorStore) -> None:
    old = gen_cert(tmp_path / "old")
    holder = await hold(identity=old["SL-1"])
    async with fetching(old["SL-1"], store) as fetcher:  # two SLs of a host share one
        await fetcher.fetch(digest, [holder.source])
    assert store.has(digest)


async def test_connection_is_used_again(hold: Hold, fetcher: Fetcher, digest: str, store: TensorStore) -> None:
    holder = await hold()
    for _ in range(3):
        await fetcher.fetch(digest, [holder.source])
        await store.retain(set())
    with pytest.raises(TransferError):
        await fetcher.fetch(UNKNOWN, [holder.source])
    await fetcher.fetch(digest, [holder.source])
    assert len(holder.asked) == 5
    assert len(holder.connections) == 1


async def test_connection_that_the_server_has_closed_is_replaced(
    identities: Identities, digest: str, fetcher: Fetcher, store: TensorStore, hold: Hold
) -> None:
    holder = await hold()
    server = Server(holder.app(), server_context(identities["SL-1"]), "127.0.0.1", 0)
    await server.start()
    source = ("127.0.0.1", server.port)
    await fetcher.fetch(digest, [source])
    await server.stop()
    again = Server(holder.app(), server_context(identities["SL-1"]), *source)
    await again.start()
    await store.retain(set())
    await fetcher.fetch(digest, [source])
    assert len(holder.connections) == 2
    await fetcher.close()
    await again.stop()


async def test_connection_that_was_idle_too_long_is_not_used(
    identities: Identities, digest: str, store: TensorStore, hold: Hold
) -> None:
    holder = await hold()
    fetcher = Fetcher(client_context(identities["SL-2"]), store, idle_seconds=0)
    for _ in range(2):
        await fetcher.fetch(digest, [holder.source])
        await store.retain(set())
    await fetcher.close()
    assert len(holder.connections) == 2


@pytest.mark.parametrize("cut", [0, 5000, CHUNK, CHUNK + 3_000_001, SIZE - 1])
async def test_next_source_goes_on_at_the_byte(cut: int, digest: str, hold: Hold, fetcher: Fetcher) -> None:
    first, second = await hold(cut=cut), await hold()
    path = await fetcher.fetch(digest, [first.source, second.source])
    assert path.read_bytes() == CONTENT
    assert first.asked == ["/bundle"]
    assert second.asked == [f"bytes={cut}-"]
    assert second.sent == SIZE - cut


@pytest.mark.parametrize("cut", [0, 5000, CHUNK + 3_000_001])
async def test_truncated_answer_is_an_error_and_the_next_fetch_resumes(
    cut: int, identities: Identities, digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore, tmp_path: Path
) -> None:
    holder = await hold(cut=cut)
    expected = rf"{holder.source[0]}:{holder.source[1]} closed the connection {SIZE - cut} bytes before the end"
    with pytest.raises(TransferError, match=expected):
        await fetcher.fetch(digest, [holder.source])
    assert not store.has(digest)
    assert store.partial(digest).stat().st_size == cut
    good = await hold()
    restarted = TensorStore(tmp_path / "store")
    async with fetching(identities["SL-2"], restarted) as later:
        path = await later.fetch(digest, [good.source])
    assert path.read_bytes() == CONTENT
    assert good.asked == [f"bytes={cut}-"]
    assert good.sent == SIZE - cut


async def test_server_that_dies_is_an_error_and_the_bytes_are_kept(
    identities: Identities, digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore
) -> None:
    dying, good = await hold(stall=CHUNK + 100), await hold()
    server = Server(dying.app(), server_context(identities["SL-1"]), "127.0.0.1", 0)
    await server.start()
    fetch = await begin(fetcher, digest, [("127.0.0.1", server.port)])
    await dying.stalled.wait()
    await server.stop(grace=0.1)
    with pytest.raises(TransferError, match=rf"{server.port} (closed the connection|stopped) .*bytes before the end"):
        await fetch
    held = store.partial(digest).stat().st_size
    assert 0 < held <= CHUNK + 100
    path = await fetcher.fetch(digest, [good.source])
    assert path.read_bytes() == CONTENT
    assert good.asked == [f"bytes={held}-"]


async def test_server_process_killed_in_the_middle(digest: str, hold: Hold, store: TensorStore, tmp_path: Path) -> None:
    identities = make_workspace(tmp_path / "cert", ["SL-1", "SL-2"])
    (tmp_path / "content").write_bytes(CONTENT)
    await TensorStore(tmp_path / "there").adopt(tmp_path / "content")
    options = [str(tmp_path / "cert"), "SL-1", "127.0.0.1", str(tmp_path / "there"), str(CHUNK + 100)]
    command = [sys.executable, "-m", "support.holder", *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    good = await hold(identity=identities["SL-1"])
    async with fetching(identities["SL-2"], store) as fetcher:
        fetch = await begin(fetcher, digest, [("127.0.0.1", port), good.source])
        assert await process.stdout.readline() == b"stalled\n"
        process.kill()
        assert (await fetch).read_bytes() == CONTENT
    await process.wait()
    (asked,) = good.asked
    assert good.sent == SIZE - int(asked.removeprefix("bytes=").removesuffix("-")) < SIZE


async def test_altered_byte_names_source_and_chunk(
    digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore
) -> None:
    liar = await hold(flip=CHUNK + 5)
    with pytest.raises(TransferError, match=rf":{liar.source[1]} sent wrong bytes, chunk 1"):
        await fetcher.fetch(digest, [liar.source])
    assert not store.has(digest)
    assert store.partial(digest).stat().st_size == CHUNK  # nothing wrong is kept


async def test_chunk_that_a_liar_sent_comes_from_the_next_source(digest: str, hold: Hold, fetcher: Fetcher) -> None:
    liar, honest = await hold(flip=CHUNK + 5), await hold()
    path = await fetcher.fetch(digest, [liar.source, honest.source])
    assert path.read_bytes() == CONTENT
    assert liar.asked == ["/bundle"]
    assert honest.asked == [f"bytes={CHUNK}-"]


async def test_honest_source_is_not_blamed_for_what_another_began(digest: str, hold: Hold, fetcher: Fetcher) -> None:
    liar, honest = await hold(flip=CHUNK + 5, cut=CHUNK + 1000), await hold()
    path = await fetcher.fetch(digest, [liar.source, honest.source])
    assert path.read_bytes() == CONTENT
    assert honest.asked == [f"bytes={CHUNK + 1000}-", f"bytes={CHUNK}-"]


@pytest.mark.parametrize(("begun", "flip", "chunk"), [(CHUNK + 1000, 2 * CHUNK + 5, 2), (CHUNK, CHUNK + 5, 1)])
async def test_source_is_blamed_for_what_it_sent_itself(
    begun: int, flip: int, chunk: int, digest: str, hold: Hold, fetcher: Fetcher
) -> None:
    cutter, liar = await hold(cut=begun), await hold(flip=flip)
    with pytest.raises(TransferError, match=rf":{liar.source[1]} sent wrong bytes, chunk {chunk}"):
        await fetcher.fetch(digest, [cutter.source, liar.source])
    assert liar.asked == [f"bytes={begun}-"]


async def test_damaged_partial_file_is_not_trusted(
    digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore
) -> None:
    cutter, good = await hold(cut=2 * CHUNK + 7), await hold()
    with pytest.raises(TransferError):
        await fetcher.fetch(digest, [cutter.source])
    with store.partial(digest).open("r+b") as file:
        file.seek(CHUNK + 9)
        file.write(b"damaged")
    with pytest.raises(TransferError):
        await fetcher.fetch(digest, [])
    assert store.partial(digest).stat().st_size == CHUNK  # what was behind the damage is gone
    path = await fetcher.fetch(digest, [good.source])
    assert path.read_bytes() == CONTENT
    assert good.asked == [f"bytes={CHUNK}-"]


async def test_complete_partial_file_needs_no_source(digest: str, fetcher: Fetcher, store: TensorStore) -> None:
    chunks = tuple(blake3(CONTENT[at : at + CHUNK]).digest() for at in range(0, SIZE, CHUNK))
    file, _ = store.open_partial(ModelDigest(SIZE, chunks))
    with file:
        file.write(CONTENT)
    path = await fetcher.fetch(digest, [("127.0.0.1", fixed_port())])
    assert path.read_bytes() == CONTENT


async def test_chunk_list_of_another_model_is_refused(
    identities: Identities, digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore
) -> None:
    other = await hold(content=b"another model")
    wrong = next(iter(other.store._held))
    other.store._held[digest] = other.store.digest_info(wrong)
    store_path = other.store.path(wrong)
    store_path.rename(store_path.with_name(f"{digest}.safetensors"))
    good = await hold()
    path = await fetcher.fetch(digest, [other.source, good.source])
    assert path.read_bytes() == CONTENT
    await store.retain(set())
    with pytest.raises(TransferError, match="sent the chunk list of another model"):
        await fetcher.fetch(digest, [other.source])


def nonsense(headers: list[tuple[bytes, bytes]], body: bytes) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([], b"no list"),
        ([(b"x-chunk-list-bytes", b"7"), (b"content-length", b"7")], b"no list"),
        ([(b"x-chunk-list-bytes", b"-1"), (b"content-length", b"7")], b"no list"),
        ([(b"x-chunk-list-bytes", b"99999999999"), (b"content-length", b"7")], b"no list"),
        ([(b"x-chunk-list-bytes", b"8"), (b"content-length", b"7")], b"no list"),
        ([(b"x-chunk-list-bytes", b"7")], b"no list"),
    ],
)
async def test_answer_without_a_chunk_list(
    headers: list[tuple[bytes, bytes]], body: bytes, identities: Identities, digest: str, fetcher: Fetcher
) -> None:
    server = Server(nonsense(headers, body), server_context(identities["SL-1"]), "127.0.0.1", 0)
    await server.start()
    with pytest.raises(TransferError, match=r"no usable chunk list|before the end"):
        await fetcher.fetch(digest, [("127.0.0.1", server.port)])
    await server.stop()


async def test_answer_of_another_length(identities: Identities, digest: str, hold: Hold, fetcher: Fetcher) -> None:
    chunks = (await hold()).store.digest_info(digest).to_bytes()
    short = nonsense(
        [(b"x-chunk-list-bytes", b"%d" % PREFIX), (b"content-length", b"%d" % (PREFIX + 9))], chunks + b"x" * 9
    )
    server = Server(short, server_context(identities["SL-1"]), "127.0.0.1", 0)
    await server.start()
    with pytest.raises(TransferError, match=f"announces 9 bytes where {SIZE} are missing"):
        await fetcher.fetch(digest, [("127.0.0.1", server.port)])
    await server.stop()


async def test_every_source_is_listed_with_its_fault(
    identities: Identities, digest: str, hold: Hold, fetcher: Fetcher, tmp_path: Path
) -> None:
    closed = ("127.0.0.1", fixed_port())
    empty = await hold(content=None)
    private = await hold(members=lambda thumbprint, digest: False)
    impostor = await hold(identity=stranger(tmp_path, "SL-7"))
    unknown = ("no-such-host.invalid", 1)
    sources = [closed, empty.source, private.source, impostor.source, unknown]
    with pytest.raises(TransferError) as caught:
        await fetcher.fetch(digest, sources)
    text = str(caught.value)
    assert text.startswith(f"model {digest} cannot be fetched: ")
    for (host, port), fault in zip(
        sources,
        [
            "refuses connections: nothing listens on that port",
            f"answered 404: 'model {digest} is not held here; ask another peer'",
            "answered 403: 'this certificate takes no part in the training",
            "shows a certificate that is not trusted here: ",
            "is not a known host name",
        ],
        strict=True,
    ):
        assert f"{host}:{port} {fault}" in text


@pytest.mark.parametrize(
    "address",
    [
        ("", 0),
        ("127.0.0.1", 0),
        ("127.0.0.1", 65536),
        ("127.0.0.1", -1),
        ("a" * 70, 1),
        (".a", 1),
        ("a b", 1),
        ("a\r\nb", 1),
    ],
)
async def test_address_that_none_can_be(address: Source, digest: str, hold: Hold, fetcher: Fetcher) -> None:
    good = await hold()
    with pytest.raises(TransferError, match=re.escape(f"{address[0]}:{address[1]} ")):
        await fetcher.fetch(digest, [address])
    assert (await fetcher.fetch(digest, [address, good.source])).read_bytes() == CONTENT


async def test_untrusted_client_is_told_so(digest: str, hold: Hold, store: TensorStore, tmp_path: Path) -> None:
    holder = await hold()
    context = client_context(stranger(tmp_path, "SL-2"))
    context.verify_mode = ssl.CERT_NONE
    fetcher = Fetcher(context, store)
    with pytest.raises(TransferError, match="may not trust this node's certificate"):
        await fetcher.fetch(digest, [holder.source])
    await fetcher.close()
    assert holder.asked == []


async def test_no_source_is_an_error(digest: str, fetcher: Fetcher) -> None:
    with pytest.raises(TransferError, match="no node is known to hold it"):
        await fetcher.fetch(digest, [])


async def test_only_digests_are_fetched(fetcher: Fetcher) -> None:
    with pytest.raises(StoreError, match="no model digest"):
        await fetcher.fetch("../" + "a" * 61, [])


async def test_source_that_stalls_is_left(identities: Identities, digest: str, hold: Hold, store: TensorStore) -> None:
    stalling, closed = await hold(stall=3_000_000), ("127.0.0.1", fixed_port())
    async with fetching(identities["SL-2"], store, stall_seconds=0.2) as fetcher:
        with pytest.raises(TransferError, match=rf"does not answer in time; 127\.0\.0\.1:{closed[1]} refuses"):
            await fetcher.fetch(digest, [stalling.source, closed])


async def test_host_that_does_not_answer_is_left(
    identities: Identities, digest: str, hold: Hold, store: TensorStore
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    source = ("127.0.0.1", server.sockets[0].getsockname()[1])
    fetcher = Fetcher(client_context(identities["SL-2"]), store, connect_seconds=0.2)
    with pytest.raises(TransferError, match=f"{source[1]} does not answer in time"):
        await fetcher.fetch(digest, [source])
    await fetcher.close()
    server.close()
    await server.wait_closed()


async def test_cancelled_fetch_stops_and_the_next_one_resumes(digest: str, hold: Hold, fetcher: Fetcher) -> None:
    stalling, good = await hold(stall=CHUNK + 2_000_000), await hold()
    fetch = await begin(fetcher, digest, [stalling.source])
    await stalling.stalled.wait()
    fetch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetch
    await stalling.left.wait()
    path = await fetcher.fetch(digest, [good.source])
    assert path.read_bytes() == CONTENT
    (asked,) = good.asked
    assert 0 < int(asked.removeprefix("bytes=").removesuffix("-")) <= CHUNK + 2_000_000


async def test_callers_share_one_download(digest: str, hold: Hold, fetcher: Fetcher) -> None:
    holder = await hold()
    paths = await asyncio.gather(*[fetcher.fetch(digest, [holder.source]) for _ in range(5)])
    assert len(set(paths)) == 1
    assert holder.asked == ["/bundle"]


async def test_download_goes_on_while_somebody_waits_and_asks_everybodys_sources(
    digest: str, hold: Hold, fetcher: Fetcher
) -> None:
    stalling, good = await hold(stall=1_000_000), await hold()
    first = await begin(fetcher, digest, [stalling.source])
    await stalling.stalled.wait()
    second = asyncio.create_task(fetcher.fetch(digest, [good.source]))
    await asyncio.sleep(0)  # it has joined
    first.cancel()
    assert not stalling.left.is_set()
    await stalling.server.stop(grace=0.1)
    path = await second
    assert path.read_bytes() == CONTENT
    (asked,) = good.asked
    assert 0 < int(asked.removeprefix("bytes=").removesuffix("-")) <= 1_000_000


async def test_downloads_of_several_models_run_side_by_side(digest: str, hold: Hold, fetcher: Fetcher) -> None:
    stalling, other = await hold(stall=1000), await hold(content=b"other")
    waiting = asyncio.create_task(fetcher.fetch(digest, [stalling.source]))
    await stalling.stalled.wait()
    await fetcher.fetch(next(iter(other.store._held)), [other.source])
    assert not waiting.done()
    waiting.cancel()


async def test_download_that_is_cancelled_in_the_queue_asks_nobody(
    identities: Identities, digest: str, hold: Hold, store: TensorStore
) -> None:
    stalling, other = await hold(stall=1000), await hold(content=b"other")
    fetcher = Fetcher(client_context(identities["SL-2"]), store, workers=1)
    first = asyncio.create_task(fetcher.fetch(digest, [stalling.source]))
    await stalling.stalled.wait()
    queued = asyncio.create_task(fetcher.fetch(next(iter(other.store._held)), [other.source]))
    await asyncio.sleep(0)  # it is in the queue
    queued.cancel()
    first.cancel()
    await asyncio.wait([first, queued])
    await fetcher.close()
    assert other.asked == []


async def test_retain_removes_nothing_under_a_running_download(
    digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore
) -> None:
    stalling, good = await hold(stall=CHUNK + 2_000_000), await hold()
    fetch = await begin(fetcher, digest, [stalling.source, good.source])
    await stalling.stalled.wait()
    await store.retain(set())
    await stalling.server.stop(grace=0.1)
    assert (await fetch).read_bytes() == CONTENT


async def test_close_stops_downloads(digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore) -> None:
    stalling = await hold(stall=1000)
    fetch = asyncio.create_task(fetcher.fetch(digest, [stalling.source]))
    await stalling.stalled.wait()
    await fetcher.close()
    with pytest.raises(TransferError, match="fetching has been stopped"):
        await fetch
    assert store.partial(digest).stat().st_size <= 1000


async def test_progress_grows_to_the_size(digest: str, hold: Hold, fetcher: Fetcher) -> None:
    seen: list[int] = []
    cutter, good = await hold(cut=5_000_000), await hold()
    await fetcher.fetch(digest, [cutter.source, good.source], seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == SIZE


async def test_full_disk_is_named_and_freed(
    digest: str,
    hold: Hold,
    fetcher: Fetcher,
    store: TensorStore,
    tmp_path: Path,
    largest_file: Callable[[int], AbstractContextManager[None]],
) -> None:
    holder = await hold()
    with largest_file(CHUNK + 1000), pytest.raises(StoreError, match=rf"\.partial: the model needs {SIZE} bytes"):
        await fetcher.fetch(digest, [holder.source])
    assert list((tmp_path / "store").iterdir()) == []
    await fetcher.fetch(digest, [holder.source])  # with room again
    assert store.has(digest)


async def test_a_model_of_another_size_is_not_taken(
    digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore
) -> None:
    """Whoever says that it has a model of this training could fill the disks of the others."""
    holder = await hold()
    too_large = f":{holder.source[1]} has a model of {SIZE} bytes; those of this training have {SIZE - 1}$"
    with pytest.raises(TransferError, match=too_large):
        await fetcher.fetch(digest, [holder.source], size=SIZE - 1)
    assert not store.partial(digest).exists()
    assert (await fetcher.fetch(digest, [holder.source], size=SIZE)).read_bytes() == CONTENT
