"""The tunnel between etcd members under attack: an SN's gate and its proxy, without etcd behind them."""

import asyncio
import base64
import contextlib
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.uvloops import identities_of, pytest_asyncio_loop_factories, workspace
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.ordering.etcd import tunnel
from swarmlearning.ordering.etcd.member import cluster_host
from swarmlearning.ordering.etcd.tunnel import Gate, Peer, Proxy
from swarmlearning.transport.parties import Credential
from swarmlearning.transport.shares import Share

__all__ = ["pytest_asyncio_loop_factories", "workspace"]

Identities = dict[str, Identity]

identities = identities_of("SN-1", "SN-2")
HOST = cluster_host("sn-1")


class Sns:
    """The SNs that the ledger admits, by their certificates; all are at the gate's port."""

    def __init__(self, *admitted: Identity) -> None:
        self.admitted = {identity.thumbprint for identity in admitted}
        self.port = 0

    def find(self, address: str) -> Peer | None:
        return Peer("127.0.0.1", self.port, "sn-1")

    def admits(self, credential: Credential, uid: str | None = None) -> bool:
        return credential.thumbprint in self.admitted


@pytest.fixture
def sns(identities: Identities) -> Sns:
    return Sns(identities["SN-1"], identities["SN-2"])


@pytest.fixture
async def gate(tmp_path: Path, identities: Identities, sns: Sns) -> AsyncIterator[Gate]:
    """That of SN-1; its member answers each line with an echo."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    member = tmp_path / "peer"
    server = await asyncio.start_unix_server(echo, str(member))
    made = Gate(server_context(identities["SN-1"]), HOST, lambda: member, sns)
    sns.port = await made.start("127.0.0.1", 0)
    yield made
    await made.stop()
    server.close()


@pytest.fixture
async def proxy(identities: Identities, sns: Sns) -> AsyncIterator[tuple[str, int]]:
    """The credentials and the port of SN-2's."""
    made = Proxy(client_context(identities["SN-2"]), sns)
    await made.start()
    url = urlsplit(made.url)
    assert url.port is not None
    yield base64.b64encode(f"{url.username}:{url.password}".encode()).decode(), url.port
    await made.stop()


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def close(*streams: Stream) -> None:
    for _, writer in streams:
        writer.transport.abort()
    await asyncio.gather(*(writer.wait_closed() for _, writer in streams), return_exceptions=True)


async def stream(port: int, identity: Identity) -> Stream:
    """A stream between members that is open and has carried something."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(identity))
    writer.write(f"GET /raft HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    assert await reader.readline() == b"GET /raft HTTP/1.1\r\n"
    return reader, writer


async def test_an_organisation_with_all_its_p2p_connections_gets_no_more_and_another_one_does(
    tmp_path: Path, identities: Identities, sns: Sns
) -> None:
    second = identities["SN-2"].thumbprint

    def share_of(credential: Credential) -> Share:
        return Share("two" if credential.thumbprint == second else "one", connections=2, requests=1)

    made = Gate(server_context(identities["SN-1"]), HOST, lambda: tmp_path / "none", sns, share_of)
    port = await made.start("127.0.0.1", 0)
    tls = {name: client_context(identities[name]) for name in ("SN-1", "SN-2")}
    names = ("SN-2", "SN-2", "SN-2", "SN-1")
    streams = [await asyncio.open_connection("127.0.0.1", port, ssl=tls[name]) for name in names]
    async with asyncio.timeout(60):
        with contextlib.suppress(OSError):
            assert await streams[2][0].read() == b""
    assert [reader.at_eof() for reader, _ in streams] == [False, False, True, False]
    await close(*streams)
    await made.stop()


async def test_the_streams_of_an_sn_end_when_the_ledger_admits_it_no_more(
    gate: Gate, sns: Sns, identities: Identities
) -> None:
    revoked, staying = [await stream(sns.port, identities[name]) for name in ("SN-2", "SN-1")]
    gate.drop_excluded()
    sns.admitted.discard(identities["SN-2"].thumbprint)
    gate.drop_excluded()
    async with asyncio.timeout(60):
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await revoked[0].readuntil(b"never")
    staying[1].write(b"still\r\n")
    assert await staying[0].readuntil(b"still\r\n")
    await close(revoked, staying)


async def test_local_users_without_the_password_do_not_keep_etcd_out_of_the_proxy(
    gate: Gate, proxy: tuple[str, int]
) -> None:
    """Any user of the host can connect to a port of the loopback interface."""
    password, port = proxy
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(tunnel.MAX_CONNECTIONS)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET http://{HOST}/raft HTTP/1.1\r\nHost: {HOST}\r\nProxy-Authorization: Basic {password}\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(60):
        assert await reader.readline() == b"GET /raft HTTP/1.1\r\n"
        silent += [await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * tunnel.MAX_CONNECTIONS)]
        writer.write(b"still\r\n")
        assert await reader.readuntil(b"still\r\n")
    await close(*silent, (reader, writer))


@pytest.mark.parametrize("first", ["", "GET", "GET http://[ HTTP/1.1", "GET http://\u00e9 HTTP/1.1"])
async def test_a_request_that_the_proxy_does_not_understand_ends_its_connection_alone(
    first: str, proxy: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    """Its task ends without an error that nobody handles."""
    password, port = proxy
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{first}\r\nProxy-Authorization: Basic {password}\r\n\r\n".encode())
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    await close((reader, writer))
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n {host}\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: {host}.\r\n\r\n",
        b"GET / HTTP/1.1\nHost: {host}\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"y" * 20_000 + b"\r\nHost: {host}\r\n\r\n",
        b"\x16\x03\x01" * 1000 + b"\r\n\r\n",
    ],
    ids=["nothing", "no-field", "two-hosts", "folded", "other-spelling", "bare-line-feeds", "too-long", "no-http"],
)
async def test_a_head_that_does_not_name_this_member_once_reaches_no_member(
    head: bytes, gate: Gate, sns: Sns, identities: Identities
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sns.port, ssl=client_context(identities["SN-2"]))
    writer.write(head.replace(b"{host}", HOST.encode()))
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionError):  # the gate has dropped it with bytes unread
            assert await reader.read() == b""
    await close((reader, writer))


async def test_an_admitted_sn_with_many_connections_keeps_no_other_sn_out(
    gate: Gate, sns: Sns, identities: Identities
) -> None:
    tls = client_context(identities["SN-2"])
    many = [await asyncio.open_connection("127.0.0.1", sns.port, ssl=tls) for _ in range(tunnel.MAX_CONNECTIONS + 20)]
    other = await stream(sns.port, identities["SN-1"])
    await close(*many, other)


async def test_the_address_of_an_sn_that_is_no_host_name_is_one_that_cannot_be_reached(
    proxy: tuple[str, int], sns: Sns, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sns, "find", lambda address: Peer("a..b", 1, "sn-1"))
    password, port = proxy
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET http://{HOST}/raft HTTP/1.1\r\nHost: {HOST}\r\nProxy-Authorization: Basic {password}\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(60):
        assert await reader.read() == b""
    await close((reader, writer))
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
