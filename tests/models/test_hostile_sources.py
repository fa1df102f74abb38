"""Sources that cost as much as they can: each is given up by name, in bounded time, bytes and processor time."""

import asyncio
import ipaddress
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from types import SimpleNamespace

import pytest
from blake3 import blake3
from zstandard import ZstdCompressor

from support.faulty_holder import fetching
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.models import exchange, gathering, tlsstream
from swarmlearning.models.body import LEAST_RATE, Body, Fault, body_of
from swarmlearning.models.destinations import anywhere, permitted_addresses, refusal_beside
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Fetcher, TransferError
from swarmlearning.tensors.digest import ModelDigest

Identities = dict[str, Identity]
Serve = Callable[[socket.socket], None]

CONTENT = blake3(b"model").digest(40_000)
LIST = ModelDigest(len(CONTENT), (blake3(CONTENT).digest(),)).to_bytes()
DIGEST = ModelDigest.from_bytes(LIST).root
HEAD = b"HTTP/1.1 200 OK\r\nx-chunk-list-bytes: %d\r\n" % len(LIST)
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % (len(LIST) + len(CONTENT))
COMPRESSED = HEAD + b"content-encoding: zstd\r\n\r\n"

STALL_SECONDS = 0.5
LONG_SECONDS = 600.0
SLOW_PIECE = 2 * int(LEAST_RATE * LONG_SECONDS)
HASTE = LONG_SECONDS / STALL_SECONDS
PATIENCE_SECONDS = 60
"""Many times what giving up takes, for a busy machine; without a bound it would take for ever."""
MOST_WORK_SECONDS = 10
"""Of processor time."""


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """For those who read models time stands still until a body begins, and then goes `HASTE` times as fast.

    So it is the body's time that is over, however long this machine takes for all before it.
    """
    begun: list[float] = []

    def body(response: HTTPResponse) -> Body:
        begun.append(time.monotonic())
        return body_of(response)

    def monotonic() -> float:
        return HASTE * (time.monotonic() - begun[0]) if begun else 0.0

    monkeypatch.setattr(exchange, "body_of", body)
    monkeypatch.setattr(tlsstream, "time", SimpleNamespace(monotonic=monotonic, sleep=time.sleep))


