"""Models over slow links: compressed when the receiver accepts it and it pays, never otherwise."""

from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from zstandard import ZstdCompressionParameters, ZstdCompressor, ZstdDecompressor

from support.faulty_holder import fetching
from support.serving import request, serving
from swarmlearning.identity.identity import Identity
from swarmlearning.models import fileserver
from swarmlearning.models.compression import pays
from swarmlearning.models.connections import Source
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.links import Links
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import TransferError
from swarmlearning.tensors.digest import CHUNK, ModelDigest

Identities = dict[str, Identity]
SIZE = CHUNK + 3_000_000
RANDOM = blake3(b"model").digest(SIZE)
SPARSE = b"".join(RANDOM[at : at + 100] + bytes(900) for at in range(0, SIZE, 1000))[:SIZE]
BOMB = 2**28
"""Bytes of what becomes some kilobytes."""
SLOW_LINK = 12.5e6
"""Bytes a second."""
ACCEPT = {"Accept-Encoding": "gzip, zstd"}


async def holding(folder: Path, content: bytes) -> tuple[TensorStore, ModelDigest]:
    store = TensorStore(folder / "holder")
    (folder / "content").write_bytes(content)
    return store, await store.adopt(folder / "content")


def files(store: TensorStore, below: int = 2**30) -> ASGIApp:
    return file_app(store, lambda thumbprint, digest, chunks: True, compress_below=below)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """All links: a megabyte per second."""
    monkeypatch.setattr(Links, "speed", lambda self, host: 1e6)


async def test_a_model_is_sent_compressed_to_a_receiver_that_accepts_zstd(
    slow: None, identities: Identities, tmp_path: Path
) -> None:
    store, info = await holding(tmp_path, SPARSE)
    async with serving(files(store), identities["SL-1"]) as server:
        status, headers, body = await request(server, identities["SL-2"], f"/models/{info.root}/bundle", ACCEPT)
    assert (status, headers["content-encoding"]) == (200, "zstd")
    assert not {"content-length", "etag"} & headers.keys()
    assert len(body) < SIZE / 5
    whole = ZstdDecompressor().decompressobj().decompress(body)
    assert whole == info.to_bytes() + SPARSE
    assert headers["x-chunk-list-bytes"] == str(len(info.to_bytes()))


@pytest.mark.parametrize(
    ("content", "part", "accept", "below"),
    [
        (SPARSE, "/bundle", "identity", 2**30),
        (SPARSE, "/bundle", "gzip, zstd;q=0", 2**30),
        (SPARSE, "/bundle", "zstd", SIZE),  # not smaller than the threshold
        (SPARSE, "/bundle", "zstd", 0),
        (SPARSE, "", "zstd", 2**30),
        (RANDOM, "/bundle", "zstd", 2**30),  # would not become smaller
        (b"", "/bundle", "zstd", 2**30),
    ],
)
async def test_a_model_is_sent_as_it_is_where_compression_is_not_accepted_or_not_worthwhile(
    content: bytes, part: str, accept: str, below: int, slow: None, identities: Identities, tmp_path: Path
) -> None:
    store, info = await holding(tmp_path, content)
    async with serving(files(store, below), identities["SL-1"]) as server:
        answer = await request(server, identities["SL-2"], f"/models/{info.root}{part}", {"Accept-Encoding": accept})
    assert answer[0] == 200
    assert "content-encoding" not in answer[1]
    assert answer[2] == (info.to_bytes() if part else b"") + content


async def fetched(identities: Identities, store: TensorStore, digest: str, *sources: Source) -> bytes:
    async with fetching(identities["SL-2"], store) as fetcher:
        return (await fetcher.fetch(digest, sources)).read_bytes()


def noted(
    app: ASGIApp, asked: list[str], sent: list[int], tamper: Callable[[bytes], bytes] = lambda body: body
) -> ASGIApp:
    """`app`, with what was asked for and how much was sent."""

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        asked.append((headers.get(b"accept-encoding", b"") + b" " + headers.get(b"range", b"")).decode())

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.body":
                message["body"] = tamper(message["body"])
                sent.append(len(message["body"]))
            await send(message)

        await app(scope, receive, counted)

    return noting


async def test_a_model_that_was_sent_compressed_arrives_whole(
    slow: None, identities: Identities, tmp_path: Path
) -> None:
    store, info = await holding(tmp_path, SPARSE)
    asked: list[str] = []
    sent: list[int] = []
    async with serving(noted(files(store), asked, sent), identities["SL-1"]) as server:
        source = ("127.0.0.1", server.port)
        assert await fetched(identities, TensorStore(tmp_path / "here"), info.root, source) == SPARSE
    assert asked == ["zstd "]
    assert sum(sent) < SIZE / 5


