"""Whoever the ledger shuts out loses at once what is under way: over real connections, for a node, an authority and an
organisation."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import pytest

from support.certs import authority_in, make_workspace
from support.local_sn import Member, fetch, member, running_sn
from support.network import anchor
from support.serving import serving
from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.bodies import (
    AdmitOrganisation,
    Body,
    NewOrganisation,
    RetireAuthority,
    RetireOrganisation,
    Revoke,
)
from swarmlearning.ledger.contracts import network
from swarmlearning.models.fileserver import file_app
from swarmlearning.models.store import TensorStore
from swarmlearning.node.cutting import cut_off_refused
from swarmlearning.node.follower import Follower

BOUND = 30.0
"""Seconds, on a machine under load. An idle connection would otherwise end after 75."""
SIZE = 64_000_000
"""Bytes of a model: more than the buffers of the kernel hold."""


class South:
    """A second organisation in the network of SN-1: its operator (by CA-2), and two SLs (by CA-3 and by CA-2)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        first = make_workspace(folder, ["SN-1", "SL-1", "SWCI-1"])
        second = make_workspace(folder, ["SWCI-2", "SL-3"], ca_name="CA-2")
        third = make_workspace(folder, ["SL-2"], ca_name="CA-3")
        self.identities = {name: Workspace(folder).identity(name) for name in first | second | third}
        self.identities["SN-1"] = first["SN-1"]  # its network begins with CA-1 alone
        self.address = ""
        self.operator: Member
        self.node: Member

    @asynccontextmanager
    async def admitted(self, address: str) -> AsyncIterator[None]:
        """Inside the block the organisation takes part, and its operator and SL-2 are registered."""
        self.address = address
        anchors = tuple(anchor(authority_in(self._folder, name)) for name in ("CA-2", "CA-3"))
        async with member(address, self.identities["SWCI-1"], "swci-1", "SWCI") as first:
            await first.register()
            await first.send(AdmitOrganisation(NewOrganisation("south", "South", anchors)))
        async with (
            member(address, self.identities["SWCI-2"], "swci-2", "SWCI") as self.operator,
            member(address, self.identities["SL-2"], "sl-2") as self.node,
        ):
            await self.operator.register()
            await self.node.register()
            yield

    def act(self, what: str) -> Body:
        """The transaction that shuts SL-2 out."""
        match what:
            case "node":
                return Revoke(self.identities["SL-2"].thumbprint)
            case "authority":
                return RetireAuthority(thumbprint(authority_in(self._folder, "CA-3").certificate))
        return RetireOrganisation("south")

    async def shut_out(self, what: str) -> None:
        """Its own operator shuts SL-2 out."""
        await self.operator.send(self.act(what))

    @asynccontextmanager
    async def following(self) -> AsyncIterator[Follower]:
        """The chain as SL-1 follows it."""
        follower = Follower([self.address], client_context(self.identities["SL-1"]), lambda network, name: None)
        work = asyncio.create_task(follower.run())
        try:
            yield follower
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work
            await follower.close()


@pytest.fixture
async def south(tmp_path: Path) -> AsyncIterator[South]:
    made = South(tmp_path / "cert")
    async with running_sn(tmp_path / "sn", made.identities["SN-1"]) as sn, made.admitted(sn["api"]):
        yield made


shuts_out = pytest.mark.parametrize("what", ["node", "authority", "organisation"])


class Line:
    """A TLS connection on which requests are written by hand; it reads only when it is told to, with a small window."""

    def __init__(self, port: int, identity: Identity) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(BOUND)
        sock.connect(("127.0.0.1", port))
        self._socket = client_context(identity).wrap_socket(sock)

    def request(self, path: str) -> None:
        """Sends a request."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())

    def is_answered(self) -> bool:
        """True if a short request is answered, after which the connection is idle."""
        with suppress(ConnectionError, ssl.SSLError):
            self.request("/is_up")
            answer = b""
            while piece := self._socket.recv(1000):
                answer += piece
                if answer.endswith(b"OK"):
                    return True
        return False

    def read(self, size: int) -> int:
        """Reads so many bytes; returns how many there were before the other end closed the connection."""
        found = 0
        with suppress(ConnectionError, ssl.SSLError):
            while found < size and (piece := self._socket.recv(min(size - found, 65536))):
                found += len(piece)
        return found

    def is_cut(self) -> bool:
        """True if the other end closes the connection, which is idle; fails after `BOUND` seconds."""
        return self.read(1) == 0

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def lines(port: int, *identities: Identity) -> AsyncIterator[list[Line]]:
    """A connection for each of these identities, all at the same server."""
    made = await asyncio.gather(*(asyncio.to_thread(Line, port, identity) for identity in identities))
    try:
        yield list(made)
    finally:
        for line in made:
            line.close()


@shuts_out
async def test_a_stream_of_blocks_and_an_idle_connection_to_an_sn_end_when_their_node_is_shut_out(
    what: str, south: South
) -> None:
    port, run = int(south.address.rpartition(":")[2]), asyncio.to_thread
    async with lines(port, south.identities["SL-2"], south.identities["SL-1"]) as [idle, other]:
        assert await run(idle.is_answered)
        assert await run(other.is_answered)
        async with asyncio.timeout(BOUND), aclosing(south.node.client.blocks(0)) as blocks:
            await anext(blocks)
            await south.shut_out(what)
            with pytest.raises((Unavailable, Refusal)):
                async for _ in blocks:
                    pass
        assert await run(idle.is_cut)
        assert await run(other.is_answered)


@shuts_out
async def test_requests_and_heartbeats_of_a_node_that_is_shut_out_are_refused_and_it_has_left(
    what: str, south: South
) -> None:
    await south.node.client.announce("sl-2", 1, 0, 0)
    await south.shut_out(what)
    for call in (south.node.client.announce("sl-2", 1, 0, 0), south.node.client.status()):
        with pytest.raises((Refusal, Unavailable)):
            await call
    beat = {"incarnation": 1, "steps": 0, "moved": 0}
    for path, request in (("/status", {}), ("/presence/sl-2", {"method": "PUT", "json": beat})):
        status, _, text = await fetch(south.address, south.identities["SL-2"], path, **request)
        assert (status, json.loads(text)["code"]) == (403, "not-allowed")
    async with member(south.address, south.identities["SL-1"]) as other:
        known = network.node((await other.catch_up()).world, "sl-2")
    assert known is not None
    assert known.left


@shuts_out
async def test_a_download_under_way_and_an_idle_connection_to_a_file_server_end_when_their_node_is_shut_out(
    what: str, south: South, tmp_path: Path
) -> None:
    """Another node's download, which began as early, goes on to its end."""
    store, run = TensorStore(tmp_path / "models"), asyncio.to_thread
    (tmp_path / "model").write_bytes(bytes(SIZE))
    path = f"/models/{(await store.adopt(tmp_path / 'model')).root}"
    app, own, another = file_app(store, lambda *_: True), south.identities["SL-2"], south.identities["SL-1"]
    async with south.following() as follower, serving(app, another) as server:
        cutting = asyncio.create_task(cut_off_refused(server, follower))
        async with lines(server.port, own, own, another) as [idle, download, other]:
            assert await run(idle.is_answered)
            for line in (download, other):
                line.request(path)
                assert await run(line.read, 100_000) == 100_000
            await south.shut_out(what)
            assert await run(idle.is_cut)
            assert await run(download.read, SIZE) < SIZE - 100_000
            assert await run(other.read, SIZE - 100_000) == SIZE - 100_000
        cutting.cancel()
