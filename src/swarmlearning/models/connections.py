"""Kept connections to the file servers of other nodes, and sentences for the operator about what went wrong."""

import contextlib
import errno
import http.client
import os
import socket
import ssl
import threading
import time
from typing import Final, TypeAlias

from swarmlearning.address import join
from swarmlearning.models.destinations import ForbiddenAddress, Refusal, anywhere, permitted_addresses
from swarmlearning.models.pacing import Bucket
from swarmlearning.models.tlsstream import TlsStream, TooManyBytes
from swarmlearning.proxies import ProxyError, connect_through, proxy_to
from swarmlearning.relay.opening import ANSWER_SECONDS, RelayError, hail

Source: TypeAlias = tuple[str, int] | tuple[str, int, str]
"""Host and port of a file server, or those of a relay and the UID of the node behind it."""

_KEPT_PER_SOURCE: Final = 4
_AGAIN_SECONDS: Final = 4.5
"""After so long without an answer connecting begins again: TCP tries ever less often while a link is cut."""
_NO_WAY: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)


class Connection(http.client.HTTPConnection):
    """HTTP to one file server."""

    auto_open = 0  # never again once it is closed: it would be without TLS

    def __init__(
        self, source: Source, context: ssl.SSLContext, seconds: float, refuse: Refusal, pace: Bucket | None = None
    ) -> None:
        """Connects, within `seconds` for each step. Raises OSError, and ValueError or OverflowError for an address
        that none can be.
        """
        host, port, *behind = source
        super().__init__(host, port)
        plain = _connect(host, port, seconds, refuse)
        for uid in behind:
            plain = hail(plain, context, host, f"OPEN {uid}", ANSWER_SECONDS + seconds)
        self.stream = TlsStream(plain, context, host, seconds, pace)
        self.sock = self.stream


def text_of(source: Source) -> str:
    """A source, for people."""
    host, port, *behind = source
    return "".join(f"{uid} through the relay " for uid in behind) + join(host, port)


def _connect(host: str, port: int, seconds: float, refuse: Refusal) -> socket.socket:
    """A connection to the first address of the host that answers; its name is resolved once only, or by a proxy."""
    if (proxy := proxy_to(host, os.environ)) is not None:
        with contextlib.suppress(socket.gaierror):  # the proxy may know it
            permitted_addresses(host, refuse)
        return connect_through(proxy, host, port, seconds)
    addresses = permitted_addresses(host, refuse)
    for address in addresses[:-1]:
        with contextlib.suppress(OSError):
            return _connect_to(address, port, seconds / len(addresses))
    return _connect_to(addresses[-1], port, seconds / len(addresses))


def _connect_to(address: str, port: int, seconds: float) -> socket.socket:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > _AGAIN_SECONDS:
        with contextlib.suppress(TimeoutError):
            return socket.create_connection((address, port), _AGAIN_SECONDS)
    return socket.create_connection((address, port), max(left, 0.1))


class Connections:
    """Connections to file servers, kept between requests: a TLS handshake costs more than a small model.

    `connect_seconds` bounds each step of connecting. Addresses that `refuse` names a reason for are not connected to.
    What comes passes through the limit of `pace`, where there is one.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        connect_seconds: float,
        idle_seconds: float,
        refuse: Refusal = anywhere,
        pace: Bucket | None = None,
    ) -> None:
        self._context = context
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._refuse = refuse
        self._pace = pace
        self._kept: dict[Source, list[tuple[float, Connection]]] = {}
        self._lock = threading.Lock()

    def connect(self, source: Source) -> Connection:
        """A new connection. Raises as `Connection` does."""
        return Connection(source, self._context, self._connect_seconds, self._refuse, self._pace)

    def take(self, source: Source) -> Connection | None:
        """Returns a kept connection, which the server may have closed meanwhile; None without one."""
        with self._lock:
            self._close_older_than(time.monotonic() - self._idle_seconds)
            kept = self._kept.get(source)
            return kept.pop()[1] if kept else None

    def keep(self, source: Source, connection: Connection) -> None:
        """Keeps a connection whose last answer has been read to its end."""
        with self._lock:
            self._close_older_than(time.monotonic() - self._idle_seconds)
            kept = self._kept.setdefault(source, [])
            if len(kept) < _KEPT_PER_SOURCE:
                kept.append((time.monotonic(), connection))
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            self._close_older_than(float("inf"))

    def _close_older_than(self, moment: float) -> None:
        for source, kept in list(self._kept.items()):
            for since, connection in kept:
                if since < moment:
                    connection.close()
            self._kept[source] = [entry for entry in kept if entry[0] >= moment]
            if not self._kept[source]:
                del self._kept[source]


def is_silence(error: Exception) -> bool:
    """Returns whether neither the source nor its host has answered, as while a link is cut."""
    return isinstance(error, TimeoutError) or (isinstance(error, OSError) and error.errno in _NO_WAY)


def reason(error: Exception) -> str:
    """Returns the reason that there was no answer, as the end of a sentence about the source."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"shows a certificate that is not trusted here: {error.verify_message}"
        case ForbiddenAddress() | TooManyBytes() | RelayError():
            return str(error)
        case ProxyError():
            return f"cannot be reached: {error}"
        case TimeoutError():
            return "does not answer in time"
        case ConnectionRefusedError():
            return "refuses connections: nothing listens on that port"
        case socket.gaierror() | UnicodeError():
            return "is not a known host name"
        case ssl.SSLEOFError() | ConnectionError():
            return "closed the connection; it may not trust this node's certificate"
        case http.client.HTTPException():
            return f"sent no valid HTTP answer: {error!r}"
        case _:
            return f"cannot be reached: {error}"
