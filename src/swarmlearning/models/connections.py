"""Kept connections to the file servers of other nodes, and what goes wrong with them in words for the operator."""

import http.client
import socket
import ssl
import threading
import time
from typing import Final

from swarmlearning.models.tlsstream import TlsStream

Source = tuple[str, int]
"""Host and port of a file server."""

_KEPT_PER_SOURCE: Final = 4


class Connection(http.client.HTTPConnection):
    """HTTP to one file server."""

    auto_open = 0  # never again once it is closed: it would be without TLS

    def __init__(self, source: Source, context: ssl.SSLContext, connect_seconds: float, stall_seconds: float) -> None:
        """Connects. Raises OSError, and ValueError or OverflowError for an address that none can be."""
        super().__init__(*source)
        self.stream = TlsStream(socket.create_connection(source, connect_seconds), context)
        self.stream.settimeout(stall_seconds)
        self.sock = self.stream


class Connections:
    """Connections to file servers, kept between requests: a TLS handshake costs more than a small model."""

    def __init__(
        self, context: ssl.SSLContext, connect_seconds: float, stall_seconds: float, idle_seconds: float
    ) -> None:
        self._context = context
        self._connect_seconds = connect_seconds
        self._stall_seconds = stall_seconds
        self._idle_seconds = idle_seconds
        self._kept: dict[Source, list[tuple[float, Connection]]] = {}
        self._lock = threading.Lock()

    def connect(self, source: Source) -> Connection:
        """A new connection. Raises as `Connection` does."""
        return Connection(source, self._context, self._connect_seconds, self._stall_seconds)

    def take(self, source: Source) -> Connection | None:
        """A kept connection, which the server may have closed meanwhile."""
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


def reason(error: Exception) -> str:
    """Why there was no answer, in words for the operator."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"shows a certificate that is not trusted here: {error.verify_message}"
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
