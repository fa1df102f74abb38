"""Pauses between attempts in an event loop; `pauses.py` has their lengths."""

import asyncio

from swarmlearning.pauses import Pauses


class Backoff:
    """`async for _ in Backoff(…):` comes round at once, then after pauses that grow; `reset` makes them short again.

    See `Pauses` for `first` and `longest`, in seconds.
    """

    def __init__(self, first: float = 0.1, longest: float = 2.0) -> None:
        self._pauses = Pauses(first, longest)
        self._begun = False

    def reset(self) -> None:
        """Goes on as at the beginning: what was tried has succeeded."""
        self._pauses.reset()

    async def pause(self) -> None:
        """Waits until the next attempt."""
        await asyncio.sleep(self._pauses.next())

    def __aiter__(self) -> "Backoff":
        self._begun = False
        return self

    async def __anext__(self) -> None:
        if self._begun:
            await self.pause()
        self._begun = True
