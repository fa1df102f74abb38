"""Serves a node's metrics to Prometheus: `GET /metrics`, on loopback as they are, elsewhere over mutual TLS.

Over mutual TLS only whoever shows a certificate by an authority of the node's own organisation reads them, whatever
its name: a monitoring system needs no role in the network. They are collected in a thread, one scrape at a time, so
nothing in the node waits for them.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from starlette.types import Receive, Scope, Send

from swarmlearning.address import join
from swarmlearning.api.middleware import send_error
from swarmlearning.api.peer import peer_credential
from swarmlearning.api.protocol import Limits
from swarmlearning.api.server import Server
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.node.credentials import is_issued_by
from swarmlearning.node.exposed import MetricsPlace, Refresh
from swarmlearning.node.renewing import LiveIdentity
from swarmlearning.transport.listener import listen

logger = logging.getLogger("swarm.node")

TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MOST_CONNECTIONS: Final = 16
"""Of scrapers; there are one or two."""
HEAD_BYTES: Final = 8192
HEAD_SECONDS: Final = 5.0


class Metrics:
    """The metrics of one node as text. `refresh` is awaited in the event loop before they are collected in a thread."""

    def __init__(self, registry: CollectorRegistry, refresh: Refresh | None = None) -> None:
        self._registry = registry
        self._refresh = refresh
        self._turn = asyncio.Lock()

    async def text(self) -> bytes:
        """All metrics as they are now."""
        async with self._turn:
            if self._refresh is not None:
                await self._refresh()
            return await asyncio.to_thread(generate_latest, self._registry)


@asynccontextmanager
async def exposing(
    place: MetricsPlace, metrics: Metrics, own: LiveIdentity, uid: str, chain: Callable[[], Chain]
) -> AsyncIterator[str]:
    """Serves metrics inside the block; yields the address. Raises `ListenError` where it cannot be listened on."""
    if place.is_loopback:
        async with _plain(place, metrics) as address:
            yield address
        return
    server = Server(_app(metrics, uid, chain), own.tls.server, place.host, place.port, _LIMITS)
    await server.start()
    address = join(place.host, server.port)
    logger.info("Metrics are served at https://%s/metrics, to certificates of this organisation's authorities", address)
    try:
        yield address
    finally:
        await server.stop()


_LIMITS: Final = Limits(connections=MOST_CONNECTIONS, connections_per_peer=MOST_CONNECTIONS)


def _app(metrics: Metrics, uid: str, chain: Callable[[], Chain]) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        known = network.node(chain().world, uid)
        if known is None or not is_issued_by(chain(), peer_credential(scope), known.organisation):
            detail = "metrics are for certificates by an authority of this node's own organisation"
            await send_error(send, 403, detail)
        elif scope["path"] != "/metrics" or scope["method"] not in ("GET", "HEAD"):
            await send_error(send, 404, "there is GET /metrics only")
        else:
            body = await metrics.text() if scope["method"] == "GET" else b""
            headers = [(b"content-type", TYPE.encode()), (b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return app


@asynccontextmanager
async def _plain(place: MetricsPlace, metrics: Metrics) -> AsyncIterator[str]:
    """HTTP for this machine: one request a connection."""
    free = asyncio.Semaphore(MOST_CONNECTIONS)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled when the node stops: asyncio's streams (3.11) log that as an error of their own.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            if not free.locked():
                async with free:
                    await _answer(reader, writer, metrics)
        writer.close()

    server = await asyncio.start_server(serve, sock=listen(_numeric(place.host), place.port), limit=HEAD_BYTES)
    address = join(place.host, server.sockets[0].getsockname()[1])
    logger.info("Metrics are served at http://%s/metrics, on this machine only", address)
    try:
        yield address
    finally:
        server.close()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, metrics: Metrics) -> None:
    async with asyncio.timeout(HEAD_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
    found = head.startswith((b"GET /metrics ", b"GET /metrics?"))
    status, kind = ("200 OK", TYPE) if found else ("404 Not Found", "text/plain")
    body = await metrics.text() if found else b"there is GET /metrics only\n"
    lines = (f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}", "connection: close")
    async with asyncio.timeout(HEAD_SECONDS):
        writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode() + body)
        await writer.drain()


def _numeric(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host
