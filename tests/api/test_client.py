"""The client of an SN against servers that are no SN, or that try to exhaust it."""

import asyncio
import json
import ssl
import struct
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.certs import make_workspace
from support.ports import fixed_port
from support.scripted_sn import STATUS
from swarmlearning.api import allowance
from swarmlearning.api import client as client_module
from swarmlearning.api.asking import MAX_DETAIL
from swarmlearning.api.client import MAX_ANSWER, Refusal, SnClient, Unavailable
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.transport.parties import Credential

Identities = dict[str, Identity]
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def server(identity: Identity, answer: Answer) -> AsyncIterator[str]:
    """Serves `answer` to every request; yields the address."""
    serving = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
        writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.get_running_loop().create_task(serve(reader, writer)))

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=server_context(identity))
    async with listening:
        yield f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)


def just(*parts: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(parts))
        await writer.drain()

    return answer


def whole(body: bytes) -> Answer:
    return just(OK, b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body), body)


def bomb(head: bytes, begin: bytes = b"") -> Answer:
    """256 MiB of zeros after `begin`, as 260 KB of gzip: a MiB is compressed, and that repeated."""
    mebibyte, count = bytes(2**20), 2**8
    checksum = zlib.crc32(begin)
    for _ in range(count):
        checksum = zlib.crc32(mebibyte, checksum)
    body = [_deflated(begin, zlib.Z_FULL_FLUSH), _deflated(mebibyte, zlib.Z_FULL_FLUSH) * count, _deflated(b"")]
    length = len(begin) + len(mebibyte) * count
    gzip = [b"\x1f\x8b\x08", bytes(6), b"\xff", *body, struct.pack("<II", checksum, length)]
    return just(head, b"content-encoding: gzip\r\nconnection: close\r\n\r\n", *gzip)


def _deflated(data: bytes, flush: int = zlib.Z_FINISH) -> bytes:
    compressing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressing.compress(data) + compressing.flush(flush)


