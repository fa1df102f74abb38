"""The tunnel between the etcd members of two SNs: mutual TLS with the SNs' own identities.

    etcd ──plain──▶ proxy of its SN ══ mutual TLS ══▶ P2P port of the other SN ──plain──▶ etcd
          loopback, password                                                   unix socket

etcd could speak TLS itself, but admits every certificate of a CA, reads its trust file only when it starts, and
compares names that certificates of the original do not carry. Here admission is asked of the ledger for each
connection, so exactly the SNs that it admits get through, from the moment it does, whatever their certificates look
like and whatever lies between (NAT, SNI proxies).

etcd reaches its peers through an HTTP proxy (the environment's `HTTP_PROXY`), which names the peer in the first line
of each request. A connection serves one request, long as a raft stream or short; `Connection: close` sees to that.
"""

import asyncio
import base64
import contextlib
import logging
import secrets
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from swarmlearning.address import join
from swarmlearning.identity.certificates import thumbprint_of_der
from swarmlearning.ordering.protocols import OrderingError

logger = logging.getLogger("swarm.p2p")

MAX_HEAD = 16 * 1024
MAX_CONNECTIONS = 256
HEAD_SECONDS = 10.0
CONNECT_SECONDS = 5.0
COPY_BYTES = 256 * 1024

FAILURES = (OSError, ssl.SSLError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Peer(NamedTuple):
    """Where an SN's P2P port is, and the thumbprint of the certificate it must show."""

    host: str
    port: int
    thumbprint: str


Find = Callable[[str], Peer | None]
"""The SN whose cluster address (`peer_address`) this is, None when the ledger admits none."""
Admits = Callable[[str], bool]
"""Whether the holder of the certificate with this thumbprint is an admitted SN."""


class _Half:
    """A listener that can be stopped with all its connections."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def stop(self) -> None:
        """Stops listening and ends all connections."""
        self._stopped = True  # a handshake that is under way may still end in a connection
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._stopped:
            writer.transport.abort()
            return
        if len(self._serving) >= MAX_CONNECTIONS:
            logger.warning("a P2P connection is dropped: there are %d already", MAX_CONNECTIONS)
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._attend(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        finally:
            await _drop(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class Proxy(_Half):
    """The outgoing half, on a port of the loopback interface, for whoever knows the password."""

    def __init__(self, tls: ssl.SSLContext, find: Find) -> None:
        super().__init__()
        self._tls = tls
        self._find = find
        self._secret = secrets.token_urlsafe(24)

    async def start(self) -> str:
        """Listens; the URL to give to etcd."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=MAX_HEAD)
        port = self._server.sockets[0].getsockname()[1]
        return f"http://swarm:{self._secret}@127.0.0.1:{port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            peer, request = self._understand(head)
            onward = await _connect(peer, self._tls)
        except (*FAILURES, OrderingError) as error:
            logger.debug("%s", error)
            return
        onward[1].write(request)
        await _join((reader, writer), onward)

    def _understand(self, head: bytes) -> tuple[Peer, bytes]:
        """The peer that a request is for, and the request as the peer's etcd is to see it."""
        first, *fields = head[:-4].split(b"\r\n")
        password = base64.b64encode(f"swarm:{self._secret}".encode())
        if not any(secrets.compare_digest(field, b"Proxy-Authorization: Basic " + password) for field in fields):
            raise OrderingError("a request to the P2P proxy without its password")
        method, target, version = first.split(b" ")
        url = urlsplit(target.decode("ascii"))
        peer = self._find(url.hostname or "")
        if peer is None:
            raise OrderingError(f"no admitted SN has the cluster address {url.hostname}")
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        kept = [field for field in fields if not field.lower().startswith((b"proxy-", b"connection:"))]
        lines = [b" ".join((method, path.encode(), version)), *kept, b"Connection: close"]
        return peer, b"\r\n".join(lines) + b"\r\n\r\n"


class Gate(_Half):
    """The incoming half: the P2P port. Lets admitted SNs through to the member's unix socket, nobody else."""

    def __init__(self, tls: ssl.SSLContext, member: Callable[[], Path], admits: Admits) -> None:
        super().__init__()
        self._tls = tls
        self._member = member
        self._admits = admits
        self._refused: set[str] = set()

    async def start(self, host: str, port: int) -> int:
        """Listens; the port. Raises `OrderingError` when it is taken."""
        try:
            self._server = await asyncio.start_server(
                self._accept, host, port, ssl=self._tls, ssl_handshake_timeout=HEAD_SECONDS
            )
        except OSError as error:
            raise OrderingError(
                f"cannot listen on P2P port {join(host, port)}: {error.strerror}; stop what holds it, or use "
                "--sn-p2p-port"
            ) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        thumbprint = _peer_thumbprint(writer)
        if not self._admits(thumbprint):
            again = thumbprint in self._refused
            self._refused = (self._refused | {thumbprint}) if len(self._refused) < MAX_CONNECTIONS else {thumbprint}
            logger.log(
                logging.DEBUG if again else logging.WARNING,
                "refused a P2P connection from %s: certificate %s is of no SN that the ledger admits",
                writer.get_extra_info("peername"),
                thumbprint[:16],
            )
            return
        try:
            onward = await asyncio.open_unix_connection(str(self._member()))
        except OSError as error:
            logger.debug("the etcd member does not listen: %s", error)
            return
        await _join((reader, writer), onward)


async def _connect(peer: Peer, tls: ssl.SSLContext) -> Streams:
    async with asyncio.timeout(CONNECT_SECONDS):
        reader, writer = await asyncio.open_connection(peer.host, peer.port, ssl=tls, server_hostname=peer.host)
    if _peer_thumbprint(writer) != peer.thumbprint:
        await _drop(writer)
        raise OrderingError(f"{join(peer.host, peer.port)} shows another certificate than the SN registered there")
    return reader, writer


def _peer_thumbprint(writer: asyncio.StreamWriter) -> str:
    return thumbprint_of_der(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))


async def _join(one: Streams, other: Streams) -> None:
    """Copies both ways until one way has ended: an exchange with `Connection: close` is over with its answer."""
    copies = {asyncio.ensure_future(_copy(one[0], other[1])), asyncio.ensure_future(_copy(other[0], one[1]))}
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        one[1].close()  # what has been written still gets there
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(CONNECT_SECONDS):
                await one[1].wait_closed()
    finally:
        other[1].transport.abort()  # before anything is awaited: a cancellation may come there
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)
        await _drop(other[1])


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(*FAILURES):
        while data := await reader.read(COPY_BYTES):
            writer.write(data)
            await writer.drain()


async def _drop(writer: asyncio.StreamWriter) -> None:
    """Closes a connection at once."""
    writer.transport.abort()
    with contextlib.suppress(*FAILURES):
        await writer.wait_closed()
