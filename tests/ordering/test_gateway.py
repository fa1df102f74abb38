"""Requests to an etcd member that is not there, or not any more."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from swarmlearning.ordering.etcd.gateway import MAX_REQUESTS, EtcdUnavailableError, Gateway

STANDS = b'{"result": {"created": true}}\n'


@asynccontextmanager
async def silent_etcd(socket: Path, says: bytes, count: int) -> AsyncIterator[asyncio.Event]:
    """Sends this on each connection and nothing more; the event is set after so many connections."""
    asked, writers = asyncio.Event(), list[asyncio.StreamWriter]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(says)
        writers.append(writer)
        if len(writers) == count:
            asked.set()

    server = await asyncio.start_unix_server(serve, str(socket))
    yield asked
    server.close()
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("closed", [False, True], ids=["not yet there", "no longer used"])
async def test_an_absent_etcd_member_is_reported_as_unavailable(tmp_path: Path, closed: bool) -> None:
    """Also where the engine was changed under those who use it: each of them bears an etcd that has ended."""
    gateway = Gateway(tmp_path / "none.sock")
    if closed:
        await gateway.close()
    with pytest.raises(EtcdUnavailableError):
        await gateway.range(b"/", None, 1)
    with pytest.raises(EtcdUnavailableError):
        await anext(gateway.watch(b"/", None))
    await gateway.close()


async def test_closing_a_gateway_fails_waiting_requests_and_cancels_none(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "sock")
    async with silent_etcd(tmp_path / "sock", b"", MAX_REQUESTS) as asked:
        waiting = [asyncio.create_task(gateway.status()) for _ in range(2 * MAX_REQUESTS)]
        await asked.wait()
        await gateway.close()
        found = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(answer) for answer in found} == {EtcdUnavailableError}


async def test_a_watch_in_progress_ends_when_its_gateway_is_closed(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "sock")
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with silent_etcd(tmp_path / "sock", head + b"%x\r\n%b\r\n" % (len(STANDS), STANDS), 1):
        watch = gateway.watch(b"/", None)
        assert await anext(watch) == []
        heard = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        await gateway.close()
        with pytest.raises(EtcdUnavailableError, match="no longer used"):
            await heard
