"""Models that contributors push to whoever merges them, over real mTLS; and what a file server takes from nobody."""

import asyncio
import http.client
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.faulty_holder import fetching
from swarmlearning.api.peer import MORE_TIME_KEY, SCOPE_KEY
from swarmlearning.api.protocol import Limits
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.models.body import LEAST_RATE
from swarmlearning.models.claims import Holding
from swarmlearning.models.connections import Connections
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.parts import Parts
from swarmlearning.models.pushes import Pushable, Pushes, PushReceiver
from swarmlearning.models.pushing import AT_ONCE, Push, PushError, next_run
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.models.transfer import Fetcher
from swarmlearning.tensors.digest import LEAST_CHUNK, ModelDigest, digest_file
from swarmlearning.tensors.file import Tensor, write

COUNT = 21
"""Chunks of the model: its header, and data of 5 MiB."""
MINE = range(3, 15)
"""Those that the other side merges."""
REQUEST_SECONDS = 20.0


class Merger:
    """A file server that takes these chunks of a model from whoever has a certificate."""

    def __init__(self, store: TensorStore) -> None:
        self.store = store
        self.pushable: Pushable | None = None
        self.came = 0
        self.asked: list[str] = []
        self.some = asyncio.Event()
        self.server: Server

    @property
    def source(self) -> tuple[str, int]:
        return "127.0.0.1", self.server.port

    def may_push(self, thumbprint: str, digest: str) -> Pushable | None:
        self.asked.append(digest)
        return self.pushable

    def note(self, digest: str, size: int) -> None:
        self.came += size
        self.some.set()

    def here(self, root: str) -> list[int]:
        parts = self.store.parts(root)
        return [index for index in range(COUNT) if parts is not None and parts.has(range(index, index + 1))]


class Pushed:
    """The model, in a file, and what pushes it."""

    def __init__(self, path: Path, info: ModelDigest, fetcher: Fetcher, merger: Merger) -> None:
        self.path, self.info, self.fetcher, self.merger = path, info, fetcher, merger
        self.sent = 0

    def push(self, fault: Callable[[bytes], str] = lambda certificate: "") -> Push:
        def sent(size: int) -> None:
            self.sent += size

        return self.fetcher.push(self.info, self.merger.source, fault, sent)

    def all_of(self, wanted: range) -> bytes:
        """Pushes all that is missing of these, in a thread."""
        push = self.push()
        with self.path.open("rb", buffering=0) as file:
            here = push.begin(1)
            while run := next_run(self.info.layout, here, [wanted]):
                here = push.chunks(file, run, 1)
        return here


@pytest.fixture
async def merger(identities: dict[str, Identity], tmp_path: Path) -> AsyncIterator[Merger]:
    made = Merger(TensorStore(tmp_path / "merger"))
    pushes = Pushes(made.may_push, made.note, lambda credential, size: 0.0)
    app = file_app(made.store, lambda *wanted: True, pushes=pushes)
    limits = Limits(request_seconds=REQUEST_SECONDS)
    made.server = Server(app, server_context(identities["SL-1"]), "127.0.0.1", 0, limits, bulk=True)
    await made.server.start()
    yield made
    await made.server.stop(grace=0.1)


