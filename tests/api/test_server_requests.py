"""Every request is bounded: in its time, its bytes, and one at a time on a connection."""

import asyncio
import contextlib
import tracemalloc

import pytest
from starlette.types import Receive, Scope, Send

from support.raw_client import GET, Client, describe
from support.serving import serving
from swarmlearning.api.middleware import BodyLimit, send_error
from swarmlearning.api.protocol import MAX_HEAD_BYTES, Limits
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context

Identities = dict[str, Identity]
SLOW = {
    "nothing at all": b"",
    "part of the head": b"GET / HTTP/1.1\r\nhost: ",
    "part of the body": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc",
    "an empty line after a request": GET + b"\r\n",
    "part of a second request": GET + b"GET /",
}


@pytest.mark.parametrize("sent", SLOW.values(), ids=list(SLOW))
async def test_a_request_that_does_not_arrive_in_time_is_answered_408_and_disconnected(
    sent: bytes, identities: Identities
) -> None:
    seconds = 1 if sent.startswith(GET) else 0.2  # in which the client, on a busy machine, does ask
    async with (
        serving(describe, identities["SN-1"], Limits(request_seconds=seconds)) as server,
        Client.connected(server, client_context(identities["SL-1"])) as client,
    ):
        if sent.startswith(GET):
            assert (await client.request())[0] == 200
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
        Client.connected(server, client_context(identities["SL-1"])) as client,
    ):
        status, answer = await client.request(sent)
        assert (status, answer["detail"]) == (400, "send a request after the answer to the one before it")
        assert await client.rest() == b""


async def test_a_request_during_a_stream_closes_the_connection(identities: Identities) -> None:
    async with (
        serving(streaming, identities["SN-1"]) as server,
        Client.connected(server, client_context(identities["SL-1"])) as client,
    ):
        client.writer.write(GET)
        await client.reader.readuntil(b"begun")
        client.writer.write(GET)
        assert b"HTTP" not in await client.rest()


async def test_pipelined_requests_cost_no_memory(identities: Identities) -> None:
    """As much as the kernel takes: the server reads none of it once it has closed the connection."""
    requests = GET * 2000
    async with serving(stalled, identities["SN-1"]) as server:
        tracemalloc.start()
        async with Client.connected(server, client_context(identities["SL-1"])) as client:
            with contextlib.suppress(OSError):
                for _ in range(100):
                    client.writer.write(requests)
                    await client.writer.drain()
            await client.rest()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("kind", ["trailer", "one long trailer", "chunk extension", "empty lines"])
async def test_the_bytes_of_a_request_that_belong_to_no_body_are_bounded(kind: str, identities: Identities) -> None:
    chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    begin, endless = {
        "trailer": (chunked + b"0\r\n", b"a: b\r\n"),
        "one long trailer": (chunked + b"0\r\na: ", b"bbbbbbb"),
        "chunk extension": (chunked + b"1;", b"bbbbbb"),
        "empty lines": (b"", b"\r\n"),
    }[kind]
    async with (
        serving(describe, identities["SN-1"], Limits(request_seconds=1000)) as server,
        Client.connected(server, client_context(identities["SL-1"])) as client,
    ):
        client.writer.write(begin + endless * (3 * MAX_HEAD_BYTES // len(endless)))
        assert (await client.answer())[0] == 431


async def test_the_time_limit_for_requests_does_not_end_a_long_answer(identities: Identities) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        asked.set()
        await go_on.wait()
        await send_error(send, 200, "done")

    limits = Limits(request_seconds=1)
    async with (
        serving(app, identities["SN-1"], limits) as server,
        Client.connected(server, client_context(identities["SL-1"])) as slow,
    ):
        slow.writer.write(GET)
        await asked.wait()
        async with Client.connected(server, client_context(identities["SL-2"])) as idle:
            await idle.rest()  # cut by the limit, which is therefore over for the other one too
        go_on.set()
        assert (await slow.answer())[0] == 200


async def test_a_body_may_be_overwritten_as_soon_as_send_returns(identities: Identities) -> None:
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
        Client.connected(server, client_context(identities["SL-1"])) as client,
    ):
        client.writer.write(GET)
        await overwritten.wait()
        await client.reader.readuntil(b"\r\n\r\n")
        assert await client.reader.readexactly(size) == b"1" * size


async def test_no_error_is_written_into_an_answer_that_has_begun(identities: Identities) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with (
        serving(app, identities["SN-1"], Limits(request_seconds=1)) as server,
        Client.connected(server, client_context(identities["SL-1"])) as client,
    ):
        client.writer.write(SLOW["part of the body"])
        assert (await client.rest()).endswith(b"\r\n\r\n12345")


async def test_a_head_that_is_too_long_is_refused(identities: Identities) -> None:
    async with (
        serving(describe, identities["SN-1"]) as server,
        Client.connected(server, client_context(identities["SL-1"])) as client,
    ):
        line = b"a: " + b"x" * 1000 + b"\r\n"
        client.writer.write(b"GET / HTTP/1.1\r\n" + line * (MAX_HEAD_BYTES // 1000 + 1))
        assert (await client.answer())[0] == 431


async def test_the_limit_for_heads_counts_each_request_of_a_connection_alone(identities: Identities) -> None:
    request = b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"x" * (MAX_HEAD_BYTES // 3) + b"\r\n\r\n"
    async with (
        serving(describe, identities["SN-1"]) as server,
        Client.connected(server, client_context(identities["SL-1"])) as client,
    ):
        for _ in range(5):
            assert (await client.request(request))[0] == 200


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
async def test_a_body_above_the_limit_is_refused_and_the_connection_stays_usable(
    request_bytes: bytes, received: int | None, identities: Identities
) -> None:
    async with (
        serving(BodyLimit(describe, 100_000), identities["SN-1"]) as server,
        Client.connected(server, client_context(identities["SL-1"])) as client,
    ):
        status, answer = await client.request(request_bytes)
        if received is None:
            assert status == 413
            assert "100000 bytes" in str(answer["detail"])
        else:
            assert (status, answer["received"]) == (200, received)
        assert (await client.request())[0] == 200  # the connection is as good as before
