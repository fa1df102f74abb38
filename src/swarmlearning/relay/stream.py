"""Two connections joined into one: bytes are copied both ways, and nothing is known of them but their number."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

PIECE: Final = 128 * 1024
"""Bytes that each way of a stream holds at most, beside what the kernel does."""

Pace: TypeAlias = Callable[[int], float]
"""Seconds to wait before more than so many bytes, which have come, may be carried."""


class Stream:
    """`carried`: bytes so far, both ways together."""

    def __init__(self, pace: Pace, idle_seconds: float) -> None:
        """`idle_seconds`: the time without a byte after which it ends."""
        self.carried = 0
        self._pace = pace
        self._idle_seconds = idle_seconds

    async def join(self, one: socket.socket, other: socket.socket) -> None:
        """Copies until both ways have ended. Raises OSError when a connection breaks, or nothing comes for too long.

        The sockets do not block, and are closed by their owner.
        """
        async with asyncio.timeout(self._idle_seconds) as limit:
            await both(self._copy(one, other, limit), self._copy(other, one, limit))

    async def _copy(self, source: socket.socket, target: socket.socket, limit: asyncio.Timeout) -> None:
        loop, room = asyncio.get_running_loop(), memoryview(bytearray(PIECE))
        while count := await loop.sock_recv_into(source, room):
            self.carried += count
            if wait := self._pace(count):
                limit.reschedule(loop.time() + wait + self._idle_seconds)
                await asyncio.sleep(wait)
            await loop.sock_sendall(target, room[:count])
            limit.reschedule(loop.time() + self._idle_seconds)
        target.shutdown(socket.SHUT_WR)


async def both(one: Coroutine[Any, Any, None], other: Coroutine[Any, Any, None]) -> None:
    """Runs both until they have ended. If one raises, the other is cancelled, and has ended when this raises too."""
    ways = [asyncio.ensure_future(way) for way in (one, other)]
    try:
        await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
