"""An SN's own heartbeats, which no other SN has to receive."""

import asyncio
import logging
import time
from typing import Final

from swarmlearning.node.sender import Author
from swarmlearning.node.vitals import Gauge
from swarmlearning.ordering.protocols import Lease, OrderingError, Presence
from swarmlearning.sn.clocks import Clocks
from swarmlearning.sn.miner import Miner

logger = logging.getLogger("swarm.SN")

BEAT_SECONDS: Final = 0.8


class Beats:
    """Renews the lease of the SN that `author` is; its progress is the height of its chain."""

    def __init__(self, author: Author, miner: Miner, presence: Presence, gauge: Gauge, clocks: Clocks) -> None:
        self._author = author
        self._miner = miner
        self._presence = presence
        self._gauge = gauge
        self._clocks = clocks
        self._renewed: float | None = None

    @property
    def lease_age(self) -> float | None:
        """Seconds since the lease was renewed last; None before the first time."""
        return None if self._renewed is None else time.monotonic() - self._renewed

    async def run(self) -> None:
        """Renews until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._gauge.run())
            tasks.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            vitals = self._gauge.latest(self._clocks.offset)
            lease = Lease(self._author.uid, self._author.incarnation, self._miner.chain.height, 0, vitals=vitals)
            try:
                await self._presence.announce(lease)
                self._renewed = time.monotonic()
            except OrderingError as error:
                logger.debug("%s", error)
            await asyncio.sleep(BEAT_SECONDS)