async def test_a_connection_is_used_again_after_a_compressed_answer(
    slow: None, identities: Identities, tmp_path: Path
) -> None:
    store, info = await holding(tmp_path, SPARSE)
    here, clients = TensorStore(tmp_path / "here"), set()
    app = files(store)

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        clients.add(scope["client"])
        await app(scope, receive, send)

    async with serving(noting, identities["SL-1"]) as server, fetching(identities["SL-2"], here) as fetcher:
        for _ in range(3):
            await fetcher.fetch(info.root, [("127.0.0.1", server.port)])
            await here.retain(set())
    assert len(clients) == 1


async def test_models_are_not_compressed_between_processes_of_one_machine(
    identities: Identities, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are no slow link to each other: what the processors cost is left out, since others may keep them busy."""
    monkeypatch.setattr(fileserver, "pays", lambda fd, size, speed: speed < SLOW_LINK)
    store, info = await holding(tmp_path, SPARSE)
    async with serving(files(store), identities["SL-1"]) as server:
        for _ in range(3):
            status, headers, _ = await request(server, identities["SL-2"], f"/models/{info.root}/bundle", ACCEPT)
            assert (status, headers.get("content-encoding")) == (200, None)


def test_compression_pays_only_where_it_saves_more_time_than_it_costs(tmp_path: Path) -> None:
    (tmp_path / "sparse").write_bytes(SPARSE)
    (tmp_path / "random").write_bytes(RANDOM)
    with (tmp_path / "sparse").open("rb") as sparse, (tmp_path / "random").open("rb") as random:
        assert pays(sparse.fileno(), SIZE, speed=1e5)
        assert not pays(sparse.fileno(), SIZE, speed=1e13)
        assert not pays(random.fileno(), SIZE, speed=1e5)


async def test_an_interrupted_compressed_transfer_is_completed_by_another_source(
    slow: None, identities: Identities, tmp_path: Path
) -> None:
    store, info = await holding(tmp_path, SPARSE)
    pieces = 0

    def cut(body: bytes) -> bytes:
        nonlocal pieces
        pieces += 1
        if pieces > 6:
            raise ConnectionError
        return body

    asked: list[str] = []
    async with (
        serving(noted(files(store), [], [], cut), identities["SL-1"]) as cutter,
        serving(noted(files(store), asked, []), identities["SL-1"]) as good,
    ):
        sources = ("127.0.0.1", cutter.port), ("127.0.0.1", good.port)
        assert await fetched(identities, TensorStore(tmp_path / "here"), info.root, *sources) == SPARSE
    (wanted,) = asked
    assert wanted.startswith("identity bytes=")


def answering(body: bytes, coding: bytes = b"zstd") -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-encoding", coding), (b"x-chunk-list-bytes", b"%d" % (21 + 2 * 32))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


async def test_an_answer_that_does_not_decompress_to_exactly_the_model_is_refused(
    slow: None, identities: Identities, tmp_path: Path
) -> None:
    _, info = await holding(tmp_path, SPARSE)
    bundle = info.to_bytes() + SPARSE
    zstd = ZstdCompressor(level=1).compress
    greedy = ZstdCompressor(compression_params=ZstdCompressionParameters(window_log=27))
    for number, (app, fault) in enumerate(
        [
            (answering(b"nonsense"), "sent no valid zstd data"),
            (answering(zstd(bytes(BOMB))), "sent no usable chunk list"),
            (answering(zstd(info.to_bytes() + bytes(BOMB))), "sent wrong bytes, chunk 0"),
            (answering(zstd(bundle + bytes(BOMB))), "sent more than the model has"),
            (answering(zstd(bundle) + zstd(bytes(BOMB))), "sent more than the model has"),
            (answering(greedy.compressobj().compress(bundle)), "sent no valid zstd data: .*memory"),
            (answering(zstd(bundle), b"gzip"), "sent a content coding that was not requested: 'gzip'"),
            (answering(zstd(bundle + b"x")), "sent more than the model has"),
            (answering(zstd(bundle[:-1])), "closed the connection before the end"),
            (answering(zstd(bundle)[:-9]), "closed the connection before the end"),
            (answering(zstd(bundle[:-1] + b"x")), "sent wrong bytes, chunk 1"),
        ]
    ):
        here = TensorStore(tmp_path / f"here-{number}")
        async with serving(app, identities["SL-1"]) as server:
            with pytest.raises(TransferError, match=fault):
                await fetched(identities, here, info.root, ("127.0.0.1", server.port))
        assert not here.has(info.root)
        assert sum(path.stat().st_size for path in (tmp_path / f"here-{number}").iterdir()) < SIZE + 1000
