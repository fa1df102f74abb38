"""Waiting with signs of progress, and with a limit."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final, TypeVar

from swarmlearning.errors import UserError
from swarmlearning.swci.output import Line, line

T = TypeVar("T")
OVER: Final = "WARNING - Maximum configured SWCI wait time is over"


class WaitOverError(UserError):
    """The longest time to wait has passed."""


async def marked(work: Coroutine[Any, Any, T], every: float, limit: float) -> AsyncGenerator[Line | T, None]:
    """Yields a mark `every` so many seconds until the work is done, then its result.

    Raises what the work raises, and `WaitOverError` after `limit` seconds.
    """
    loop = asyncio.get_running_loop()
    task, end = asyncio.create_task(work), loop.time() + limit
    try:
        while not (await asyncio.wait((task,), timeout=min(every, max(0.0, end - loop.time()))))[0]:
            if loop.time() >= end:
                raise WaitOverError(OVER)
            yield line("#", "mark")
        yield task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
