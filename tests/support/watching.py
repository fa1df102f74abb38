"""A source of identities that follows its changes for as long as a test needs it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from swarmlearning.identity.source import WatchedSource

S = TypeVar("S", bound=WatchedSource)


@asynccontextmanager
async def watching(source: S, seconds: float) -> AsyncIterator[S]:
    """The source is watched inside the block, which may take that many seconds."""
    task = asyncio.create_task(source.watch())
    try:
        async with asyncio.timeout(seconds):
            yield source
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
