"""The training process's end of the local channel: whole messages over a blocking Unix socket."""

import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from weakref import WeakSet

from swarmlearning.channel import framing
from swarmlearning.channel.address import connect
from swarmlearning.channel.messages import FromML, FromSL

SEND_TIMEOUT = 5.0  # seconds; the socket is local and the messages are small
IDLE_SECONDS = 1.0


class Connection:
    """Connected to the SL's socket at `address`. All raise `OSError`: `ConnectionError` when the SL has left."""

    def __init__(self, address: Path) -> None:
        self._socket = connect(address)
        _OPEN.add(self)

    def send(self, message: FromML) -> None:
        """Sends it; raises `TimeoutError` when the SL does not read."""
        self._require_open()
        self._socket.settimeout(SEND_TIMEOUT)
        self._socket.sendall(framing.encode(message))

    def receive(self, on_idle: Callable[[], None] = lambda: None) -> FromSL:
        """Waits for the next message, without limit; calls `on_idle` every second meanwhile.

        Raises `ChannelError` for what is no message.
        """
        while not self.pending(IDLE_SECONDS):
            on_idle()
        self._socket.settimeout(None)
        length = framing.body_length(self._read(framing.LENGTH.size))
        return framing.decode_from_sl(self._read(length))

    def pending(self, seconds: float = 0) -> bool:
        """Returns True if there is a message to receive, or the end of the stream, within so many seconds."""
        self._require_open()
        poll = select.poll()  # not select(), which knows the first 1024 files of a process only
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def left(self) -> bool:
        """Returns True if the SL has left and all its messages have been read."""
        return self.pending() and not self._socket.recv(1, socket.MSG_PEEK)

    def close(self) -> None:
        """Closes the connection; a second call does nothing."""
        self._socket.close()

    def _require_open(self) -> None:
        if self._socket.fileno() < 0:
            raise ConnectionError("its connection stayed with the process that this one was forked from")

    def _read(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            chunk = self._socket.recv(count - len(received))
            if not chunk:
                raise ConnectionError("it closed the connection")
            received += chunk
        return bytes(received)


def _close_all() -> None:
    for connection in list(_OPEN):
        connection.close()


_OPEN: WeakSet[Connection] = WeakSet()
os.register_at_fork(after_in_child=_close_all)
"""A child that outlives the script would hold its connection open, and the SL would not notice its end."""
