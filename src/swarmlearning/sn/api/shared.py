"""An answer that is expensive to compute and requested by many at the same time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

LONGEST_REST = 1.0


class Shared(Generic[T]):
    """Computes once for all requests that arrive meanwhile, then rests nine times as long as that took, at most 1 s.

    So it is busy for a tenth of the time however many requests there are, and no answer is older than its request.
    """

    def __init__(self, compute: Callable[[], Awaitable[T]]) -> None:
        self._compute = compute
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[T] | None = None
        self._rested_at = 0.0

    async def get(self) -> T:
        """The next answer."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._run())
            self._next.add_done_callback(lambda done: done.cancelled() or done.exception())  # its callers may be gone
        return await asyncio.shield(self._next)

    async def _run(self) -> T:
        loop = asyncio.get_running_loop()
        async with self._turn:
            await asyncio.sleep(max(0.0, self._rested_at - loop.time()))
            self._next = None  # who calls from now on may know more than this answer will
            begin = loop.time()
            try:
                return await self._compute()
            finally:
                self._rested_at = loop.time() + min(LONGEST_REST, 9 * (loop.time() - begin))
