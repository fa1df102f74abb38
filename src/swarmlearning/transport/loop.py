"""The event loop of nodes: uvloop, with one owner for the descriptor of every connection.

uvloop (0.23) closes the descriptor of a socket that it is given to connect by, and leaves it with the socket object as
well where the peer resets the connection before the first byte is sent, as happens when that peer has just been killed.
The object closes that number once more when it is collected: by then it may be another connection's, or a database's.
"""

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


class Loop(uvloop.Loop):
    """uvloop's event loop, whose transports alone own the sockets that they are made of."""

    async def create_connection(self, *arguments: Any, sock: socket.socket | None = None, **options: Any) -> Any:
        """See `asyncio`. `sock` is used up: it has no descriptor any more, whether a connection was made or not."""
        try:
            return await super().create_connection(*arguments, sock=sock, **options)
        finally:
            if sock is not None:
                sock.detach()


def new_event_loop() -> Loop:
    """Returns a new one."""
    return Loop()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs this on a new one until it ends; in any thread that runs none."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)
