"""Waiting for a bare socket in an event loop."""

import asyncio
import socket


async def readable(sock: socket.socket) -> None:
    """Returns when bytes are here, or the connection has ended. Raises OSError for a socket that is closed."""
    loop = asyncio.get_running_loop()
    number, ready = _open(sock), loop.create_future()
    loop.add_reader(number, _note, ready)
    try:
        await ready
    finally:
        loop.remove_reader(number)


async def writable(sock: socket.socket) -> None:
    """Returns when there is room for bytes, or the connection has ended. Raises OSError for a socket that is closed."""
    loop = asyncio.get_running_loop()
    number, ready = _open(sock), loop.create_future()
    loop.add_writer(number, _note, ready)
    try:
        await ready
    finally:
        loop.remove_writer(number)


def _open(sock: socket.socket) -> int:
    if (number := sock.fileno()) < 0:
        raise ConnectionError("the connection is closed")
    return number


def _note(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
