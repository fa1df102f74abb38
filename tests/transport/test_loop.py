"""The event loop of nodes: no descriptor is closed twice, however a connection ends."""

import asyncio
import os
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.transport.loop import Loop, run

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset, as the kernel does for the connections that a killed process has not accepted."""

Connect = Callable[[], tuple[socket.socket, socket.socket]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Returns the two ends of a connection; the first does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def connected() -> tuple[socket.socket, socket.socket]:
            near = socket.create_connection(listener.getsockname())
            near.setblocking(False)
            return near, listener.accept()[0]

        yield connected


@pytest.fixture
def tls(identities: dict[str, Identity]) -> ssl.SSLContext:
    return client_context(identities["SL-1"])


def reset(near: socket.socket, far: socket.socket) -> None:
    """The far end resets the connection; the near one has learned of it when this returns."""
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    far.close()
    waiting = select.poll()
    waiting.register(near, select.POLLIN)
    waiting.poll()


def is_open(number: int, connection: int) -> bool:
    """Whether this descriptor is still that of the connection (its inode), and not another thread's by now."""
    with suppress(OSError):
        return os.fstat(number).st_ino == connection
    return False


def read_to_the_end(sock: socket.socket) -> None:
    while sock.recv(65536):
        pass


async def test_nodes_use_this_loop() -> None:
    assert type(asyncio.get_running_loop()) is Loop


async def test_a_connection_that_is_reset_before_the_handshake_leaves_no_descriptor_behind(
    connect: Connect, tls: ssl.SSLContext
) -> None:
    """Or the socket object would close that number again, which may be another's by then."""
    near, far = connect()
    number, connection = near.fileno(), os.fstat(near.fileno()).st_ino
    reset(near, far)
    with pytest.raises(ConnectionResetError):
        await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, sock=near, ssl=tls, server_hostname="127.0.0.1"
        )
    assert near.detach() == -1  # taken from it, so that nothing is closed twice where this fails
    assert not is_open(number, connection)


async def test_a_connection_whose_making_is_cancelled_leaves_no_descriptor_behind(
    connect: Connect, tls: ssl.SSLContext
) -> None:
    near, far = connect()
    making = asyncio.ensure_future(
        asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near, ssl=tls, server_hostname="127.0.0.1")
    )
    await asyncio.to_thread(far.recv, 1)  # the handshake has begun
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert near.detach() == -1  # taken from it, so that nothing is closed twice where this fails
    await asyncio.to_thread(read_to_the_end, far)
    far.close()


async def test_a_connection_that_was_made_works_on_without_its_socket_object(connect: Connect) -> None:
    near, far = connect()
    reader, writer = await asyncio.open_connection(sock=near)
    with closing(writer), far:  # uvloop would hang at its end with a transport that is open
        assert near.detach() == -1  # taken from it, so that nothing is closed twice where this fails
        writer.write(b"there")
        assert await asyncio.to_thread(far.recv, 5) == b"there"
        far.sendall(b"back")
        assert await reader.readexactly(4) == b"back"
        writer.close()
        await writer.wait_closed()
        assert await asyncio.to_thread(far.recv, 1) == b""


async def test_what_runs_in_a_thread_of_its_own_has_such_a_loop_too() -> None:
    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    found = await asyncio.to_thread(run, loop())
    assert isinstance(found, Loop)
    assert found.is_closed()