@pytest.fixture
async def model(identities: dict[str, Identity], tmp_path: Path, merger: Merger) -> AsyncIterator[Pushed]:
    values = np.random.default_rng(1).standard_normal((COUNT - 1) * LEAST_CHUNK // 4).astype(np.float32)
    write(tmp_path / "model", {"w": Tensor.of(values, "w")})
    info = digest_file(tmp_path / "model", format=2)
    assert info.layout.count == COUNT
    merger.pushable = Pushable(info.layout, frozenset(MINE))
    async with fetching(identities["SL-2"], TensorStore(tmp_path / "store")) as fetcher:
        yield Pushed(tmp_path / "model", info, fetcher, merger)


async def test_what_is_pushed_is_here_and_no_more(model: Pushed, merger: Merger) -> None:
    here = await asyncio.to_thread(model.all_of, MINE)
    assert [index for index in range(COUNT) if here[index]] == list(MINE) == merger.here(model.info.root)
    assert merger.came == model.info.layout.length(MINE)
    file, info = merger.store.open_part(model.info.root, MINE)
    start, end = info.layout.bounds(3)[0], info.layout.bounds(14)[1]
    with file:
        file.seek(start)
        assert file.read(end - start) == model.path.read_bytes()[start:end]


async def test_a_whole_model_that_was_pushed_is_held_without_a_request(
    model: Pushed, merger: Merger, identities: dict[str, Identity]
) -> None:
    merger.pushable = Pushable(model.info.layout, frozenset(range(COUNT)))
    await asyncio.to_thread(model.all_of, range(COUNT))
    async with fetching(identities["SL-1"], merger.store) as fetcher:
        path = await fetcher.fetch(model.info.root, [])
    assert path.read_bytes() == model.path.read_bytes()
    assert await asyncio.to_thread(model.push().begin, 1) == bytes([1]) * COUNT


async def test_a_push_goes_on_with_what_is_missing_also_after_a_restart_of_the_other_side(
    model: Pushed, merger: Merger, tmp_path: Path
) -> None:
    await asyncio.to_thread(model.all_of, range(3, 7))
    before, arrived = merger.came, model.sent
    await asyncio.to_thread(model.all_of, range(5, 9))
    assert merger.came - before == model.info.layout.length(range(7, 9))
    assert model.sent - arrived >= model.info.layout.length(range(7, 9))
    again = TensorStore(tmp_path / "merger")
    parts = again.parts(model.info.root)
    assert parts is not None
    with parts.used():
        assert parts.has(range(3, 9))


async def test_a_push_that_breaks_off_keeps_its_whole_chunks_and_frees_the_other(
    model: Pushed, merger: Merger, identities: dict[str, Identity]
) -> None:
    await asyncio.to_thread(model.push().begin, 1)
    start = model.info.layout.bounds(3)[0]
    body = model.path.read_bytes()[start : start + LEAST_CHUNK + 1000]
    connection = await asyncio.to_thread(ask, model, identities, "3-6", body, 3 * LEAST_CHUNK)
    while merger.came < len(body):
        merger.some.clear()
        await merger.some.wait()
    assert merger.here(model.info.root) == [3]
    connection.close()
    await asyncio.to_thread(model.all_of, range(3, 6))
    assert merger.here(model.info.root) == [3, 4, 5]


async def test_chunks_that_come_from_elsewhere_are_dropped_and_not_asked_for_again_at_once(
    model: Pushed, merger: Merger
) -> None:
    await asyncio.to_thread(model.push().begin, 1)
    parts = merger.store.parts(model.info.root)
    assert parts is not None
    with parts.used(), model.path.open("rb", buffering=0) as file:
        claim = parts.claim(Holding(), range(4, 6))
        assert claim is not None
        here = await asyncio.to_thread(model.push().chunks, file, range(3, 7), 1)
        assert [here[index] for index in range(3, 7)] == [1, 0, 1, 1], "what nobody has begun is taken over"
        parts.release(claim)
    await asyncio.to_thread(model.all_of, MINE)
    assert merger.here(model.info.root) == list(MINE)


async def test_a_disk_that_is_full_is_said_and_what_is_here_stays(
    model: Pushed, merger: Merger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(model.all_of, range(3, 5))

    def full(self: Parts, *given: object) -> None:
        raise StoreError("no room for /secret/folder")

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "write", full)
        with pytest.raises(PushError, match="no room") as refused:
            await asyncio.to_thread(model.all_of, MINE)
    assert refused.value.status == 507
    assert "secret" not in str(refused.value)
    assert merger.here(model.info.root) == [3, 4]
    await asyncio.to_thread(model.all_of, MINE)
    assert merger.here(model.info.root) == list(MINE)


async def test_nothing_is_sent_to_whoever_is_not_the_merger(model: Pushed, merger: Merger) -> None:
    with pytest.raises(PushError, match="is another node"):
        await asyncio.to_thread(model.push(lambda certificate: "is another node" if certificate else "").begin, 1)
    assert merger.asked == []
    assert model.sent == 0


async def test_a_push_that_is_stopped_ends_at_once(model: Pushed, merger: Merger) -> None:
    await asyncio.to_thread(model.push().begin, 1)
    push = model.push()
    merger.some.clear()
    with model.path.open("rb", buffering=0) as file:
        parts = merger.store.parts(model.info.root)
        assert parts is not None
        push.stop()
        with pytest.raises(PushError, match="stopped"):
            await asyncio.to_thread(push.chunks, file, MINE, 1)
    assert merger.here(model.info.root) == []


# --- what nobody takes ------------------------------------------------------------------------------------------------


def ask(
    model: Pushed, identities: dict[str, Identity], path: str, body: bytes, size: int | None = None
) -> http.client.HTTPConnection:
    """Begins a PUT of chunks `path`, or of the list where it is empty; `size`: what its head states, if it does."""
    connection = Connections(client_context(identities["SL-3"]), 60, 60).connect(model.merger.source)
    connection.stream.allow(2**20, 60)
    connection.putrequest("PUT", f"/models/{model.info.root}/chunks" + (f"/{path}" if path else ""))
    if size is not None:
        connection.putheader("content-length", str(size))
    connection.endheaders()
    connection.stream.sendall(body)
    return connection


async def answer(
    model: Pushed, identities: dict[str, Identity], path: str, body: bytes, **given: Any
) -> tuple[int, str]:
    """The status and text of the answer to such a request."""

    def run() -> tuple[int, str]:
        connection = ask(model, identities, path, body, **{"size": len(body), **given})
        response = connection.getresponse()
        found = response.status, response.read(1000).decode(errors="replace")
        connection.close()
        return found

    return await asyncio.to_thread(run)


CHUNK = bytes(LEAST_CHUNK)


async def test_who_may_push_nothing_is_refused_before_anything_is_read(
    model: Pushed, merger: Merger, identities: dict[str, Identity]
) -> None:
    merger.pushable = None
    status, text = await answer(model, identities, "3-4", b"", size=LEAST_CHUNK)
    assert (status, merger.came) == (403, 0)
    assert "may push" in text
    assert (await answer(model, identities, "", b"", size=700))[0] == 403


@pytest.mark.parametrize("path", ["2-4", "14-16", "0-1", "15-16", "5-5", "6-5", "3-9999999"])
async def test_chunks_that_are_not_for_this_merger_are_refused(
    path: str, model: Pushed, merger: Merger, identities: dict[str, Identity]
) -> None:
    await asyncio.to_thread(model.push().begin, 1)
    assert (await answer(model, identities, path, b"", size=LEAST_CHUNK))[0] == 403
    assert merger.here(model.info.root) == []


@pytest.mark.parametrize(
    ("path", "body", "size", "status", "text"),
    [
        ("3-4", CHUNK[:-1], LEAST_CHUNK - 1, 400, "have 262144 bytes"),
        ("3-4", CHUNK + b"x", LEAST_CHUNK + 1, 400, "have 262144 bytes"),
        ("3-4", b"", None, 411, "content-length"),
        ("3-4", CHUNK, LEAST_CHUNK, 422, "chunk 3: the bytes are not those"),
        ("", b"x" * 697, 697, 422, "not a chunk list"),
        ("", b"x" * 600, 600, 422, "has 697 bytes"),
        ("", b"", 2**40, 422, "has 697 bytes"),
        ("x-4", b"", 0, 404, "/chunks/<first>-<end>"),
    ],
)
async def test_a_push_that_is_not_right_is_refused_with_what_is_wrong(
    path: str,
    body: bytes,
    size: int | None,
    status: int,
    text: str,
    model: Pushed,
    merger: Merger,
    identities: dict[str, Identity],
) -> None:
    await asyncio.to_thread(model.push().begin, 1)
    assert len(model.info.to_bytes()) == 697
    found = await answer(model, identities, path, body, size=size)
    assert (found[0], text in found[1]) == (status, True), found
    assert merger.here(model.info.root) == []
    await asyncio.to_thread(model.all_of, range(3, 4))
    assert merger.here(model.info.root) == [3], "the next one is taken"


async def test_lists_that_are_not_of_the_model_or_of_the_training_are_refused(
    model: Pushed, merger: Merger, identities: dict[str, Identity]
) -> None:
    other = ModelDigest(model.info.size, model.info.chunks[::-1], model.info.header)
    assert await answer(model, identities, "", other.to_bytes()) == (
        422,
        '{"detail": "this is the chunk list of another model"}',
    )
    shorter = ModelDigest(model.info.size - 8, model.info.chunks, model.info.header)
    merger.pushable = Pushable(shorter.layout, frozenset(MINE))
    status, text = await answer(model, identities, "", model.info.to_bytes())
    assert (status, "is cut otherwise" in text) == (422, True)
    assert (await answer(model, identities, "3-4", CHUNK))[0] == 409


async def test_chunks_before_their_list_are_refused(model: Pushed, identities: dict[str, Identity]) -> None:
    status, text = await answer(model, identities, "3-4", CHUNK)
    assert (status, "list first" in text) == (409, True)


async def test_only_a_few_requests_push_one_model_at_a_time(
    model: Pushed, merger: Merger, identities: dict[str, Identity]
) -> None:
    await asyncio.to_thread(model.push().begin, 1)
    held = [
        await asyncio.to_thread(ask, model, identities, f"{at}-{at + 1}", CHUNK[:9], LEAST_CHUNK) for at in range(3, 7)
    ]
    while merger.came < 9 * len(held):
        merger.some.clear()
        await merger.some.wait()
    assert (await answer(model, identities, "8-9", b"", size=LEAST_CHUNK))[0] == 429
    for each in held:
        each.close()
    while (found := await answer(model, identities, "", model.info.to_bytes()))[0] == 429:
        pass  # the server has not noticed yet that they are gone
    assert found[0] == 200


async def test_a_request_has_more_time_only_for_bytes_that_come_fast_enough(tmp_path: Path) -> None:
    """The server ends a request that has not arrived in time; who drips gets no more of it."""
    allowed, least = 0, LEAST_RATE * 10

    def more() -> None:
        nonlocal allowed
        allowed += 1

    async def taken(pieces: list[bytes]) -> int:
        nonlocal allowed
        allowed, left = 0, list(pieces)

        async def receive() -> Any:
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        pushes = Pushes(lambda *given: None, lambda *given: None, lambda *given: 0.0)
        receiver = PushReceiver(TensorStore(tmp_path / "store"), None, None, pushes)  # type: ignore[arg-type]
        connection: Any = type("Known", (), {"credential": None})
        scope = {MORE_TIME_KEY: more, SCOPE_KEY: connection}
        size = sum(map(len, pieces))
        assert sum([len(piece) async for piece in receiver._pieces(size, scope, receive)]) == size
        return allowed

    assert await taken([b"x"] * (int(least) - 1)) == 0
    assert await taken([b"x"] * int(least)) == 1
    assert await taken([bytes(65536)] * 4) == 4


# --- what a push asks for ---------------------------------------------------------------------------------------------


def test_a_request_has_missing_chunks_that_follow_one_another_and_is_not_large(tmp_path: Path) -> None:
    layout = ModelDigest(100 * LEAST_CHUNK + 64, (), 64).layout
    here = bytearray(101)
    assert next_run(layout, here, [range(40, 60), range(3, 9)]) == range(40, 40 + AT_ONCE // LEAST_CHUNK)
    here[40:60] = b"\1" * 20
    here[5] = 1
    assert next_run(layout, here, [range(40, 60), range(3, 9)]) == range(3, 5)
    here[3:5] = b"\1\1"
    assert next_run(layout, here, [range(40, 60), range(3, 9)]) == range(6, 9)
    here[6:9] = b"\1\1\1"
    assert next_run(layout, here, [range(40, 60), range(3, 9)]) is None
