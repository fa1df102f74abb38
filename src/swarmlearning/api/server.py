"""Serves an ASGI application over mutual TLS with uvicorn's HTTP protocol, inside the running event loop.

uvicorn's own `Server` is not used: it takes the signal handlers, exits the process when the port is in use, wakes up
ten times a second, and bounds neither half-open connections nor slow requests. Here `transport/listener.py` accepts
connections; after the TLS handshake everything is uvicorn's protocol class (`protocol.py`).
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Final, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from swarmlearning.api.middleware import Paced
from swarmlearning.api.peer import ServerError
from swarmlearning.api.protocol import Limits, PeerProtocol
from swarmlearning.transport.complaints import Complaints
from swarmlearning.transport.listener import HandshakeLimits, Listener
from swarmlearning.transport.parties import Credential, Roster
from swarmlearning.transport.shares import ShareOf, Shares, unlimited

logger = logging.getLogger(__name__)

_NOTICE_SECONDS: Final = 0.5
_ABANDON_SECONDS: Final = 5.0


class Server:
    """Serves `app` on `host:port` to clients whose certificate `ssl_context` accepts.

    Signals are its owner's business, and so is what the application needs started: there is no ASGI lifespan.
    """

    def __init__(
        self,
        app: ASGIApp,
        ssl_context: ssl.SSLContext,
        host: str,
        port: int,
        limits: Limits | None = None,
        share_of: ShareOf = unlimited,
        *,
        to_strangers: bool = False,
        bulk: bool = False,
    ) -> None:
        """`port` 0 is any free one; `share_of`: what a peer's organisation may have of this server; `to_strangers`:
        for an application that is meant for clients without a certificate; `bulk`: for one that counts the bytes of
        requests by itself.

        Raises `ServerError` when the context does not demand a certificate, unless it is served to strangers.
        """
        if ssl_context.verify_mode != ssl.CERT_REQUIRED and not to_strangers:
            raise ServerError("the TLS context must demand a client certificate (verify_mode CERT_REQUIRED)")
        self._host = host
        self._port = port
        limits = limits or Limits()
        shares = Shares(share_of, limits.connections)
        config = uvicorn.Config(
            _cancellable(app if share_of is unlimited else Paced(app, shares, bulk=bulk)),
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=limits.keep_alive_seconds,
        )
        self._state = ServerState()
        roster: Roster[PeerProtocol] = Roster(limits.connections)
        complaints = Complaints(logger, time.monotonic)
        self._listener = Listener(
            ssl_context,
            lambda: PeerProtocol(config, self._state, asyncio.get_running_loop(), limits, roster, shares, complaints),
            HandshakeLimits(limits.handshakes, limits.handshake_seconds, limits.unread_seconds, limits.handshake_rate),
        )
        self._started = False

    @property
    def port(self) -> int:
        """The port listened on."""
        return self._port

    @property
    def serving(self) -> bool:
        """True while it serves."""
        return self._listener.started

    async def start(self) -> None:
        """Listens and begins to accept. Raises `ListenError` when the address cannot be taken."""
        self._port = await self._listener.start(self._host, self._port)
        self._started = True

    def start_unheard(self) -> None:
        """Begins without listening: all connections are handed over (`adopt`)."""
        self._listener.start_unheard()
        self._started = True

    def adopt(self, sock: socket.socket) -> None:
        """Serves whoever is at the other end of a TCP connection, which belongs to this from now on. Raises OSError."""
        self._listener.adopt(sock, sock.getpeername())

    async def wait(self) -> None:
        """Returns after `stop`; raises the error that ended the serving, if there was one."""
        if not self._started:
            raise ServerError("the server has not been started")
        await self._listener.wait()

    def drop(self, fault: Callable[[Credential], str]) -> None:
        """Ends at once the connections of peers in whose credential `fault` finds one, whatever is under way on them:
        requests that wait, streams, files that are being sent. Idle connections end too."""
        faults: dict[str, str] = {}
        for connection in list(cast(set[PeerProtocol], self._state.connections)):
            if (credential := connection.credential) is not None:
                if credential.thumbprint not in faults:
                    faults[credential.thumbprint] = fault(credential)
                if reason := faults[credential.thumbprint]:
                    connection.drop(reason)

    async def stop(self, grace: float = 2.0) -> None:
        """Stops listening, gives requests under way `grace` seconds, then cuts what is left (event streams, and what
        waits for others).

        Ends within `grace` + 6 seconds whatever the application does. Raises what had broken the serving.
        """
        if not self._listener.started:
            return
        self._listener.close()
        connections = cast(set[PeerProtocol], self._state.connections)
        answering = [connection.lost for connection in connections if connection.busy]
        for connection in list(connections):
            connection.shutdown()
        await _finish(answering, grace)
        await self._listener.stop()
        for connection in list(connections):
            connection.transport.abort()
        await _finish(self._state.tasks, _NOTICE_SECONDS)  # streams notice the disconnect
        for task in self._state.tasks:
            task.cancel()
        await _finish(self._state.tasks, _ABANDON_SECONDS)
        for _ in self._state.tasks:
            logger.error("a request handler goes on although its connection is closed and it was cancelled")
        await self.wait()


def _cancellable(app: ASGIApp) -> ASGIApp:
    """The application; a request that is cancelled when the server stops just ends. uvicorn would log a traceback."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    return call


async def _finish(futures: Iterable[asyncio.Future[None]], seconds: float) -> None:
    pending = set(futures)
    if pending:
        await asyncio.wait(pending, timeout=seconds)
