"""The floor under a round's time: its bytes, copied over raw TLS between as many processes, and nothing else.

The topology is that of a round. The leader takes N - 1 models, one from each peer, all at once; then each peer takes
one from the leader, all at once. Connections are open before, buffers are large, nothing is stored, merged or digested.
"""

import contextlib
import multiprocessing
import socket
import ssl
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import perf_counter

from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.identity.workspace import Workspace

HOST = "127.0.0.1"
PIECE = 2**20  # received into a buffer that stays in the processor's cache
SECONDS = 60.0  # without a byte from the other side


def floor_seconds(identities: Workspace, names: Sequence[str], size: int, repeats: int) -> float:
    """Median time to move models of `size` bytes as a round of these nodes does; the first of them leads."""
    leader, *peers = names
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((HOST, 0)))
        port = listener.getsockname()[1]
        for peer in peers:
            stack.enter_context(_running(identities.root, peer, port, size))
        context = server_context(identities.identity(leader))
        connections = [stack.enter_context(_accept(listener, context)) for _ in peers]
        threads = stack.enter_context(ThreadPoolExecutor(len(peers)))
        model = memoryview(bytearray(size))

        def pull(connection: ssl.SSLSocket) -> None:
            connection.sendall(b"?")
            _receive(connection, size)

        def push(connection: ssl.SSLSocket) -> None:
            connection.sendall(model)
            _receive(connection, 1)

        def once() -> float:
            begin = perf_counter()
            list(threads.map(pull, connections))
            list(threads.map(push, connections))
            return perf_counter() - begin

        once()
        return statistics.median(once() for _ in range(repeats))


def _peer(root: Path, name: str, port: int, size: int) -> None:
    """One peer's process, until the leader closes the connection."""
    context = client_context(Workspace(root).identity(name))
    model = memoryview(bytearray(size))
    with context.wrap_socket(_tuned(socket.create_connection((HOST, port)))) as connection:
        while connection.recv(1):
            connection.sendall(model)
            _receive(connection, size)
            connection.sendall(b"!")


def _receive(connection: ssl.SSLSocket, size: int) -> None:
    buffer = memoryview(bytearray(min(PIECE, size)))
    filled, left = 0, size
    while left:
        count = connection.recv_into(buffer[filled : filled + left])
        if not count:
            raise ConnectionError("the other side of the floor's copy has gone")
        left -= count
        filled = (filled + count) % len(buffer)


def _accept(listener: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    listener.settimeout(SECONDS)
    plain, _ = listener.accept()
    return context.wrap_socket(_tuned(plain), server_side=True)


def _tuned(plain: socket.socket) -> socket.socket:
    plain.settimeout(SECONDS)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return plain


@contextlib.contextmanager
def _running(root: Path, name: str, port: int, size: int) -> Iterator[BaseProcess]:
    process = multiprocessing.get_context("spawn").Process(target=_peer, args=(root, name, port, size), daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