@contextmanager
def source(serve: Serve, context: ssl.SSLContext | None) -> Iterator[tuple[str, int]]:
    """A server that answers every connection's request by `serve`, in threads; without a context it uses no TLS."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def answer(plain: socket.socket) -> None:
        with suppress(OSError), plain, context.wrap_socket(plain, server_side=True) if context else plain as client:
            client.recv(2**16)
            serve(client)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threads.append(threading.Thread(target=answer, args=(listener.accept()[0],)))
                threads[-1].start()

    threads.append(threading.Thread(target=accept))
    threads[0].start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join()


def answering(*beginning: bytes, then: bytes, seconds: float = 0.0) -> Serve:
    """Sends the beginning, and then the same again and again, with a pause after each."""

    def serve(client: socket.socket) -> None:
        client.sendall(b"".join(beginning))
        while True:
            client.sendall(then)
            time.sleep(seconds)

    return serve


def compressed_list() -> bytes:
    """The chunk list as the first block of a zstd frame that goes on."""
    stream = ZstdCompressor().compressobj()
    return stream.compress(LIST) + stream.flush(1)


BODIES_IN_DRIPS = {
    "model": answering(WHOLE, LIST, then=b"x", seconds=0.01),
    "list": answering(WHOLE, then=LIST[:1], seconds=0.05),
    "empty-blocks": answering(COMPRESSED, compressed_list(), then=bytes(3), seconds=0.01),
}


@pytest.mark.parametrize("what", BODIES_IN_DRIPS)
async def test_a_source_that_sends_too_little_of_the_model_is_given_up_whatever_else_it_sends(
    what: str, hasty: None, identities: Identities, store: TensorStore
) -> None:
    await given_up(BODIES_IN_DRIPS[what], "too-slow", "does not answer in time", identities, store, LONG_SECONDS)


HEADS_IN_DRIPS = {
    "first-line": answering(b"", then=b"H", seconds=0.01),
    "100-continue": answering(b"", then=b"HTTP/1.1 100 Continue\r\n\r\n", seconds=0.01),
    "headers": answering(HEAD, then=b"x: y\r\n", seconds=0.01),
}


@pytest.mark.parametrize("what", HEADS_IN_DRIPS)
async def test_a_source_whose_answer_never_begins_is_given_up_whatever_it_sends(
    what: str, identities: Identities, store: TensorStore
) -> None:
    await given_up(HEADS_IN_DRIPS[what], "unreachable", "does not answer in time", identities, store, STALL_SECONDS)


ENDLESS: dict[str, tuple[Serve, Fault, str]] = {
    "100-continue": (
        answering(b"", then=1000 * b"HTTP/1.1 100 Continue\r\n\r\n"),
        "unreachable",
        "sends more bytes than its answer",
    ),
    "empty-blocks": (
        answering(COMPRESSED, compressed_list(), then=bytes(3000)),
        "invalid",
        "sends more bytes than its answer",
    ),
    "skippable-frame": (
        answering(COMPRESSED, b"\x50\x2a\x4d\x18\xff\xff\xff\x7f", then=bytes(2**16)),
        "invalid",
        "no valid zstd data|before the end|more bytes",
    ),
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_a_source_that_sends_without_end_is_given_up_by_what_it_has_sent(
    what: str, identities: Identities, store: TensorStore
) -> None:
    serve, fault, text = ENDLESS[what]
    await given_up(serve, fault, text, identities, store, LONG_SECONDS)


async def given_up(
    serve: Serve, fault: Fault, text: str, identities: Identities, store: TensorStore, stall_seconds: float
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with source(serve, server_context(identities["SL-1"])) as (host, port):
        async with (
            fetching(identities["SL-2"], store, stall_seconds=stall_seconds) as fetcher,
            asyncio.timeout(PATIENCE_SECONDS),
        ):
            with pytest.raises(TransferError, match=rf"{host}:{port} .*({text})") as caught:
                await fetcher.fetch(DIGEST, [(host, port)])
    assert caught.value.fault == fault
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < MOST_WORK_SECONDS


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nx-chunk-list-bytes: " + b"9" * 5000 + b"\r\ncontent-length: 5\r\n\r\nabcde",
        HEAD + b"content-length: " + b"9" * 5000 + b"\r\n\r\n" + LIST + CONTENT,
        HEAD + b"content-length: -5\r\n\r\n" + LIST + CONTENT,
        HEAD + b"content-encoding: zstd\r\ntransfer-encoding: chunked\r\n\r\n-5\r\n" + LIST,
        HEAD + b"content-encoding: zstd\r\ntransfer-encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\n" + LIST,
        b"HTTP/1.1 500 X\r\n\r\n" + b"[" * 4000,
        b'HTTP/1.1 500 X\r\n\r\n{"detail":' + b"[" * 4000,
        b'HTTP/1.1 404 X\r\n\r\n{"detail":' + b"1" * 4350,
        b"HTTP/1.1 404 X\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 " + b"9" * 5000 + b" X\r\n\r\n",
    ],
    ids=lambda answer: ascii(answer[:40].decode()),
)
async def test_no_answer_of_a_source_is_more_than_a_failure_of_that_source(
    identities: Identities, store: TensorStore, answer: bytes
) -> None:
    """Any other exception would end the node that fetches."""

    def serve(client: socket.socket) -> None:
        client.sendall(answer)

    with source(serve, server_context(identities["SL-1"])) as hostile:
        async with (
            fetching(identities["SL-2"], store) as fetcher,
            asyncio.timeout(PATIENCE_SECONDS),
        ):
            with pytest.raises(TransferError, match=f"{DIGEST} cannot be fetched: 127"):
                await fetcher.fetch(DIGEST, [hostile], size=len(CONTENT))


async def test_an_error_that_nobody_has_foreseen_is_blamed_on_the_source_and_logged(
    identities: Identities, store: TensorStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(response: object) -> None:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr("swarmlearning.models.exchange.body_of", fails)
    with source(lambda client: client.sendall(WHOLE + LIST + CONTENT), server_context(identities["SL-1"])) as odd:
        async with fetching(identities["SL-2"], store) as fetcher:
            with pytest.raises(TransferError, match="sent what cannot be understood: ZeroDivisionError"):
                await fetcher.fetch(DIGEST, [odd])
    assert "Traceback" in caplog.text


async def test_a_source_that_drips_its_tls_handshake_is_given_up(identities: Identities, store: TensorStore) -> None:
    serve = answering(b"\x16\x03\x03\x40\x00", then=b"\x02", seconds=0.01)
    with source(serve, None) as address:
        async with (
            fetching(identities["SL-2"], store, connect_seconds=0.5) as fetcher,
            asyncio.timeout(PATIENCE_SECONDS),
        ):
            with pytest.raises(TransferError, match="does not answer in time"):
                await fetcher.fetch(DIGEST, [address])


async def test_a_slow_source_that_keeps_sending_the_model_is_waited_for(
    identities: Identities, store: TensorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes several times as long as a source may be silent, by a clock that goes on once a piece has come."""
    content = blake3(b"large").digest(20 * SLOW_PIECE)
    info = ModelDigest(len(content), (blake3(content).digest(),))
    now, held, come = 0.0, 0, threading.Condition()

    def progress(count: int) -> None:
        nonlocal held
        with come:
            held = count
            come.notify_all()

    def slowly(client: socket.socket) -> None:
        nonlocal now
        client.sendall(HEAD + b"content-length: %d\r\n\r\n" % (len(LIST) + len(content)) + info.to_bytes())
        for at in range(0, len(content), SLOW_PIECE):
            client.sendall(content[at : at + SLOW_PIECE])
            with come:
                while held < at + SLOW_PIECE:
                    assert come.wait(PATIENCE_SECONDS)
                now += LONG_SECONDS / 2

    monkeypatch.setattr(gathering, "_REPORT_SECONDS", 0.0)
    monkeypatch.setattr(tlsstream, "time", SimpleNamespace(monotonic=lambda: now, sleep=time.sleep))
    with source(slowly, server_context(identities["SL-1"])) as address:
        async with fetching(identities["SL-2"], store, stall_seconds=LONG_SECONDS) as fetcher:
            path = await fetcher.fetch(info.root, [address], progress)
    assert path.read_bytes() == content
    assert now > 3 * LONG_SECONDS


