"""Pauses between attempts, so that whoever fails together does not try again together."""

import asyncio
import random


class Backoff:
    """`async for _ in Backoff(…):` comes round at once, then after pauses that grow; `reset` makes them short again.

    Each pause is a random part of a bound that doubles up to `longest` seconds (full jitter).
    """

    def __init__(self, first: float = 0.1, longest: float = 2.0) -> None:
        self._first = first
        self._longest = longest
        self._bound = 0.0
        self._begun = False

    def reset(self) -> None:
        """Goes on as at the beginning: what was tried has succeeded."""
        self._bound = 0.0

    async def pause(self) -> None:
        """Waits until the next attempt."""
        self._bound = min(2 * self._bound or self._first, self._longest)
        await asyncio.sleep(random.uniform(0.0, self._bound))

    def __aiter__(self) -> "Backoff":
        self._begun = False
        return self

    async def __anext__(self) -> None:
        if self._begun:
            await self.pause()
        self._begun = True
