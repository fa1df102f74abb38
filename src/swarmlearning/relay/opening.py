"""The opening of a connection to a relay: a line each way over mutual TLS, then the bare TCP connection.

    a client  ── SERVE uid | OPEN uid | ANSWER call ──▶  relay
              ◀─────────── OK, or NO and a reason ─────

So each end knows who the other is. What follows an OPEN or ANSWER is the TLS of two nodes, from one to the other: the
relay has no key to it, and a second encryption around it would double the cost of a model and hide nothing more.

`ssl.SSLSocket` takes one record at a time from the kernel, so it takes nothing of what follows the last line.
"""

import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from swarmlearning.transport.parties import Credential, credential_of
from swarmlearning.transport.waiting import readable, writable
from swarmlearning.views.names import displayed

MAX_LINE: Final = 200
"""Bytes of a line, its end included."""
OK: Final = "OK"
ANSWER_SECONDS: Final = 8.0
"""For a node that is called to come: a TCP and a TLS handshake. Who has asked for it waits longer."""

T = TypeVar("T")


class RelayError(OSError):
    """The relay refuses, or what answers is none; the message is the end of a sentence about it."""


def hail(plain: socket.socket, context: ssl.SSLContext, host: str, request: str, seconds: float) -> socket.socket:
    """The bare connection to whom the relay has joined this one with, or the relay itself. Blocks.

    `plain`, a blocking socket connected to the relay, belongs to this function. Raises `RelayError`, and OSError.
    """
    deadline = time.monotonic() + seconds
    plain.settimeout(seconds)
    with context.wrap_socket(plain, server_hostname=host) as sock:
        sock.sendall(f"{request}\n".encode("ascii"))
        answer = bytearray()
        while not answer.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
            if not (byte := sock.recv(1)) or len(answer) >= MAX_LINE:
                raise RelayError("is no relay: it does not answer as one")
            answer += byte
        check_answer(bytes(answer))
        bare = socket.socket(fileno=sock.detach())
        bare.settimeout(seconds)
        return bare


def check_answer(line: bytes) -> None:
    """Raises `RelayError` unless a relay's answer agrees."""
    text = line.decode("ascii", errors="replace").rstrip("\n")
    if text != OK:
        raise RelayError(f"refuses to relay: {displayed(text.removeprefix('NO '), MAX_LINE)}")


class Opening:
    """The relay's end of a connection. `address`: where it comes from; `heard`: a line has come."""

    def __init__(self, sock: ssl.SSLSocket, address: Any) -> None:
        self.address = address
        self.heard = False
        self.credential: Credential = credential_of(sock)
        self._tls = sock
        self._bare: socket.socket | None = None

    @classmethod
    async def accept(cls, plain: socket.socket, context: ssl.SSLContext) -> "Opening":
        """Shakes hands over a socket that does not block, and belongs to this from now on. Raises OSError."""
        with plain:
            sock = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        try:
            await _when_readable(sock, sock.do_handshake)
            return cls(sock, sock.getpeername())
        except BaseException:
            sock.close()
            raise

    async def line(self) -> str:
        """The next line, without its end. Raises OSError, also at the end of the stream."""
        line = bytearray()
        while not line.endswith(b"\n"):
            byte = await _when_readable(self._tls, lambda: self._tls.recv(1))
            if not byte or len(line) >= MAX_LINE:
                raise ConnectionError("the connection ended within a line, or sent too long a one")
            line += byte
        self.heard = True
        return line[:-1].decode("ascii", errors="replace")

    async def say(self, text: str) -> None:
        """Sends a line, cut to its longest. Raises OSError."""
        data = memoryview(text.encode("ascii", errors="replace")[: MAX_LINE - 1] + b"\n")
        while data:
            try:
                data = data[self._tls.send(data) :]
            except ssl.SSLWantWriteError:
                await writable(self._tls)

    def bare(self) -> socket.socket:
        """The TCP connection without TLS; nothing is said on this one any more."""
        if self._bare is None:
            self._bare = socket.socket(fileno=self._tls.detach())
            self._bare.setblocking(False)
            self._bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._bare

    def abort(self) -> None:
        """Ends the connection for both sides at once: whoever waits for it here gets its end. `close` is yet to come:
        the descriptor must not become another connection's while somebody waits for it."""
        sock = self._bare or self._tls
        try:
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        except OSError:  # it has ended already
            pass

    def close(self) -> None:
        """Gives the descriptor back."""
        (self._bare or self._tls).close()


async def _when_readable(sock: ssl.SSLSocket, step: Callable[[], T]) -> T:
    """The result of a step of TLS, which is tried again as more comes."""
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            await readable(sock)
        except ssl.SSLWantWriteError:
            await writable(sock)
