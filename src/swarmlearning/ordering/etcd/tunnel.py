"""The tunnel between the etcd members of two SNs: mutual TLS with the SNs' own identities.

    etcd ──plain──▶ proxy of its SN ══ mutual TLS ══▶ P2P port of the other SN ──plain──▶ etcd
          loopback, password                                                   unix socket

etcd could use TLS itself, but admits every certificate of a CA, reads its trust file only when it starts, and
compares names that certificates of the original do not carry. Here the ledger decides on admission for each
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
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from swarmlearning.address import join
from swarmlearning.ordering.protocols import OrderingError
from swarmlearning.transport.connecting import Streams, open_tls
from swarmlearning.transport.listener import Listener, ListenError, describe
from swarmlearning.transport.parties import Credential, Roster, credential_of, party_of
from swarmlearning.transport.shares import Share, ShareOf, Shares, unlimited

logger = logging.getLogger("swarm.p2p")

MAX_HEAD = 16 * 1024
MAX_CONNECTIONS = 256
HEAD_SECONDS = 10.0
CONNECT_SECONDS = 5.0
COPY_BYTES = 256 * 1024

FAILURES = (OSError, ssl.SSLError, TimeoutError, UnicodeError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)
"""A `UnicodeError` is what a host raises that is no name of one."""


class Peer(NamedTuple):
    """The P2P address of the SN `uid`."""

    host: str
    port: int
    uid: str


class Registry(Protocol):
    """The SNs that take part, as the ledger shows it now."""

    def find(self, address: str) -> Peer | None:
        """The SN with this cluster address (`peer_address`), None when the ledger admits none."""
        ...

    def admits(self, credential: Credential, uid: str | None = None) -> bool:
        """True for the credential of an admitted SN: of any, or of the one named."""
        ...


class _Connections:
    """Connections under way, each served by a task."""

    def __init__(self) -> None:
        self._serving: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def _end(self) -> None:
        self._stopped = True  # a handshake that is under way may still end in a connection
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._stopped or not self._enter(writer):
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._attend(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        task.add_done_callback(lambda _: writer.transport.abort())
        task.add_done_callback(lambda _: self._leave(writer))

    def _enter(self, writer: asyncio.StreamWriter) -> bool:
        """True if there is room for this connection."""
        if len(self._serving) < MAX_CONNECTIONS:
            return True
        logger.warning("P2P connection dropped: there are %d already", MAX_CONNECTIONS)
        return False

    def _leave(self, writer: asyncio.StreamWriter) -> None:
        """The connection has ended."""

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        finally:
            await _drop(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class Proxy(_Connections):
    """The outgoing half, on a port of the loopback interface, for clients that know the password."""

    def __init__(self, tls: ssl.SSLContext, registry: Registry) -> None:
        super().__init__()
        self._tls = tls
        self._registry = registry
        self._secret = secrets.token_urlsafe(24)
        self._strangers: dict[asyncio.StreamWriter, None] = {}  # that have not shown the password, the oldest first
        self._onward: dict[asyncio.StreamWriter, tuple[Credential, str]] = {}  # to SNs: their credentials and UIDs
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listens."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=MAX_HEAD)

    @property
    def url(self) -> str:
        """The URL to give to etcd, once this listens."""
        assert self._server is not None, "the proxy has not been started"
        port = self._server.sockets[0].getsockname()[1]
        return f"http://swarm:{self._secret}@127.0.0.1:{port}"

    async def stop(self) -> None:
        """Stops listening and ends all connections."""
        if self._server is not None:
            self._server.close()
        await self._end()

    def _enter(self, writer: asyncio.StreamWriter) -> bool:
        """True if there is room: any user of this host can connect, so who has shown no password gives way."""
        if len(self._serving) >= MAX_CONNECTIONS and self._strangers:
            oldest = next(iter(self._strangers))
            self._leave(oldest)
            oldest.transport.abort()
        elif not super()._enter(writer):
            return False
        self._strangers[writer] = None
        return True

    def _leave(self, writer: asyncio.StreamWriter) -> None:
        self._strangers.pop(writer, None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            peer, request = self._understand(head)
            self._leave(writer)
            onward = await self._connect(peer)
        except (*FAILURES, OrderingError) as error:
            logger.debug("%s", error)
            return
        self._onward[onward[1]] = _credential(onward[1]), peer.uid
        try:
            onward[1].write(request)
            await _join((reader, writer), onward)
        finally:
            del self._onward[onward[1]]

    def drop_excluded(self) -> None:
        """Ends the connections to SNs that the ledger admits no more."""
        for writer, (credential, uid) in list(self._onward.items()):
            if not self._registry.admits(credential, uid):
                logger.warning("P2P connection to SN %s dropped: it is admitted no more", uid)
                writer.transport.abort()

    def _understand(self, head: bytes) -> tuple[Peer, bytes]:
        """The peer that a request is for, and the request as the peer's etcd is to see it. Raises `OrderingError`."""
        first, *fields = head[:-4].split(b"\r\n")
        password = base64.b64encode(f"swarm:{self._secret}".encode())
        if not any(secrets.compare_digest(field, b"Proxy-Authorization: Basic " + password) for field in fields):
            raise OrderingError("a request to the P2P proxy without its password")
        try:
            method, target, version = first.split(b" ")
            url = urlsplit(target.decode("ascii"))
        except ValueError as error:
            raise OrderingError(f"a request to the P2P proxy that it does not understand: {error}") from error
        peer = self._registry.find(url.hostname or "")
        if peer is None:
            raise OrderingError(f"no admitted SN has the cluster address {url.hostname}")
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        kept = [field for field in fields if not field.lower().startswith((b"proxy-", b"connection:"))]
        lines = [b" ".join((method, path.encode(), version)), *kept, b"Connection: close"]
        return peer, b"\r\n".join(lines) + b"\r\n\r\n"

    async def _connect(self, peer: Peer) -> Streams:
        reader, writer = await open_tls(peer.host, peer.port, self._tls, CONNECT_SECONDS)
        if not self._registry.admits(_credential(writer), peer.uid):
            await _drop(writer)
            where = join(peer.host, peer.port)
            raise OrderingError(f"{where} shows a certificate that is not of the SN registered there")
        return reader, writer


