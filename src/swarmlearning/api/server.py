"""Serves an ASGI application over mutual TLS with uvicorn's HTTP protocol, inside the running event loop.

uvicorn's own `Server` is not used: it takes the signal handlers, exits the process when the port is in use, wakes up
ten times a second, and bounds neither half-open connections nor slow requests. Here a callback accepts connections;
after the TLS handshake everything is uvicorn's protocol class, with the peer's certificate added.

What is bounded, and how: unfinished handshakes (the oldest is dropped, so that strangers cannot lock members out),
connections in all (the newest is dropped) and per certificate (503), the head of a request (431), the time a request
takes to arrive (408), its body (`BodyLimit`: 413), the time a client may leave unread what is sent to it, and the time
a connection lies idle.
"""

import asyncio
import contextlib
import errno
import json
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

import uvicorn
from cryptography import x509
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from swarmlearning.address import join
from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import load_der, thumbprint_of_der

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES: Final = 64 * 1024
_BACKLOG: Final = 128
_SHUTDOWN_SECONDS: Final = 5.0
_NOTICE_SECONDS: Final = 0.5
_ABANDON_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.2
_SCARCITY: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class ServerError(UserError):
    """The server cannot start or was set up wrongly; the message says where and what to do."""


@dataclass(frozen=True)
class Limits:
    """What one server grants its clients. Nodes may share a certificate: keep `connections_per_peer` roomy."""

    connections: int = 512
    connections_per_peer: int = 64
    handshakes: int = 64
    handshake_seconds: float = 10.0
    request_seconds: float = 20.0
    unread_seconds: float = 60.0
    keep_alive_seconds: int = 75


def peer_thumbprint(scope: Scope) -> str:
    """Thumbprint (lower-case hex) of the client's certificate in a request's ASGI scope."""
    return cast(str, _tls_extension(scope)["thumbprint"])


def peer_certificate(scope: Scope) -> x509.Certificate:
    """The client's certificate in a request's ASGI scope. Raises `CertificateError` when it is malformed."""
    return load_der(_tls_extension(scope)["client_cert"])


def peer_socket(scope: Scope) -> socket.socket:
    """The connection that an ASGI request came by, to be asked about and nothing else."""
    return cast(socket.socket, _tls_extension(scope)["socket"])


def _tls_extension(scope: Scope) -> dict[str, Any]:
    try:
        return cast(dict[str, Any], scope["extensions"]["tls"])
    except KeyError:
        raise ServerError(
            "the request carries no peer certificate: serve the application with swarmlearning.api.server"
        ) from None


