"""The floor under a round's time: its bytes, copied over raw TLS between as many processes, and nothing else.

The topology is that of a round. The leader takes N - 1 models, one from each peer, all at once; then each peer takes
one from the leader, all at once. Connections are open before, buffers are large, nothing is stored, merged or digested.
Bytes are taken in the two ways that are the fastest known here, Python's sockets and the nodes' own `TlsStream`; the
better one counts.
"""

import contextlib
import multiprocessing
import socket
import ssl
import statistics
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from time import perf_counter

from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.identity.workspace import Workspace
from swarmlearning.models.tlsstream import TlsStream

HOST = "127.0.0.1"
PIECE = 2**18  # received into a buffer that stays in the processor's cache
SECONDS = 300.0  # that a model may take, also over a thin link
WAYS = ("sockets", "stream")

Stream = ssl.SSLSocket | TlsStream


def floor_seconds(identities: Workspace, names: Sequence[str], size: int, repeats: int) -> float:
    """Median time to move models of `size` bytes as a round of these nodes does; the first of them leads."""
    return min(_median(identities, names, size, repeats, way) for way in WAYS)


def _median(identities: Workspace, names: Sequence[str], size: int, repeats: int, way: str) -> float:
    leader, *peers = names
    identity = identities.identity(leader)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(serving(identity, size))
        links = [stack.enter_context(_running(identities.root, peer, port, size, way)) for peer in peers]
        taken = [stack.enter_context(taking(identity, link.recv(), way)) for link in links]
        threads = stack.enter_context(ThreadPoolExecutor(len(peers)))

        def once() -> float:
            begin = perf_counter()
            list(threads.map(lambda stream: take(stream, size), taken))
            for link in links:
                link.send("take")
            for link in links:
                link.recv()
            return perf_counter() - begin

        once()
        return statistics.median(once() for _ in range(repeats))


def _peer(root: Path, name: str, leader: int, size: int, way: str, link: Connection) -> None:
    """One peer's process, until the other end of `link` is closed."""
    identity = Workspace(root).identity(name)
    with serving(identity, size) as port, taking(identity, leader, way) as stream:
        link.send(port)
        with contextlib.suppress(EOFError):
            while link.recv():
                take(stream, size)
                link.send("taken")


@contextlib.contextmanager
def serving(identity: Identity, size: int, host: str = HOST) -> Iterator[int]:
    """Sends a model of `size` bytes on each connection whenever a byte comes; the port."""
    model, context = memoryview(bytearray(size)), server_context(identity)

    def serve(plain: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(_tuned(plain), server_side=True) as connection:
            while connection.recv(1):
                connection.sendall(model)

    def accept() -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server((host, 0)) as listener:
        Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


@contextlib.contextmanager
def taking(identity: Identity, port: int, way: str, host: str = HOST) -> Iterator[Stream]:
    """A connection to who serves at this port, by one of `WAYS`."""
    plain, context = _tuned(socket.create_connection((host, port))), client_context(identity)
    secured = context.wrap_socket(plain) if way == "sockets" else TlsStream(plain, context, host, SECONDS)
    with contextlib.closing(secured) as stream:
        yield stream


def take(stream: Stream, size: int) -> None:
    """Asks for a model of `size` bytes and receives it. Raises OSError, `ConnectionError` where the other has gone."""
    if isinstance(stream, TlsStream):
        stream.allow(sys.maxsize, SECONDS)
    stream.sendall(b"?")
    buffer = memoryview(bytearray(min(PIECE, size)))
    left = size
    while left:
        count = stream.recv_into(buffer[:left])
        if not count:
            raise ConnectionError("the other side of the floor's copy has gone")
        left -= count


def _tuned(plain: socket.socket) -> socket.socket:
    plain.settimeout(SECONDS)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return plain


@contextlib.contextmanager
def _running(root: Path, name: str, leader: int, size: int, way: str) -> Iterator[Connection]:
    """A peer's process, and our end of the pipe to it, on which it first reports its port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_peer, args=(root, name, leader, size, way, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        with ours:
            yield ours
    finally:
        process.kill()
        process.join()
