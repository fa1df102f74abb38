"""The streams between SNs, of which the ledger shuts one out: those that it has opened end, and those to it."""

import asyncio
import base64
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.south import ACTS, OPERATING, WORKING, South
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.contracts import network
from swarmlearning.ordering.etcd.member import cluster_host
from swarmlearning.ordering.etcd.tunnel import Gate, Proxy
from swarmlearning.sn.admission import Admission

BOUND = 30.0
"""Seconds, on a machine under load; a stream between members would last for days."""
SNS = ("sn-1", "sn-2", "sn-3")

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A member that returns each line."""
    while line := await reader.readline():
        writer.write(line)
    writer.close()


class Tunnels:
    """SN-1 and SN-3 of the founders, SN-2 of `south`: each has a gate, SN-1 a proxy too."""

    def __init__(self, folder: Path) -> None:
        self.south = South()
        self._folder = folder
        self._ledger = self.south.ledger
        self._ledger.join("sn-2", "SN", WORKING)
        self._ledger.join("sn-3", "SN")
        self.identities = self._identities()
        admission = Admission(lambda: self._ledger.chain)
        self.proxy = Proxy(client_context(self.identities["sn-1"]), admission)
        self.gates = {
            uid: Gate(server_context(self.identities[uid]), cluster_host(uid), lambda: folder / "member", admission)
            for uid in SNS
        }
        self._ports: dict[str, int] = {}

    def _identities(self) -> dict[str, Identity]:
        files = Workspace(self._folder)
        for name, authority in {"CA-1": self._ledger.authority, "CA-2": OPERATING, "CA-3": WORKING}.items():
            files.save_authority(name, authority)
        for uid in SNS:
            files.save_node(uid, self._ledger.actors[uid].pair)
        return {uid: files.identity(uid) for uid in SNS}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Inside the block all listen, where the ledger says."""
        member = await asyncio.start_unix_server(echo, str(self._folder / "member"))
        for uid, gate in self.gates.items():
            self._ports[uid] = await gate.start("127.0.0.1", 0)
            address = f"127.0.0.1:{self._ports[uid]}"
            self._ledger.send(uid, Announce({"p2p": address, "api": address}), network.CONTRACT)
        await self.proxy.start()
        try:
            yield
        finally:
            await self.proxy.stop()
            for gate in self.gates.values():
                await gate.stop()
            member.close()

    async def to_sn_1(self, uid: str) -> Stream:
        """A stream that another SN has opened."""
        tls = client_context(self.identities[uid])
        reader, writer = await asyncio.open_connection("127.0.0.1", self._ports["sn-1"], ssl=tls)
        return await self._begun(reader, writer, f"GET /raft HTTP/1.1\r\nHost: {cluster_host('sn-1')}\r\n\r\n")

    async def from_sn_1(self, uid: str) -> Stream:
        """A stream that SN-1's member has opened to another SN."""
        url = urlsplit(self.proxy.url)
        password = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
        reader, writer = await asyncio.open_connection("127.0.0.1", url.port)
        host = cluster_host(uid)
        fields = f"Host: {host}\r\nProxy-Authorization: Basic {password}"
        return await self._begun(reader, writer, f"GET http://{host}/raft HTTP/1.1\r\n{fields}\r\n\r\n")

    async def _begun(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> Stream:
        writer.write(head.encode())
        assert await reader.readline() == b"GET /raft HTTP/1.1\r\n"
        return reader, writer

    def drop_excluded(self) -> None:
        """What SN-1 does twice a second."""
        self.gates["sn-1"].drop_excluded()
        self.proxy.drop_excluded()


async def is_cut(stream: Stream) -> bool:
    """True if the stream ends; fails after `BOUND` seconds."""
    try:
        await stream[0].readuntil(b"never")
    except (OSError, asyncio.IncompleteReadError):
        return True
    return False


async def echoes(stream: Stream) -> bool:
    """True if the stream carries a line to the member and back."""
    stream[1].write(b"still\r\n")
    return (await stream[0].readuntil(b"still\r\n")).endswith(b"still\r\n")


@pytest.mark.parametrize("what", ACTS)
async def test_streams_from_and_to_an_sn_end_when_it_is_shut_out_and_those_of_others_go_on(
    what: str, tmp_path: Path
) -> None:
    tunnels = Tunnels(tmp_path)
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    async with asyncio.timeout(BOUND), tunnels.open():
        streams = {uid: [await tunnels.to_sn_1(uid), await tunnels.from_sn_1(uid)] for uid in ("sn-2", "sn-3")}
        tunnels.drop_excluded()
        assert all([await echoes(stream) for both in streams.values() for stream in both])
        tunnels.south.shut_out(what, "sn-2")
        tunnels.drop_excluded()
        assert [await is_cut(stream) for stream in streams["sn-2"]] == [True, True]
        assert [await echoes(stream) for stream in streams["sn-3"]] == [True, True]
        for _, writer in (stream for both in streams.values() for stream in both):
            writer.transport.abort()
    gc.collect()  # then a task that has failed says so
    assert faults == []
