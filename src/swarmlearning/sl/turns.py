"""Taking turns: of what is fetched from one member, a few parts at a time come first, in an order that each chooses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import count


class Turns:
    """Belongs to one event loop. `at_once` may have their turn at a time."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._arrivals = count()

    @asynccontextmanager
    async def turn(self, order: float = 0.0) -> AsyncIterator[None]:
        """Entered in turn: of those that wait the one with the lowest `order`, of equals whoever has come first."""
        if self._free:
            self._free -= 1
        else:
            await self._called(order)
        try:
            yield
        finally:
            self._call_next()

    async def _called(self, order: float) -> None:
        call = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (order, next(self._arrivals), call))
        try:
            await call
        except asyncio.CancelledError:
            if not call.cancelled():  # called and cancelled at once: the next one has its turn
                self._call_next()
            raise

    def _call_next(self) -> None:
        while self._waiting:
            *_, call = heappop(self._waiting)
            if not call.done():
                call.set_result(None)
                return
        self._free += 1