def endlessly(begin: bytes, again: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        while True:
            writer.write(again)
            await writer.drain()

    return answer


CALLS: dict[str, Callable[[SnClient], Awaitable[object]]] = {
    "submit": lambda client: client.submit("a.b.c"),
    "announce": lambda client: client.announce("u", 1, 0, 0),
    "append": lambda client: client.append(1, "00", b"{}"),
    "cluster": lambda client: client.cluster(),
    "end_vote": lambda client: client.end_vote("u"),
    "block": lambda client: client.block(1),
    "state": lambda client: client.state(1),
    "status": lambda client: client.status(),
    "blocks": lambda client: all_blocks(client),
}


async def all_blocks(client: SnClient) -> int:
    async with aclosing(client.blocks(0)) as blocks:
        return len([None async for _ in blocks])


def tls(identities: Identities) -> ssl.SSLContext:
    return client_context(identities["SL-2"])


@pytest.mark.parametrize("call", CALLS)
async def test_a_server_whose_certificate_is_not_that_of_an_sn_receives_no_request(
    call: str, identities: Identities
) -> None:
    called = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        called.set()

    async with server(identities["SL-1"], answer) as address, SnClient(address, tls(identities)) as client:
        with pytest.raises(Unavailable, match=r"is not an SN: .*CN=SL-1.* is for the role SL, not SN") as error:
            await CALLS[call](client)
    assert error.value.final
    assert not called.is_set()


async def test_a_server_whose_certificate_names_no_role_is_not_used_as_an_sn(tmp_path: Path) -> None:
    made = make_workspace(tmp_path, ["printer-7", "SL-2"])
    async with server(made["printer-7"], just()) as address, SnClient(address, tls(made)) as client:
        with pytest.raises(Unavailable, match=r"is not an SN: .*names no role"):
            await client.status()


async def test_an_sn_whose_credential_the_caller_rejects_is_not_used(identities: Identities) -> None:
    judged: list[Credential] = []

    def fault(credential: Credential) -> str:
        judged.append(credential)
        return "it is not registered"

    async with (
        server(identities["SN-1"], just()) as address,
        SnClient(address, tls(identities), fault=fault) as client,
    ):
        with pytest.raises(Unavailable, match="is not an SN: it is not registered"):
            await client.status()
    assert {credential.thumbprint for credential in judged} == {identities["SN-1"].thumbprint}


CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + b"x" * 65536 + b"\r\n"
HOSTILE: dict[str, Answer] = {
    "an endless body": endlessly(CHUNKED, CHUNK),
    "an endless body until the end of the connection": endlessly(OK + b"connection: close\r\n\r\n", b"x" * 65536),
    "an endless error": endlessly(CHUNKED.replace(b"200 OK", b"409 Refused"), CHUNK),
    "an endless failure": endlessly(CHUNKED.replace(b"200 OK", b"503 Busy"), CHUNK),
    "an endless head": endlessly(OK, b"a: b\r\n"),
    "an endless field": endlessly(OK + b"a: ", b"b" * 65536),
    "interim responses without end": endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "a bomb": bomb(OK, b"data: 0\n"),
    "a bomb in an error": bomb(b"HTTP/1.1 409 No\r\n"),
    "nothing": just(),
    "no HTTP": just(b"\x00" * 1000),
    "a redirect": just(b"HTTP/1.1 307 There\r\nlocation: https://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"),
    "deeply nested JSON": just(OK + b"content-length: 1000000\r\n\r\n" + b"[" * 1_000_000),
    "JSON of another form": just(OK + b"content-length: 6\r\n\r\n" + b'{"x":1'),
}


HOSTILE_STREAMS: dict[str, Answer] = {
    "comments without end": endlessly(CHUNKED, b"e\r\n: still here\n\n\r\n" * 1000),
    "empty lines without end": endlessly(CHUNKED, b"1000\r\n" + b"\n" * 4096 + b"\r\n"),
    "heights without blocks": endlessly(CHUNKED, b"1c00\r\n" + b"id: 12\n" * 1024 + b"\r\n"),
    "long comments": endlessly(CHUNKED, b"100001\r\n" + b":" * 2**20 + b"\n\r\n"),
    "a chunk extension without end": endlessly(CHUNKED + b"1;a=", b"b" * 65536),
    "chunk extensions without end": endlessly(CHUNKED, (b"1;" + b"b" * 4000 + b"\r\nx\r\n") * 16),
    "trailers without end": endlessly(CHUNKED + b"2\r\n{}\r\n0\r\n", b"a: b\r\n" * 1000),
    "a coding without end": endlessly(CHUNKED.replace(b"\r\n\r\n", b"\r\ncontent-encoding: br\r\n\r\n"), CHUNK),
    "an answer of HTTP/1.0 without end": endlessly(b"HTTP/1.0 200 OK\r\n\r\n", b"\n" * 65536),
    "a switch of protocols": endlessly(b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", b"x" * 65536),
}
"""Each goes on without end and never pauses."""


@pytest.mark.parametrize("kind", HOSTILE_STREAMS)
async def test_a_block_stream_of_much_that_is_no_block_ends(kind: str, identities: Identities) -> None:
    async with (
        server(identities["SN-1"], HOSTILE_STREAMS[kind]) as address,
        SnClient(address, tls(identities), answer_seconds=1.0) as client,
        asyncio.timeout(60),
    ):
        with pytest.raises(Unavailable):
            await all_blocks(client)


async def test_a_quiet_block_stream_stays_open(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments at the pace of an SN, many more than a stream may have at once."""
    monkeypatch.setattr(allowance, "LINES_PER_SECOND", 1e6)

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"content-type: text/event-stream\r\n\r\n")
        for _ in range(500):
            writer.write(b": still here\n\n")
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.write(b"id: 0\ndata: {}\n\n" * 500)
        await writer.drain()
        await asyncio.sleep(60)

    async with (
        server(identities["SN-1"], answer) as address,
        SnClient(address, tls(identities)) as client,
        aclosing(client.blocks(0)) as blocks,
    ):
        assert [await anext(blocks) for _ in range(500)] == [b"{}"] * 500


@pytest.mark.parametrize("call", ["submit", "status", "cluster", "blocks"])
@pytest.mark.parametrize("kind", HOSTILE)
async def test_a_hostile_answer_costs_the_client_bounded_memory_and_time(
    kind: str, call: str, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(client_module, "MAX_STATUS", MAX_ANSWER)
    async with (
        server(identities["SN-1"], HOSTILE[kind]) as address,
        SnClient(address, tls(identities), answer_seconds=3.0) as client,
    ):
        tracemalloc.start()
        try:
            async with asyncio.timeout(60):
                with pytest.raises((Unavailable, Refusal)):
                    await CALLS[call](client)
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    assert peak < 100_000_000  # aiohttp parses what has come at once into objects, a read of 256 KiB at most


STATE: dict[str, Any] = {"height": 1, "hash": "00", "state_hash": "00"}
ANSWERS: dict[str, dict[str, Any]] = {
    "status": STATUS,
    "state": STATE,
    "submit": {"height": 1},
    "append": {"height": 1, "hash": "00"},
}
WRONG: list[object] = [None, [[]], {"a": 1}, 10**30, -(10**30), 1.5, "\ud800"]


@pytest.mark.parametrize("call", ANSWERS)
async def test_an_answer_with_a_field_that_is_missing_or_wrong_is_refused_by_the_client(
    call: str, identities: Identities
) -> None:
    right = ANSWERS[call]
    wrong = [{name: right[name] for name in right if name != left_out} for left_out in right]
    wrong += [right | {name: value} for name in right for value in WRONG if (name, value) != ("majority", None)]
    texts = [*map(json.dumps, wrong), '{"height": %s}' % ("9" * 5000), "null", "[]", "1", '"x"']
    body = json.dumps(right)

    async def answer(writer: asyncio.StreamWriter) -> None:
        await whole(body.encode())(writer)

    async with server(identities["SN-1"], answer) as address, SnClient(address, tls(identities)) as client:
        await CALLS[call](client)
        for body in texts:
            with pytest.raises(Unavailable, match="sends an answer that cannot be understood"):
                print(body[:300], await CALLS[call](client))


async def test_the_text_of_a_refusal_cannot_forge_log_lines(identities: Identities) -> None:
    body = b'{"code": "x\\u001b[31m", "detail": "a\\nINFO: all is well \\u202e' + b"y" * 5000 + b'"}'
    head = b"HTTP/1.1 409 Refused\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with server(identities["SN-1"], just(head, body)) as address, SnClient(address, tls(identities)) as client:
        with pytest.raises(Refusal) as refusal:
            await client.status()
    assert str(refusal.value).isprintable()
    assert r"a\nINFO" in refusal.value.detail
    assert len(refusal.value.detail) < MAX_DETAIL + 50


async def test_a_request_over_a_quota_of_the_sn_is_no_refusal_but_may_be_sent_again(identities: Identities) -> None:
    body = b'{"code": "quota", "detail": "organisation a has used its quota of 2 requests a second"}'
    head = b"HTTP/1.1 429 Refused\r\ncontent-length: %d\r\n\r\n" % len(body)
    async with server(identities["SN-1"], just(head, body)) as address, SnClient(address, tls(identities)) as client:
        with pytest.raises(Unavailable, match="organisation a has used its quota of 2 requests a second") as error:
            await client.status()
    assert not error.value.final


async def test_the_text_of_an_unreadable_answer_cannot_steer_a_terminal(identities: Identities) -> None:
    """What is wrong is quoted."""
    training = {"name": "t", "rounds": 1, "over": True, "min_peers": 2, "members": [], "leader": None}
    training |= {"waiting_for": [], "text": "", "waiting": {"contract": "t", "phase": "\x1b[31m\n"}}
    body = json.dumps(STATUS | {"trainings": [training]}).encode()
    async with server(identities["SN-1"], whole(body)) as address, SnClient(address, tls(identities)) as client:
        with pytest.raises(Unavailable, match="Invalid enum value") as error:
            await client.status()
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("host", "reason"),
    [("127.0.0.1", "Connection refused"), ("nowhere.invalid", "its host name is not known here")],
)
async def test_an_sn_that_cannot_be_reached_is_an_error_with_the_reason_in_plain_words(
    host: str, reason: str, identities: Identities
) -> None:
    address = f"{host}:{fixed_port()}"
    async with SnClient(address, tls(identities)) as client:
        with pytest.raises(Unavailable) as unavailable:
            await client.status()
    assert str(unavailable.value) == f"SN {address} cannot be reached: {reason}"


async def test_an_sn_that_refuses_the_certificate_of_its_client_is_reported_as_one_that_may_not_trust_it(
    identities: Identities, tmp_path: Path
) -> None:
    stranger = make_workspace(tmp_path / "other", ["SL-9"], ca_name="CA-9")["SL-9"]
    trusting = replace(stranger, anchors=identities["SN-1"].anchors)
    async with server(identities["SN-1"], just(b"")) as address, SnClient(address, client_context(trusting)) as client:
        with pytest.raises(Unavailable, match="closed the connection without an answer, as an SN does that does not"):
            await client.status()


async def test_every_call_of_a_closed_client_is_an_error(identities: Identities) -> None:
    client = SnClient("127.0.0.1:1", tls(identities))
    await client.close()
    for call in CALLS.values():
        with pytest.raises(Unavailable, match="are closed"):
            await call(client)
