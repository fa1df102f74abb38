"""Clocks of nodes beside each other: how far they differ, and what is corrected."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.ledger.chain import Chain, Step
from swarmlearning.ledger.contracts import network
from swarmlearning.views.names import name_of, node_names

logger = logging.getLogger("swarm.chain")

ANSWER_SECONDS = 2.0
TOLERATED_MS = 2_000
"""Clocks that differ by less are as good as each other."""


class AheadError(Exception):
    """A block whose time is ahead of this node's clock, and which most SNs do not have."""


def clock_ms() -> int:
    """This machine's clock, as Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def correction(offsets: Sequence[int]) -> int:
    """The milliseconds to add to a node's clock, by how far those of SNs are ahead of it: 0 while it is near the median
    of all. The lower median: of two clocks the earlier one."""
    found = sorted((0, *offsets))[len(offsets) // 2]
    return found if abs(found) > TOLERATED_MS else 0


async def offset(client: SnClient) -> int | None:
    """Milliseconds by which an SN's clock is ahead of this node's, to half the time that its answer takes."""
    begun, sent_at = clock_ms(), time.monotonic()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            shown = await client.clock()
    except (Unavailable, Refusal, TimeoutError):
        return None
    return shown - begun - round(500 * (time.monotonic() - sent_at))


class NodeClock:
    """The clock by which a node that is no SN judges the time of blocks; `clients` are the APIs of the SNs it knows.

    It is corrected by the SNs' clocks once a block is ahead of it, so that a wrong clock costs one comparison.
    """

    def __init__(self, clients: Callable[[], Sequence[SnClient]]) -> None:
        self._clients = clients
        self._correction_ms = 0

    def finds_ahead(self, chain: Chain, step: Step) -> bool:
        """True if the next block is so far ahead that it is not acted on before most SNs have it."""
        ahead_ms = chain.ahead_ms(step.block.header.time_ms, clock_ms() + self._correction_ms)
        return step.void is None and ahead_ms > network.DOUBT_MS

    async def require_confirmed(self, chain: Chain, step: Step) -> None:
        """Raises `AheadError` for a block that is ahead, unless more than half of the known SNs have acted on it."""
        clients = self._clients()
        offsets = await asyncio.gather(*map(offset, clients))
        self._correction_ms = correction([found for found in offsets if found is not None])
        if not self.finds_ahead(chain, step):
            logger.warning("this node's clock is %d s behind those of the SNs: set it right (NTP)", self._seconds)
            return
        having = sum(await asyncio.gather(*(_has(client, step) for client in clients)))
        ahead_ms = chain.ahead_ms(step.block.header.time_ms, clock_ms())
        sealer = name_of(node_names(chain.world), step.block.header.sealer)
        text = (
            f"block {step.chain.height}, sealed by SN {sealer}, is {ahead_ms / 1000:.0f} s ahead of this node's clock"
        )
        if 2 * having <= len(clients):
            raise AheadError(f"{text}: it is not acted on until more than half of the SNs have it")
        logger.warning("%s, and most SNs have it: set the clock right (NTP)", text)

    @property
    def _seconds(self) -> int:
        return round(self._correction_ms / 1000)


async def _has(client: SnClient, step: Step) -> bool:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            stance = await client.stance(step.chain.height)
    except (Unavailable, Refusal, TimeoutError):
        return False
    return stance.block == step.chain.hash and not stance.objection
