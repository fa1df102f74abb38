"""Clocks of nodes beside each other: how far they differ, and what is corrected."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.ledger.chain import Chain, Step
from swarmlearning.ledger.contracts import network
from swarmlearning.views.names import name_of, node_names

logger = logging.getLogger("swarm.chain")

ANSWER_SECONDS = 2.0
TOLERATED_MS = 2_000
"""Clocks that differ by less are as good as each other."""
COMPARED = 8
"""Heartbeats: as many seconds, nearly."""


class Offset(NamedTuple):
    """How far this node's clock is ahead of an SN's, in milliseconds, give or take half the time of the round trip."""

    ahead_ms: int
    error_ms: int


class Offsets:
    """What the answers of an SN say about this node's clock: of the last few comparisons the one with the shortest
    round trip stands, as in NTP, since what delays an answer blurs it."""

    def __init__(self) -> None:
        self._found: deque[Offset] = deque(maxlen=COMPARED)
        self._of = ""

    def add(self, sn: str, shown_ms: int, sent_ms: int, seconds: float) -> None:
        """Adds that an SN (its address) has shown this time in an answer that took so long from `sent_ms` on, both in
        Unix time; another SN's answers begin anew."""
        if sn != self._of:
            self._found.clear()
            self._of = sn
        half = round(500 * seconds)
        self._found.append(Offset(sent_ms + half - shown_ms, half))

    @property
    def best(self) -> Offset | None:
        """The best comparison; None before the first one."""
        return min(self._found, key=lambda each: each.error_ms, default=None)


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
