"""Fetching from sites whose links may be cut for a moment."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from swarmlearning.models.transfer import TransferError
from swarmlearning.rounds.settings import QUIET_SECONDS

PAUSE_SECONDS: Final = 1.0
STALL_SECONDS: Final = 6.0
"""After so long without a byte it is asked anew: TCP itself tries ever less often while a link is cut."""


async def patiently(attempt: Callable[[], Awaitable[None]], here: Callable[[], int], limit: asyncio.Timeout) -> None:
    """Tries again while nothing comes, for as long as a node may be quiet: to merge without a site costs more than to
    wait for it. `here`: bytes that are here. A host that answers, if only that nobody listens, is not waited for.

    What was lost in this way is added to `limit`, once as long in all. Raises `TransferError`.
    """
    quiet_since, before, left = monotonic(), here(), QUIET_SECONDS
    while True:
        begun = monotonic()
        try:
            return await attempt()
        except TransferError as error:
            if (now := here()) > before:
                quiet_since, before = monotonic(), now
            if not error.silent or monotonic() - quiet_since > QUIET_SECONDS:
                raise
        lost = min(left, monotonic() - begun + PAUSE_SECONDS)
        left -= lost
        if (end := limit.when()) is not None:
            limit.reschedule(end + lost)
        await asyncio.sleep(PAUSE_SECONDS)
