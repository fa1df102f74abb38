"""Fetching from sites whose links may be cut for a moment."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from swarmlearning.models.transfer import TransferError
from swarmlearning.rounds.settings import QUIET_SECONDS

PAUSE_SECONDS: Final = 1.0


async def patiently(attempt: Callable[[], Awaitable[None]]) -> None:
    """Tries again while nothing answers, for as long as a node may be quiet: to merge without a site costs more than to
    wait for it. A host that answers, if only that nobody listens, is not waited for. Raises `TransferError`."""
    begun = monotonic()
    while True:
        try:
            return await attempt()
        except TransferError as error:
            if not error.silent or monotonic() - begun > QUIET_SECONDS:
                raise
        await asyncio.sleep(PAUSE_SECONDS)
