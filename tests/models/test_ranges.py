"""Some chunks of a model: fetched, served, kept, and refused one by one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from blake3 import blake3
from starlette.types import ASGIApp, Receive, Scope, Send

from support.faulty_holder import fetching
from support.serving import detail, request
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import server_context
from swarmlearning.models import download
from swarmlearning.models.connections import Source
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.parts import packed
from swarmlearning.models.store import NotHeldError, TensorStore
from swarmlearning.models.transfer import Fetcher, Stated, TransferError
from swarmlearning.tensors.digest import LEAST_CHUNK, ModelDigest, digest_file, slice_root

Identities = dict[str, Identity]
COUNT = 7
HEADER = 24
CONTENT = (16).to_bytes(8, "little") + b"{}" + b" " * 14 + blake3(b"data").digest((COUNT - 1) * LEAST_CHUNK - 1000)
RECIPE = "5" * 64


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "HELP_SECONDS", 0.01)
    monkeypatch.setattr("swarmlearning.models.gathering._LOOK_SECONDS", 0.01)


@pytest.fixture
def info(tmp_path: Path) -> ModelDigest:
    (tmp_path / "content").write_bytes(CONTENT)
    return digest_file(tmp_path / "content", format=2)


@dataclass
class Node:
    """A store that is served; `asked`: parts and ranges of requests, `refused`: chunks that nobody may have."""

    store: TensorStore
    source: Source = ("", 0)
    asked: list[str] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    server: Server = field(init=False)

    def app(self) -> ASGIApp:
        files = file_app(self.store, lambda thumbprint, name, chunks: self.refused.isdisjoint(chunks))

        async def noted(scope: Scope, receive: Receive, send: Send) -> None:
            wanted = dict(scope["headers"]).get(b"range", b"").decode()
            self.asked.append((scope["path"].removeprefix("/models/")[64:] + " " + wanted).strip())
            await files(scope, receive, send)

        return noted

    def keep(self, info: ModelDigest, chunks: range, name: str = "") -> None:
        """Puts these chunks of the content into the store."""
        known = ModelDigest.unstated(info.layout) if name else info
        parts = self.store.parts(name or info.root, known)
        assert parts is not None
        with parts.used():
            parts.path.write_bytes(CONTENT)
            parts.own(chunks)


@asynccontextmanager
async def nodes(folder: Path, identity: Identity, count: int) -> AsyncIterator[list[Node]]:
    made = [Node(TensorStore(folder / f"node-{index}")) for index in range(count)]
    for node in made:
        node.server = Server(node.app(), server_context(identity), "127.0.0.1", 0)
        await node.server.start()
        node.source = ("127.0.0.1", node.server.port)
    try:
        yield made
    finally:
        for node in made:
            await node.server.stop(grace=0.1)


def stated_of(info: ModelDigest, chunks: range) -> Stated:
    return Stated(info.layout, slice_root(info, chunks))


def bounds(info: ModelDigest, chunks: range) -> str:
    start, end = info.layout.bounds(chunks.start)[0], info.layout.bounds(chunks.stop - 1)[1]
    return f"bytes={start}-{end - 1}"


def read(store: TensorStore, name: str, info: ModelDigest, chunks: range) -> bytes:
    file, _ = store.open_part(name, chunks)
    with file:
        start = info.layout.bounds(chunks.start)[0]
        file.seek(start)
        return file.read(info.layout.length(chunks))


def content(info: ModelDigest, chunks: range) -> bytes:
    start = info.layout.bounds(chunks.start)[0]
    return CONTENT[start : start + info.layout.length(chunks)]


async def test_a_range_of_a_whole_model_is_fetched_kept_and_completed_later(
    identities: Identities, store: TensorStore, fetcher: Fetcher, info: ModelDigest, tmp_path: Path
) -> None:
    async with nodes(tmp_path, identities["SL-1"], 1) as (node,):
        await node.store.adopt(tmp_path / "content", format=2)
        await fetcher.fetch_part(info.root, range(2, 4), [node.source])
        assert node.asked == ["/chunks", bounds(info, range(2, 4))]
        assert read(store, info.root, info, range(2, 4)) == content(info, range(2, 4))
        assert not store.has(info.root)
        with pytest.raises(NotHeldError):
            store.open_part(info.root, range(1, 3))
        restarted = TensorStore(tmp_path / "store")
        async with fetching(identities["SL-2"], restarted) as later:
            await later.fetch_part(info.root, range(3, 4), [])
            node.asked.clear()
            path = await later.fetch(info.root, [node.source])
        assert path.read_bytes() == CONTENT
        assert node.asked == [bounds(info, range(2)), bounds(info, range(4, COUNT))]
        assert restarted.has(info.root)


async def test_ranges_of_one_model_are_fetched_at_the_same_time(
    identities: Identities, store: TensorStore, fetcher: Fetcher, info: ModelDigest, tmp_path: Path
) -> None:
    async with nodes(tmp_path, identities["SL-1"], 1) as (node,):
        await node.store.adopt(tmp_path / "content", format=2)
        ranges = [range(3), range(2, 5), range(5, COUNT), range(2, 5)]
        await asyncio.gather(*(fetcher.fetch_part(info.root, chunks, [node.source]) for chunks in ranges))
    assert store.has(info.root)
    assert store.path(info.root).read_bytes() == CONTENT


async def test_a_model_comes_from_nodes_that_have_parts_of_it(
    identities: Identities, store: TensorStore, fetcher: Fetcher, info: ModelDigest, tmp_path: Path
) -> None:
    async with nodes(tmp_path, identities["SL-1"], 3) as made:
        for node, chunks in zip(made, (range(3), range(2, 5), range(5, COUNT)), strict=True):
            node.keep(info, chunks)
        path = await fetcher.fetch(info.root, [node.source for node in made])
        assert path.read_bytes() == CONTENT


async def test_a_node_that_lacks_what_is_missing_is_named_and_one_that_gets_it_is_asked_again(
    identities: Identities, store: TensorStore, fetcher: Fetcher, info: ModelDigest, tmp_path: Path
) -> None:
    async with nodes(tmp_path, identities["SL-1"], 2) as (first, second):
        first.keep(info, range(2))
        with pytest.raises(
            TransferError, match=rf":{first.source[1]} has none of the chunks that are missing"
        ) as caught:
            await fetcher.fetch_part(info.root, range(1, 4), [first.source])
        assert caught.value.fault == "not-held"
        second.keep(info, range(3))
        first.keep(info, range(4))
        await fetcher.fetch_part(info.root, range(1, 4), [second.source, first.source])
    assert read(store, info.root, info, range(1, 4)) == content(info, range(1, 4))


async def test_a_node_that_serves_less_than_it_says_is_at_fault(
    identities: Identities, fetcher: Fetcher, info: ModelDigest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with nodes(tmp_path, identities["SL-1"], 1) as (liar,):
        liar.keep(info, range(1))
        monkeypatch.setattr("swarmlearning.models.parts.Parts.bitmap", lambda self: packed(b"\x01" * COUNT))
        with pytest.raises(TransferError, match="does not serve chunks that it says it has") as caught:
            await fetcher.fetch_part(info.root, range(COUNT), [liar.source])
    assert caught.value.fault == "invalid"


@pytest.mark.parametrize("chunks", [range(COUNT, COUNT + 1), range(COUNT + 1), range(2, 2), range(-1, 2)])
async def test_chunks_that_a_model_cannot_have_are_not_fetched(
    identities: Identities, fetcher: Fetcher, info: ModelDigest, tmp_path: Path, chunks: range
) -> None:
    async with nodes(tmp_path, identities["SL-1"], 1) as (node,):
        await node.store.adopt(tmp_path / "content", format=2)
        with pytest.raises(TransferError, match=f"a model of {COUNT} chunks, not one with those wanted"):
            await fetcher.fetch_part(info.root, chunks, [node.source])


async def test_slices_of_a_result_come_by_its_recipe_and_make_a_model(
    identities: Identities, store: TensorStore, fetcher: Fetcher, info: ModelDigest, tmp_path: Path
) -> None:
    slices = (range(2), range(2, 5), range(5, COUNT))
    async with nodes(tmp_path, identities["SL-1"], 3) as made:
        for node, chunks in zip(made, slices, strict=True):
            node.keep(info, chunks, RECIPE)
        await asyncio.gather(
            *(
                fetcher.fetch_part(RECIPE, chunks, [node.source], stated=stated_of(info, chunks))
                for node, chunks in zip(made, slices, strict=True)
            )
        )
    parts = store.parts(RECIPE)
    assert parts is not None
    assert await asyncio.to_thread(store.commit_parts, parts) == info
    assert store.path(info.root).read_bytes() == CONTENT
    assert store.parts(RECIPE) is None


async def test_a_slice_that_is_not_the_one_stated_is_refused(
    identities: Identities, store: TensorStore, fetcher: Fetcher, info: ModelDigest, tmp_path: Path
) -> None:
    async with nodes(tmp_path, identities["SL-1"], 1) as (node,):
        node.keep(info, range(2), RECIPE)
        stated = stated_of(info, range(2, 5))  # whose digests the node does not know
        with pytest.raises(TransferError, match="has not all of these chunks"):
            await fetcher.fetch_part(RECIPE, range(2, 5), [node.source], stated=stated)
        other = stated_of(info, range(1))
        with pytest.raises(TransferError, match="sent the chunk list of another model"):
            await fetcher.fetch_part(RECIPE, range(2), [node.source], stated=other)
    assert store.parts(RECIPE) is None


async def test_digests_of_a_slice_come_alone(
    identities: Identities, fetcher: Fetcher, info: ModelDigest, tmp_path: Path
) -> None:
    async with nodes(tmp_path, identities["SL-1"], 1) as (node,):
        node.keep(info, range(COUNT), RECIPE)
        await fetcher.fetch_part(RECIPE, range(2, 5), [node.source], stated=stated_of(info, range(2, 5)))
        assert node.asked == ["/chunks/2-4", bounds(info, range(2, 5))]
        beyond = Stated(info.layout, slice_root(info, range(2, 3)))
        with pytest.raises(TransferError, match="has not all of these chunks"):
            await fetcher.fetch_part(RECIPE, range(COUNT - 1, COUNT + 1), [node.source], stated=beyond)


async def test_a_chunk_is_served_only_to_those_who_may_have_it(
    identities: Identities, info: ModelDigest, tmp_path: Path
) -> None:
    async with nodes(tmp_path, identities["SL-1"], 1) as (node,):
        await node.store.adopt(tmp_path / "content", format=2)
        node.refused = {3}

        async def status(path: str, chunks: range | None = None) -> int:
            headers = {"range": bounds(info, chunks)} if chunks else {}
            answer = await request(node.server, identities["SL-2"], f"/models/{info.root}{path}", headers=headers)
            return answer[0]

        found = [await status("", range(at, at + 2)) for at in (1, 2, 3, 4)]
        assert found == [206, 403, 403, 206]
        assert [await status(path) for path in ("", "/bundle", "/chunks", "/here")] == [403, 403, 200, 200]
        start = info.layout.bounds(4)[0]
        for asked, expected in ((f"bytes={start - 1}-{start}", 403), (f"bytes={start}-{start}", 206)):
            answer = await request(node.server, identities["SL-2"], f"/models/{info.root}", headers={"range": asked})
            assert answer[0] == expected


async def test_what_is_here_of_a_model_is_told_and_no_more_of_it_is_served(
    identities: Identities, info: ModelDigest, tmp_path: Path
) -> None:
    async with nodes(tmp_path, identities["SL-1"], 1) as (node,):
        node.keep(info, range(2, 5))
        restarted = node.store = TensorStore(tmp_path / "node-0")
        served = Server(node.app(), server_context(identities["SL-1"]), "127.0.0.1", 0)
        await served.start()
        try:
            answers = [
                await request(served, identities["SL-2"], f"/models/{info.root}{part}", headers=headers)
                for part, headers in [
                    ("/here", {}),
                    ("/chunks", {}),
                    ("", {"range": bounds(info, range(2, 5))}),
                    ("", {"range": bounds(info, range(1, 3))}),
                    ("", {}),
                    ("/bundle", {}),
                ]
            ]
        finally:
            await served.stop(grace=0.1)
    assert [status for status, *_ in answers] == [200, 200, 206, 416, 416, 416]
    assert answers[0][2] == bytes([0b00111000])
    assert ModelDigest.from_bytes(answers[1][2]) == info
    assert answers[2][2] == content(info, range(2, 5))
    assert detail(answers[3]).endswith("tells which chunks are")
    assert not restarted.has(info.root)