async def test_fetches_from_a_silent_source_do_not_delay_a_fetch_from_another(
    identities: Identities, store: TensorStore
) -> None:
    reached = threading.Semaphore(0)

    def silent(client: socket.socket) -> None:
        reached.release()
        client.recv(1)

    def good(client: socket.socket) -> None:
        client.sendall(WHOLE + LIST + CONTENT)

    context = server_context(identities["SL-1"])
    with source(silent, context) as slow, source(good, context) as fast:
        async with fetching(identities["SL-2"], store) as fetcher:
            hanging = [asyncio.create_task(fetcher.fetch(f"{number:064x}", [slow])) for number in range(20)]
            for _ in hanging:
                await asyncio.to_thread(reached.acquire)
            path = await fetcher.fetch(DIGEST, [fast])
            for task in hanging:
                task.cancel()
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "localhost"])
async def test_a_node_of_a_real_network_connects_to_nothing_on_its_own_host(
    host: str, identities: Identities, store: TensorStore
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    fetcher = Fetcher(client_context(identities["SL-2"]), store, refuse=refusal_beside(["192.0.2.7"]))
    with pytest.raises(TransferError, match="is loopback, and no address of the network that this node is in"):
        await fetcher.fetch(DIGEST, [(host, listener.getsockname()[1])])
    await fetcher.close()
    with listener, pytest.raises(BlockingIOError):
        listener.accept()


REAL = "192.0.2.7"


@pytest.mark.parametrize(
    ("own", "announced", "kind"),
    [
        (REAL, "10.0.0.1", ""),
        (REAL, "192.168.1.1", ""),
        (REAL, "fd00::1", ""),
        (REAL, "2001:db8::1", ""),
        (REAL, "64:ff9b::c000:201", ""),
        (REAL, "127.0.0.1", "loopback"),
        (REAL, "::1", "loopback"),
        (REAL, "::ffff:7f00:1", "loopback"),
        (REAL, "0.0.0.0", "unspecified"),
        (REAL, "0.1.2.3", "unspecified"),
        (REAL, "::", "unspecified"),
        (REAL, "169.254.169.254", "link-local"),
        (REAL, "fe80::1", "link-local"),
        (REAL, "224.0.0.1", "multicast"),
        (REAL, "ff02::1", "multicast"),
        (REAL, "255.255.255.255", "reserved"),
        ("127.0.0.1", "127.0.0.1", ""),
        ("localhost", "::1", ""),
        ("127.0.0.1", "169.254.169.254", "link-local"),
        ("127.0.0.1", "0.0.0.0", "unspecified"),
        ("169.254.1.1", "169.254.2.2", ""),
        ("169.254.1.1", "127.0.0.1", "loopback"),
        ("no-such-host.invalid", "127.0.0.1", "loopback"),
    ],
)
def test_special_addresses_are_connected_to_only_in_a_network_of_their_kind(
    own: str, announced: str, kind: str
) -> None:
    refusal = refusal_beside([own])(ipaddress.ip_address(announced))
    assert (f" is {kind}, " in refusal) if kind else refusal == ""


def test_a_host_name_is_permitted_only_if_its_addresses_are() -> None:
    assert permitted_addresses("localhost", anywhere)
    with pytest.raises(OSError, match="is loopback"):
        permitted_addresses("localhost", refusal_beside([REAL]))
