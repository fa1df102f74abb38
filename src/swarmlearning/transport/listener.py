"""Accepts TLS connections; the time between a connection and its finished handshake is in strangers' hands.

Unfinished handshakes are bounded in number and time. When there are too many, one from the network that has the most
is dropped: a connection that has not sent a byte before one that has, then the oldest. So an outsider who only connects
pushes out himself, and a member behind a slow link keeps the round trips that its handshake needs. A handshake costs as
much as several requests, so those from one network are begun at a bounded rate: more of them wait.
"""

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from swarmlearning.address import join
from swarmlearning.errors import UserError
from swarmlearning.rates import Rate
from swarmlearning.transport.complaints import Complaints
from swarmlearning.transport.meters import Meter
from swarmlearning.transport.parties import network_of
from swarmlearning.transport.waiting import readable

logger = logging.getLogger(__name__)

_BACKLOG: Final = 128
_PAUSE_SECONDS: Final = 0.2
_SHUTDOWN_SECONDS: Final = 5.0
_PACE: Final = Rate(64, 8)
"""Handshakes a second from one network: all nodes of a site may start at once behind one address."""
_ALL: Final = "all"
_SCARCITY: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class ListenError(UserError):
    """The address cannot be listened on; the message says why and what to do."""


@dataclass(frozen=True)
class HandshakeLimits:
    """`number` and `seconds` of unfinished handshakes; after `unread_seconds` without an acknowledgement of what was
    sent a connection is dead. `pace` of handshakes with one network, and `rate` of those with all together, where they
    are bounded."""

    number: int = 256
    seconds: float = 10.0
    unread_seconds: float = 60.0
    rate: Rate | None = None
    pace: Rate | None = _PACE


@dataclass(eq=False)
class _Newcomer:
    """A connection whose handshake is not finished; `silent` until its first byte is here."""

    socket: socket.socket
    address: Any
    network: str
    silent: bool = True


Welcome: TypeAlias = Callable[[socket.socket], Awaitable[object]]
"""Shakes hands over an accepted socket, which belongs to it from then on. Raises OSError."""


class Acceptor:
    """Listens on one address and welcomes each connection."""

    def __init__(self, welcome: Welcome, limits: HandshakeLimits | None = None) -> None:
        self._welcome = welcome
        self._limits = limits or HandshakeLimits()
        self._newcomers: dict[_Newcomer, asyncio.Task[None]] = {}  # in the order of their coming
        self._complaints = Complaints(logger, time.monotonic)
        self._begun = Meter()
        self._socket: socket.socket | None = None
        self._over: asyncio.Future[None] | None = None
        self.started = False
        """True while connections are welcome."""

    async def start(self, host: str, port: int) -> int:
        """Listens and begins to accept; returns the port. Raises `ListenError` when the address cannot be taken."""
        listener = listen(host, port)
        self.start_on(listener)
        return int(listener.getsockname()[1])

    def start_on(self, listener: socket.socket) -> None:
        """Begins to accept on a socket that listens and does not block; it belongs to this from now on."""
        self._socket = listener
        self.start_unheard()
        self._accept_on(listener)

    def start_unheard(self) -> None:
        """Begins without an address: all connections are handed over (`adopt`)."""
        self._over = asyncio.get_running_loop().create_future()
        self.started = True

    async def wait(self) -> None:
        """Returns after `stop`; raises the error that made accepting impossible, if there was one."""
        if self._over is not None:
            await asyncio.shield(self._over)

    def close(self) -> None:
        """Stops listening and drops unfinished handshakes; connections that were made live on."""
        listener, self._socket, self.started = self._socket, None, False
        if listener is not None:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        for task in self._newcomers.values():
            task.cancel()

    async def stop(self) -> None:
        """Closes the listener and waits until the handshakes under way have ended."""
        self.close()
        await asyncio.gather(*self._newcomers.values(), return_exceptions=True)
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

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
                logger.warning("cannot accept connections for now: %s", error)
                loop.call_later(_PAUSE_SECONDS, self._accept_on, listener)
            elif self._over is not None and not self._over.done():
                self._over.set_exception(error)
            return
        self.adopt(sock, address)

    def adopt(self, sock: socket.socket, address: Any) -> None:
        """Treats a connection, which belongs to this from now on, as if it had been accepted here."""
        if not self.started:
            sock.close()
            return
        sock.setblocking(False)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; else such a connection ends when TCP gives up, in minutes
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * self._limits.unread_seconds))
        if len(self._newcomers) >= self._limits.number:
            self._drop_one()
        self._begin(_Newcomer(sock, address, network_of(address)))

    def _drop_one(self) -> None:
        counts = Counter(newcomer.network for newcomer in self._newcomers)
        most = max(counts.values())
        busiest = next(newcomer.network for newcomer in self._newcomers if counts[newcomer.network] == most)
        candidates = [newcomer for newcomer in self._newcomers if newcomer.network == busiest]
        victim = next((newcomer for newcomer in candidates if newcomer.silent), candidates[0])
        self._newcomers.pop(victim).cancel()

    def _begin(self, newcomer: _Newcomer) -> None:
        task = asyncio.get_running_loop().create_task(self._handshake(newcomer))
        self._newcomers[newcomer] = task
        task.add_done_callback(lambda _: self._newcomers.pop(newcomer, None))
        # A task that is cancelled before it has begun never sees its socket.
        task.add_done_callback(lambda done: newcomer.socket.close() if done.cancelled() else None)

    async def _turn(self, newcomer: _Newcomer) -> None:
        """Waits until a handshake with this network may begin. Raises `TimeoutError` where that takes too long."""
        wait: float | None = 0.0
        if self._limits.pace is not None:
            wait = self._begun.turn(newcomer.network, self._limits.pace, patience=self._limits.seconds)
        if wait is not None and self._limits.rate is not None:
            of_all = self._begun.turn(_ALL, self._limits.rate, patience=self._limits.seconds)
            wait = None if of_all is None else max(wait, of_all)
        if wait is None:
            self._complaints.warn(newcomer.network, "connection from %s dropped: too many at once", newcomer.network)
            raise TimeoutError
        if wait:
            await asyncio.sleep(wait)

    async def _handshake(self, newcomer: _Newcomer) -> None:
        try:
            async with asyncio.timeout(self._limits.seconds):
                await readable(newcomer.socket)
                newcomer.silent = False
                await self._turn(newcomer)
        except TimeoutError:
            newcomer.socket.close()
            return
        try:
            await self._welcome(newcomer.socket)
        except OSError as error:  # every TLS failure is one
            text = "TLS handshake with %s failed: %s"
            reason = str(error) or "the client has closed the connection"
            self._complaints.warn(newcomer.network, text, describe(newcomer.address), reason)


class Listener(Acceptor):
    """Makes a protocol for each connection whose certificate the TLS context accepts."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        make_protocol: Callable[[], asyncio.Protocol],
        limits: HandshakeLimits | None = None,
    ) -> None:
        super().__init__(self._shake_hands, limits)
        self._tls = tls
        self._make_protocol = make_protocol

    async def _shake_hands(self, sock: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(
            self._make_protocol,
            sock,
            ssl=self._tls,
            ssl_handshake_timeout=self._limits.seconds,
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
        )


def describe(address: Any) -> str:
    """A socket address for a log."""
    return join(*address[:2]) if address else "an unknown address"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that does not block. Raises `ListenError`."""
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
        raise ListenError(f"cannot listen on {join(host, port)}: {reason}") from error
    listener.setblocking(False)
    return listener
