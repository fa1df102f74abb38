"""Those who ask an SN for too much, or have no business with it: over real connections."""

import asyncio
import contextlib
import json
import re
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from starlette.types import Message

from support.certs import authority_in, make_workspace
from support.local_sn import Member, fetch, member
from support.mining import Site, engine_of
from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.api.protocol import Limits
from swarmlearning.api.server import Server
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.ledger.bodies import Announce, Revoke
from swarmlearning.ledger.contracts import network
from swarmlearning.sn.api import blocks as blocks_api
from swarmlearning.sn.api.app import make_api
from swarmlearning.sn.api.shared import Shared
from swarmlearning.transport import listener

Identities = dict[str, Identity]


async def test_a_certificate_without_a_role_is_refused_by_an_sn(
    sn: dict[str, str], workspace: Path, tmp_path: Path
) -> None:
    printer = make_workspace(tmp_path, ["printer-7"], authority_in(workspace))["printer-7"]
    for path in ("/status", "/blocks/0", "/blocks", "/is_up"):
        status, _, text = await fetch(sn["api"], printer, path)
        assert (status, json.loads(text)["code"]) == (403, "not-allowed")


async def test_block_streams_of_one_certificate_are_bounded(
    sl: Member, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks_api, "STREAMS_PER_CERTIFICATE", 2)
    async with aclosing(sl.client.blocks(0)) as one, aclosing(sl.client.blocks(0)) as two:
        await anext(one)
        await anext(two)
        with pytest.raises((Refusal, Unavailable), match="2 block streams with one certificate"):
            await anext(sl.client.blocks(0))
        async with (
            SnClient(sl.client.address, client_context(identities["SL-2"])) as other,
            aclosing(other.blocks(0)) as third,
        ):
            await anext(third)
    async with asyncio.timeout(60):
        while True:  # the SN learns of the end of a stream a little later
            with contextlib.suppress(Refusal, Unavailable):
                async with aclosing(sl.client.blocks(0)) as again:
                    await anext(again)
                    return


async def test_a_block_stream_whose_reader_was_gone_before_it_began_is_not_counted() -> None:
    ended: list[None] = []

    async def events() -> AsyncIterator[bytes]:
        yield b"data: never\n\n"

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        await asyncio.Event().wait()

    scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
    await blocks_api.BlockStream(events(), lambda: ended.append(None))(scope, receive, send)
    assert len(ended) == 1


async def test_streams_that_nobody_reads_are_closed_and_use_little_memory(
    identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is sent blocks of 4 MB in all; what waits for it is bounded, and it is gone after a while."""
    monkeypatch.setattr(blocks_api, "SLOW_SECONDS", 1.0)
    monkeypatch.setattr(listener, "_SHUTDOWN_SECONDS", 0.5)
    readers, site = 8, Site()
    large = Announce({f"service-{number}-{'s' * 140}": f"{'h' * 60}.{'h' * 60}:1" for number in range(8)})
    for _ in range(36):
        site.ledger.commit(*(site.ledger.write("sl-0", network.CONTRACT, large) for _ in range(30)))
    async with site.miner() as miner:
        sn = make_api(miner, engine_of(site), "sn-1", str)
        server = Server(sn, server_context(identities["SN-1"]), "127.0.0.1", 0, Limits(unsent_bytes=64 * 1024))
        await server.start()
        tls = client_context(identities["SL-1"])
        tracemalloc.start()
        writers = [await with_little_room(server.port, tls) for _ in range(readers)]
        for writer in writers:
            writer.write(b"GET /blocks?from=0 HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.gather(*map(until_cut_off, writers))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await server.stop()
    assert peak < readers * 2_000_000


async def with_little_room(port: int, tls: ssl.SSLContext) -> asyncio.StreamWriter:
    """A connection of which the kernel keeps little that has not been read: so it is soon that nothing more comes."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    _, writer = await asyncio.open_connection(sock=sock, ssl=tls, server_hostname="127.0.0.1", limit=1)
    return writer


async def until_cut_off(writer: asyncio.StreamWriter) -> None:
    """Returns when the SN has ended the connection, of which nothing is read."""
    with contextlib.suppress(OSError):
        while True:
            writer.write(b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.1)


async def test_the_status_is_computed_once_for_all_requests_that_arrive_meanwhile() -> None:
    started, go_on, computed = asyncio.Event(), asyncio.Event(), 0

    async def compute() -> int:
        nonlocal computed
        computed += 1
        started.set()
        await go_on.wait()
        return computed

    shared = Shared(compute)
    first = [asyncio.create_task(shared.get()) for _ in range(50)]
    await started.wait()
    late = [asyncio.create_task(shared.get()) for _ in range(50)]  # theirs may not be older than their question
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(*first) == [1] * 50
    assert await asyncio.gather(*late) == [2] * 50


async def test_a_status_that_cannot_be_computed_is_an_error_only_for_the_requests_that_waited_for_it() -> None:
    outcomes = [OSError("no majority"), None]

    async def compute() -> str:
        if (error := outcomes.pop(0)) is not None:
            raise error
        return "fine"

    shared = Shared(compute)
    with pytest.raises(OSError, match="no majority"):
        await shared.get()
    assert await shared.get() == "fine"


async def test_the_documentation_page_loads_nothing(sn: dict[str, str], identities: Identities) -> None:
    _, _, text = await fetch(sn["api"], identities["SL-1"], "/docs")
    assert "/transactions" in text
    assert not re.search(r"<script|<link|<img|https?:", text)


async def test_a_revoked_certificate_renews_no_lease_and_reads_nothing_and_its_stream_ends(
    sl: Member, identities: Identities
) -> None:
    operator = identities["SWCI-1"]
    async with aclosing(sl.client.blocks(0)) as blocks, member(sl.client.address, operator, "swci-1", "SWCI") as swci:
        await anext(blocks)
        await swci.register()
        await swci.send(Revoke(identities["SL-1"].thumbprint))
        with pytest.raises(Unavailable, match="has ended the block stream"):
            async for _ in blocks:
                pass
        for call in (sl.client.announce("sl-1", 1, 0, 0), sl.client.status(), sl.client.block(0)):
            with pytest.raises(Refusal, match="has been revoked"):
                await call