async def send_error(send: Send, status: int, detail: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answers an ASGI request with `{"detail": detail}`, the form of FastAPI's errors."""
    body = _error_body(detail)
    fixed = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


class BodyLimit:
    """ASGI middleware: reads a body of at most `max_bytes` bytes before the application runs, else answers 413.

    The application gets the body in one message: it cannot stall on it, nor see a part of it.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        body = bytearray()
        too_large, more = False, True
        while more and not too_large:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            too_large, more = len(body) > self._max_bytes, message.get("more_body", False)
        if too_large:
            # The connection stays open while the protocol drops the rest of the body (within the time limit of
            # a request), else a client that is still sending would meet a reset instead of this answer.
            detail = f"the body is larger than the {self._max_bytes} bytes that are accepted; send less at once"
            return await send_error(send, 413, detail)
        whole: Message | None = {"type": "http.request", "body": bytes(body), "more_body": False}

        async def replay() -> Message:
            nonlocal whole
            message, whole = whole, None
            return message if message is not None else await receive()

        return await self._app(scope, replay, send)


class Shortcut:
    """ASGI middleware, inside `BodyLimit`: a function of the body answers POST to one path, the application all else.

    For a request that comes so often that a framework's way to its handler is what it costs.
    """

    def __init__(self, app: ASGIApp, path: str, answer: Callable[[bytes], Awaitable[ASGIApp]]) -> None:
        self._app = app
        self._path = path
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", self._path):
            response = await self._answer((await receive())["body"])
            return await response(scope, receive, send)
        return await self._app(scope, receive, send)


class PeerProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, with the limits it lacks and with the peer's identity.

    `scope["extensions"]["tls"]` holds the certificate, `client_cert` (DER bytes), its `thumbprint` (hex), and the
    `socket`.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        peers: Counter[str],
    ) -> None:
        super().__init__(config, server_state, {}, loop)
        self._limits = limits
        self._peers = peers
        self.lost: asyncio.Future[None] = loop.create_future()
        self._tls: dict[object, object] = {}
        self._request_timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        der = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        thumbprint = thumbprint_of_der(der)
        self._tls = {"client_cert": der, "thumbprint": thumbprint, "socket": transport.get_extra_info("socket")}
        self._peers[thumbprint] += 1
        allowed = self._limits.connections_per_peer
        # A refused connection lives on until its answer is read: twice the number is therefore the end.
        if len(self.connections) > self._limits.connections or self._peers[thumbprint] > 2 * allowed:
            logger.warning("connection from %s dropped: too many connections", _name(self.client))
            transport.abort()
        elif self._peers[thumbprint] > allowed:
            self._refuse(503, f"more than {allowed} connections with one certificate; close some first")
        else:
            self._start_request_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_request_timer()
        thumbprint = cast(str, self._tls["thumbprint"])
        self._peers[thumbprint] -= 1
        if not self._peers[thumbprint]:
            del self._peers[thumbprint]
        super().connection_lost(exc)
        self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            self._start_request_timer()
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, f"the head of the request is longer than {MAX_HEAD_BYTES} bytes")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"tls": self._tls}
        self._start_request_timer()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stop_request_timer()
        self._in_head = True
        self._head_bytes = 0
        super().on_message_complete()

    def _start_request_timer(self) -> None:
        if self._request_timer is None:
            self._request_timer = self.loop.call_later(self._limits.request_seconds, self._request_is_slow)

    def _stop_request_timer(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _request_is_slow(self) -> None:
        self._refuse(408, f"the request did not arrive within {self._limits.request_seconds:g} seconds")

    def _refuse(self, status: int, detail: str) -> None:
        """Answers outside of any application, where HTTP still allows it, and closes the connection."""
        self._stop_request_timer()
        logger.warning("connection from %s closed: %s", _name(self.client), detail)
        if not (self.busy and self.cycle.response_started):
            body = _error_body(detail)
            head = (
                f"HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()


class Server:
    """Serves `app` on `host:port` to clients whose certificate `ssl_context` accepts.

    Signals are its owner's business, and so is what the application needs started: there is no ASGI lifespan.
    """

    def __init__(
        self, app: ASGIApp, ssl_context: ssl.SSLContext, host: str, port: int, limits: Limits | None = None
    ) -> None:
        """`port` 0 is any free one. Raises `ServerError` when the context does not demand a certificate."""
        if ssl_context.verify_mode != ssl.CERT_REQUIRED:
            raise ServerError("the TLS context must demand a client certificate (verify_mode CERT_REQUIRED)")
        self._ssl_context = ssl_context
        self._host = host
        self._port = port
        self._limits = limits or Limits()
        self._config = uvicorn.Config(
            _cancellable(app),
            interface="asgi3",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=self._limits.keep_alive_seconds,
        )
        self._state = ServerState()
        self._peers: Counter[str] = Counter()
        self._handshakes: dict[asyncio.Task[None], None] = {}  # in the order of their beginning
        self._listener: socket.socket | None = None
        self._over: asyncio.Future[None] | None = None

    @property
    def port(self) -> int:
        """The port listened on."""
        return self._port

    async def start(self) -> None:
        """Listens and begins to accept. Raises `ServerError` when the address cannot be taken."""
        self._listener = _listen(self._host, self._port)
        self._port = self._listener.getsockname()[1]
        self._over = asyncio.get_running_loop().create_future()
        self._accept_on(self._listener)

    async def wait(self) -> None:
        """Returns after `stop`; raises what broke the serving, if something does."""
        if self._over is None:
            raise ServerError("the server has not been started")
        await asyncio.shield(self._over)

    async def stop(self, grace: float = 2.0) -> None:
        """Stops listening, gives requests under way `grace` seconds, then cuts what is left (event streams, and what
        waits for others).

        Ends within `grace` + 6 seconds whatever the application does. Raises what had broken the serving.
        """
        listener, self._listener = self._listener, None
        if listener is None or self._over is None:
            return
        asyncio.get_running_loop().remove_reader(listener)
        listener.close()
        for handshake in self._handshakes:
            handshake.cancel()
        connections = cast(set[PeerProtocol], self._state.connections)
        answering = [connection.lost for connection in connections if connection.busy]
        for connection in list(connections):
            connection.shutdown()
        await _finish(answering, grace)
        for connection in list(connections):
            connection.transport.abort()
        await _finish(self._state.tasks, _NOTICE_SECONDS)  # streams notice the disconnect
        for task in self._state.tasks:
            task.cancel()
        await _finish([*self._state.tasks, *self._handshakes], _ABANDON_SECONDS)
        for _ in self._state.tasks:
            logger.error("a request handler goes on although its connection is closed and it was cancelled")
        if not self._over.done():
            self._over.set_result(None)
        await self.wait()

    def _accept_on(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:  # not closed during a pause
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionError):  # the client has gone again
            return
        except OSError as error:
            loop.remove_reader(listener)
            if error.errno in _SCARCITY:
                logger.warning("cannot accept connections on port %d for now: %s", self._port, error)
                loop.call_later(_PAUSE_SECONDS, self._accept_on, listener)
            elif self._over is not None and not self._over.done():
                self._over.set_exception(error)
            return
        sock.setblocking(False)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; else such a connection ends when TCP gives up, in minutes
            milliseconds = int(1000 * self._limits.unread_seconds)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        if len(self._handshakes) >= self._limits.handshakes:
            oldest = next(iter(self._handshakes))
            del self._handshakes[oldest]
            oldest.cancel()
        task = loop.create_task(self._handshake(sock, address))
        self._handshakes[task] = None
        task.add_done_callback(lambda done: self._handshakes.pop(done, None))
        # A task that is cancelled before it has begun never sees its socket.
        task.add_done_callback(lambda done: sock.close() if done.cancelled() else None)

    async def _handshake(self, sock: socket.socket, address: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: PeerProtocol(self._config, self._state, loop, self._limits, self._peers),
                sock,
                ssl=self._ssl_context,
                ssl_handshake_timeout=self._limits.handshake_seconds,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            )
        except OSError as error:  # every TLS failure is one
            logger.warning("TLS handshake with %s failed: %s", _name(address), error)


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


def _error_body(detail: str) -> bytes:
    return json.dumps({"detail": detail}).encode()


def _name(address: tuple[str, int] | None) -> str:
    return join(*address[:2]) if address else "an unknown address"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=host == "::")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = "the port is in use; stop the process that holds it or choose another port"
        elif error.errno == errno.EACCES:
            reason = "no permission; choose a port above 1023"
        else:
            reason = f"{error.strerror or error}; choose an address of this machine"
        raise ServerError(f"cannot listen on {join(host, port)}: {reason}") from error
    listener.setblocking(False)
    return listener
