"""Sources that send something other than the model: each is named with its fault, and nothing wrong is kept."""

import asyncio
import re
import ssl
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from support.certs import stranger
from support.faulty_holder import CONTENT, PREFIX, SIZE, Hold, fetching, rest_from
from support.ports import fixed_port
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.models.transfer import Fetcher, Source, TransferError
from swarmlearning.tensors.digest import CHUNK

Identities = dict[str, Identity]


async def test_an_altered_byte_is_reported_with_its_source_and_chunk(
    digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore
) -> None:
    liar = await hold(flip=CHUNK + 5)
    with pytest.raises(TransferError, match=rf":{liar.source[1]} sent wrong bytes, chunk 1"):
        await fetcher.fetch(digest, [liar.source])
    assert not store.has(digest)
    assert store.noted(digest).read_bytes() == b"\x01\x00\x00"  # nothing wrong is kept


async def test_a_chunk_that_one_source_sent_wrong_is_fetched_from_the_next_source(
    digest: str, hold: Hold, fetcher: Fetcher
) -> None:
    liar, honest = await hold(flip=CHUNK + 5), await hold()
    path = await fetcher.fetch(digest, [liar.source, honest.source])
    assert path.read_bytes() == CONTENT
    assert liar.requests == ["/bundle"]
    assert honest.requests == [rest_from(CHUNK)]


async def test_an_honest_source_is_not_blamed_for_a_wrong_chunk_that_another_source_began(
    digest: str, hold: Hold, fetcher: Fetcher
) -> None:
    liar, honest = await hold(flip=CHUNK + 5, cut=CHUNK + 1000), await hold()
    path = await fetcher.fetch(digest, [liar.source, honest.source])
    assert path.read_bytes() == CONTENT
    assert honest.requests == [rest_from(CHUNK)]


@pytest.mark.parametrize(("begun", "flip", "chunk"), [(CHUNK + 1000, 2 * CHUNK + 5, 2), (CHUNK, CHUNK + 5, 1)])
async def test_a_source_is_blamed_for_the_wrong_bytes_that_it_sent_after_resuming(
    begun: int, flip: int, chunk: int, digest: str, hold: Hold, fetcher: Fetcher
) -> None:
    cutter, liar = await hold(cut=begun), await hold(flip=flip)
    with pytest.raises(TransferError, match=rf":{liar.source[1]} sent wrong bytes, chunk {chunk}"):
        await fetcher.fetch(digest, [cutter.source, liar.source])
    assert liar.requests == [rest_from(begun)]


async def test_the_chunk_list_of_another_model_is_refused(
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
async def test_an_answer_without_a_usable_chunk_list_is_refused(
    headers: list[tuple[bytes, bytes]], body: bytes, identities: Identities, digest: str, fetcher: Fetcher
) -> None:
    server = Server(nonsense(headers, body), server_context(identities["SL-1"]), "127.0.0.1", 0)
    await server.start()
    with pytest.raises(TransferError, match=r"no usable chunk list|before the end"):
        await fetcher.fetch(digest, [("127.0.0.1", server.port)])
    await server.stop()


async def test_an_answer_that_announces_the_wrong_length_is_refused(
    identities: Identities, digest: str, hold: Hold, fetcher: Fetcher
) -> None:
    chunks = (await hold()).store.digest_info(digest).to_bytes()
    short = nonsense(
        [(b"x-chunk-list-bytes", b"%d" % PREFIX), (b"content-length", b"%d" % (PREFIX + 9))], chunks + b"x" * 9
    )
    server = Server(short, server_context(identities["SL-1"]), "127.0.0.1", 0)
    await server.start()
    with pytest.raises(TransferError, match=f"announces 9 bytes where {SIZE} are missing"):
        await fetcher.fetch(digest, [("127.0.0.1", server.port)])
    await server.stop()


async def test_the_error_of_a_failed_fetch_lists_every_source_with_its_fault(
    identities: Identities, digest: str, hold: Hold, fetcher: Fetcher, tmp_path: Path
) -> None:
    closed = ("127.0.0.1", fixed_port())
    empty = await hold(content=None)
    private = await hold(members=lambda thumbprint, digest, chunks: False)
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
            f"answered 404: 'model {digest} is not held here; request it from another peer'",
            "answered 403: 'this certificate is not that of a node that may have model",
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
async def test_a_source_with_an_impossible_address_is_an_error_and_the_next_source_is_used(
    address: Source, digest: str, hold: Hold, fetcher: Fetcher
) -> None:
    good = await hold()
    with pytest.raises(TransferError, match=re.escape(f"{address[0]}:{address[1]} ")):
        await fetcher.fetch(digest, [address])
    assert (await fetcher.fetch(digest, [address, good.source])).read_bytes() == CONTENT


async def test_a_client_that_the_source_does_not_trust_gets_an_error_that_explains_it(
    digest: str, hold: Hold, store: TensorStore, tmp_path: Path
) -> None:
    holder = await hold()
    context = client_context(stranger(tmp_path, "SL-2"))
    context.verify_mode = ssl.CERT_NONE
    fetcher = Fetcher(context, store, connect_seconds=600, stall_seconds=600)
    with pytest.raises(TransferError, match="may not trust this node's certificate"):
        await fetcher.fetch(digest, [holder.source])
    await fetcher.close()
    assert holder.requests == []


async def test_a_fetch_without_sources_is_an_error(digest: str, fetcher: Fetcher) -> None:
    with pytest.raises(TransferError, match="no node is known to hold it"):
        await fetcher.fetch(digest, [])


async def test_a_fetch_of_a_name_that_is_not_a_digest_is_refused(fetcher: Fetcher) -> None:
    with pytest.raises(StoreError, match="not a model digest"):
        await fetcher.fetch("../" + "a" * 61, [])


async def test_a_source_that_stalls_is_given_up_for_the_next_one(
    identities: Identities, digest: str, hold: Hold, store: TensorStore
) -> None:
    stalling, closed = await hold(stall=3_000_000), ("127.0.0.1", fixed_port())
    async with fetching(identities["SL-2"], store, stall_seconds=0.2) as fetcher:
        with pytest.raises(
            TransferError, match=rf"does not answer in time; 127\.0\.0\.1:{closed[1]} refuses"
        ) as failed:
            await fetcher.fetch(digest, [stalling.source, closed])
    assert not failed.value.silent


async def test_a_host_that_accepts_a_connection_and_never_answers_is_given_up(
    identities: Identities, digest: str, hold: Hold, store: TensorStore
) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    source = ("127.0.0.1", server.sockets[0].getsockname()[1])
    fetcher = Fetcher(client_context(identities["SL-2"]), store, connect_seconds=0.2)
    with pytest.raises(TransferError, match=f"{source[1]} does not answer in time") as failed:
        await fetcher.fetch(digest, [source])
    assert failed.value.silent
    await fetcher.close()
    server.close()
    await server.wait_closed()


async def test_a_model_whose_size_is_not_that_of_the_training_is_not_downloaded(
    digest: str, hold: Hold, fetcher: Fetcher, store: TensorStore
) -> None:
    """Otherwise a node that claims to have a model of this training could fill the disks of the others."""
    holder = await hold()
    too_large = f":{holder.source[1]} has a model of {SIZE} bytes; those of this training have {SIZE - 1}$"
    with pytest.raises(TransferError, match=too_large) as failure:
        await fetcher.fetch(digest, [holder.source], size=SIZE - 1)
    assert failure.value.fault == "misshapen"
    assert not store.partial(digest).exists()
    assert (await fetcher.fetch(digest, [holder.source], size=SIZE)).read_bytes() == CONTENT
