"""The speeds of links to other hosts, as the kernel has measured them while models were sent, and what has arrived.

What counts is the time in which bytes were under way and the receiver had room for more. How busy the processors of
the two ends are is not in it: on a busy machine a transfer is slow, and its link is as fast as ever.
"""

import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

PROBE: Final = "/probe/"
"""The path of a file server below which it sends as many bytes as are named: for whoever looks how fast it is."""
_ACKED, _BUSY, _NO_ROOM = 120, 168, 176  # offsets of 64-bit numbers in Linux' struct tcp_info, which only ever grows
_LENGTH: Final = 184
_MEASURABLE: Final = 0.05  # seconds; the kernel counts some of its times in ticks of 4 to 10 ms
_HOSTS: Final = 1024


class Links:
    """Belongs to one thread."""

    def __init__(self) -> None:
        self._speeds: dict[str, float] = {}
        self._arrived = 0
        self._seen: dict[socket.socket, int] = {}  # what had arrived by each connection when it was looked at last

    def arrived(self) -> int:
        """Bytes that have arrived elsewhere so far by connections that have carried models; 0 where the kernel does not
        report it. What a connection has brought between the last call and its end is not counted.

        What is written to a connection says little: the kernel takes megabytes at once before a slow link.
        """
        for connection, before in tuple(self._seen.items()):
            if (sent := _sent(connection)) is None:
                del self._seen[connection]
            else:
                self._arrived += sent.size - before
                self._seen[connection] = sent.size
        return self._arrived

    def speed(self, host: str) -> float | None:
        """Bytes per second to a host, as of the last transfer that took long enough; None: fast, as far as is known.

        Models of a megabyte or two are in the buffers of this machine before that shows.
        """
        return self._speeds.get(host)

    @contextlib.contextmanager
    def watched(self, host: str, connection: socket.socket) -> Iterator[None]:
        """Measures, inside the block, the speed at which data reaches `host`."""
        before = _sent(connection)
        if before:
            self._seen.setdefault(connection, before.size)
        try:
            yield
        finally:
            after = _sent(connection)
            if before and after and after.seconds - before.seconds >= _MEASURABLE:
                if len(self._speeds) >= _HOSTS:
                    self._speeds.clear()
                self._speeds[host] = (after.size - before.size) / (after.seconds - before.seconds)


def arrived(connection: socket.socket) -> int | None:
    """Bytes that have arrived at the other end so far; None where the kernel does not report it."""
    sent = _sent(connection)
    return sent.size if sent else None


class _Sent(NamedTuple):
    """Bytes that have arrived at the other end, and the time in which the link was what they waited for."""

    size: int
    seconds: float


def _sent(connection: socket.socket) -> _Sent | None:
    """Returns the counters since the connection was made; None where the kernel does not report them (not Linux) or the
    connection has ended (for uvloop it is number -1 then).
    """
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except (AttributeError, OSError, ValueError):
        return None
    if len(info) < _LENGTH:
        return None
    acked, busy, no_room = (int(struct.unpack_from("=Q", info, offset)[0]) for offset in (_ACKED, _BUSY, _NO_ROOM))
    return _Sent(acked, (busy - no_room) / 1e6)
