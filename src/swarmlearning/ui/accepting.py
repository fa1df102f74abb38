"""Browsers' connections, which strangers make too: bounded in number, of one network, and in the time until a request
is there.

uvicorn alone waits for ever for the head of a request, and for the rest of a body that nobody wants any more. Here
`transport/listener.py` accepts connections; after the handshake all is uvicorn's protocol class, with these bounds.
"""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from swarmlearning.rates import Rate
from swarmlearning.transport.complaints import Complaints
from swarmlearning.transport.listener import Acceptor, HandshakeLimits, describe
from swarmlearning.transport.parties import Party, Roster, network_of

logger = logging.getLogger("swarm.ui")

STOP_SECONDS: Final = 3
"""For requests in progress when the UI is stopped."""
SHUTDOWN_SECONDS: Final = 5.0
MOST_HEAD: Final = 64 * 1024


_PACE: Final = Rate(32, 8)


@dataclass(frozen=True)
class Bounds:
    """What one server allows. `of_one`: connections of one network, None behind a proxy, where all are the proxy's;
    `head_seconds`: until the head of a request is whole; `pace`: of handshakes with one network."""

    connections: int = 1000
    of_one: int | None = 256
    head_seconds: float = 15.0
    handshake_seconds: float = 10.0
    pace: Rate | None = _PACE


BEHIND_PROXY: Final = Bounds(of_one=None, pace=None)


class BrowserProtocol(HttpToolsProtocol):
    """One connection of a browser."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        bounds: Bounds,
        roster: "Roster[BrowserProtocol]",
        complaints: Complaints,
    ) -> None:
        super().__init__(config, server_state, {}, asyncio.get_running_loop())
        self._bounds = bounds
        self._roster = roster
        self._complaints = complaints
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes: int | None = None
        self._whole = True
        self._too_many = False

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        network = network_of(self.client)
        dropped = self._roster.enter(self, Party("", network, network))
        if dropped is not None:
            dropped.drop()
        most = self._bounds.of_one
        self._too_many = most is not None and self._roster.with_certificate(network) > most
        self._await_head()

    def drop(self) -> None:
        """Ends the connection at once."""
        self._complain("dropped: too many connections")
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        self._roster.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return None
        if self._too_many:  # told once the request is read: else the network may drop the answer
            return self._refuse(
                503, f"More than {self._bounds.of_one} connections from this address: close some first."
            )
        if not self.busy:
            self._await_head()
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD:
                return self._refuse(431, f"The head of the request is longer than {MOST_HEAD} bytes.")
        return None

    def on_message_begin(self) -> None:
        self._head_bytes, self._whole = 0, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        self._head_is_here()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._whole = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._whole:  # the rest of what has been refused: a client may send it, but not for ever
            self._await_head()

    def _await_head(self) -> None:
        """From now on the head of the next request has so much time; unless that runs already."""
        if self._timer is None:
            self._timer = self.loop.call_later(self._bounds.head_seconds, self._is_slow)

    def _head_is_here(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_slow(self) -> None:
        self._refuse(408, f"The request was not there within {self._bounds.head_seconds:g} seconds.")

    def _refuse(self, status: int, text: str) -> None:
        """Answers outside of any application, where HTTP still allows it, and closes the connection."""
        self._head_is_here()
        if self.transport.is_closing():
            return
        self._complain(f"closed: {text}")
        if not self.busy:
            head = (
                f"HTTP/1.1 {status} Refused\r\ncontent-type: text/plain; charset=utf-8\r\n"
                f"content-length: {len(text) + 1}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(f"{head}{text}\n".encode())
        self.transport.close()

    def _complain(self, text: str) -> None:
        self._complaints.warn(network_of(self.client), "connection from %s %s", describe(self.client), text)


class BrowserServer(uvicorn.Server):
    """uvicorn, which accepts as above, leaves signals to whoever runs it, and says when it listens.

    `context`: TLS; None: none here.
    """

    def __init__(self, app: ASGIApp, context: ssl.SSLContext | None, bounds: Bounds) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                interface="asgi3",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._context = context
        self._bounds = bounds
        limits = HandshakeLimits(seconds=bounds.handshake_seconds, pace=bounds.pace)
        self._acceptor = Acceptor(self._welcome, limits)
        self._roster: Roster[BrowserProtocol] = Roster(bounds.connections)
        self._complaints = Complaints(logger, time.monotonic)
        self.begun = asyncio.Event()

    async def accepted(self) -> None:
        """Returns once it accepts no more; raises what has made accepting impossible."""
        await self.begun.wait()
        await self._acceptor.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are this process' affair."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts on the socket that it is given."""
        await self.lifespan.startup()
        self.servers = []
        for each in sockets or ():
            self._acceptor.start_on(each)
        self.started = True
        self.begun.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts no more, and gives what is under way its time."""
        self._acceptor.close()
        await super().shutdown(sockets)
        for each in list(self._roster):
            each.transport.abort()
        await self._acceptor.stop()

    async def _welcome(self, sock: socket.socket) -> None:
        waits = {"ssl_handshake_timeout": self._bounds.handshake_seconds, "ssl_shutdown_timeout": SHUTDOWN_SECONDS}
        await asyncio.get_running_loop().connect_accepted_socket(
            self._protocol, sock, ssl=self._context, **(waits if self._context is not None else {})
        )

    def _protocol(self) -> BrowserProtocol:
        return BrowserProtocol(self.config, self.server_state, self._bounds, self._roster, self._complaints)