class Gate(_Connections):
    """The incoming half: the P2P port. Lets only admitted SNs through to the member's unix socket.

    `cluster_host` is what its peers call the member (`host:port` of its peer URL). A request for another one is for a
    member that was at this address before: its messages would break this one.
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        cluster_host: str,
        member: Callable[[], Path],
        registry: Registry,
        share_of: ShareOf = unlimited,
    ) -> None:
        super().__init__()
        self._shares = Shares(share_of, MAX_CONNECTIONS)
        self._held: dict[asyncio.StreamWriter, Share] = {}
        self._cluster_host = cluster_host.encode()
        self._member = member
        self._registry = registry
        self._refused: set[str] = set()
        self._credentials: dict[asyncio.StreamWriter, Credential] = {}
        self._roster: Roster[asyncio.StreamWriter] = Roster(MAX_CONNECTIONS)
        self._listener = Listener(tls, self._protocol)

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port. Raises `OrderingError` when it is in use."""
        try:
            return await self._listener.start(host, port)
        except ListenError as error:
            raise OrderingError(f"P2P port: {error} (--sn-p2p-port)") from error

    async def stop(self) -> None:
        """Stops listening and ends all connections."""
        await self._listener.stop()
        await self._end()

    def _protocol(self) -> asyncio.Protocol:
        loop = asyncio.get_running_loop()
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(MAX_HEAD, loop), self._accept, loop)

    def _enter(self, writer: asyncio.StreamWriter) -> bool:
        address = writer.get_extra_info("peername")
        credential = _credential(writer)
        if not self._registry.admits(credential):
            self._log_refusal(credential.thumbprint, address)
            return False
        share = self._shares.enter(credential)
        if share is not None:
            self._held[writer] = share
            if self._shares.held(share) > share.connections:
                text = "P2P connection dropped: organisation %s has %d already, its quota of connections"
                logger.warning(text, share.organisation, share.connections)
                self._leave(writer)
                return False
        self._credentials[writer] = credential
        dropped = self._roster.enter(writer, party_of(credential, address))
        if dropped is not None:
            logger.warning("P2P connection dropped: there are %d already", MAX_CONNECTIONS)
            dropped.transport.abort()
        return dropped is not writer

    def drop_excluded(self) -> None:
        """Ends the connections of SNs that the ledger admits no more: a stream between members lasts for days."""
        for writer, credential in list(self._credentials.items()):
            if not self._registry.admits(credential):
                logger.warning("P2P connection dropped: its SN is admitted no more")
                writer.transport.abort()

    def _leave(self, writer: asyncio.StreamWriter) -> None:
        self._credentials.pop(writer, None)
        self._roster.leave(writer)
        self._shares.leave(self._held.pop(writer, None))

    def _log_refusal(self, thumbprint: str, address: object) -> None:
        again = thumbprint in self._refused
        self._refused = (self._refused | {thumbprint}) if len(self._refused) < MAX_CONNECTIONS else {thumbprint}
        logger.log(
            logging.DEBUG if again else logging.WARNING,
            "refused a P2P connection from %s: certificate %s belongs to no SN that the ledger admits",
            describe(address),
            thumbprint[:16],
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            if _host(head) != self._cluster_host:
                logger.debug("a request for another member than the one here: %r", _host(head))
                return
            onward = await asyncio.open_unix_connection(str(self._member()))
        except FAILURES as error:
            logger.debug("a P2P connection has ended: %s", error)
            return
        onward[1].write(head)
        await _join((reader, writer), onward)


def _host(head: bytes) -> bytes:
    """The value of the `Host` field in the head of a request; empty when it has none, or several."""
    fields = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    hosts = [value.strip() for name, _, value in fields if name.lower() == b"host"]
    return hosts[0] if len(hosts) == 1 else b""


def _credential(writer: asyncio.StreamWriter) -> Credential:
    return credential_of(writer.get_extra_info("ssl_object"))


async def _join(one: Streams, other: Streams) -> None:
    """Copies both ways until one way has ended: an exchange with `Connection: close` is over with its answer."""
    copies = {asyncio.ensure_future(_copy(one[0], other[1])), asyncio.ensure_future(_copy(other[0], one[1]))}
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        if not one[1].is_closing():  # else asyncio forgets what `abort` needs
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
