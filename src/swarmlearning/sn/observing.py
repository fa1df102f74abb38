"""What an SN notes while it works, so that its status can say since when something is so, and whether it is unusual."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.ledger.world import World
from swarmlearning.node.clocks import clock_ms
from swarmlearning.node.exposed import Leased, MetricsPlace, Refresh, exposed
from swarmlearning.node.renewing import LiveIdentity
from swarmlearning.ordering.etcd.presence import STATE_SECONDS
from swarmlearning.ordering.protocols import OrderingError
from swarmlearning.sn.engine import Engine
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.status import Notes, Status, status_of
from swarmlearning.views.pace import Published, noted, published, recalled

logger = logging.getLogger("swarm.SN")

RECALLED: Final = 2048
"""Blocks: about ten rounds of 64 sites, and more than are shown of few."""
BATCH: Final = 16
"""Blocks that are read while all else waits a little."""
if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

REPORT_SECONDS: Final = 2 * STATE_SECONDS
"""An SN that follows has reported a height within this time after it had the block."""
LOOK_SECONDS: Final = 10.0
"""So exact is the time since when an alert stands, where nobody asks for the status."""


class Observer:
    """Observes the network for the SN `uid`; `fault` gives what its comparisons with the other SNs have found, and
    `chain_bytes` the size of its chain file."""

    def __init__(
        self, miner: Miner, engine: Engine, uid: str, fault: Callable[[], str], chain_bytes: Callable[[], int] = int
    ) -> None:
        self._miner = miner
        self._engine = engine
        self._uid = uid
        self._fault = fault
        self._chain_bytes = chain_bytes
        self._notes = Notes()
        self._noted: World | None = None

    async def run(self) -> None:
        """Notes every state of the ledger, and looks for alerts now and then, until cancelled."""
        await asyncio.sleep(LOOK_SECONDS)  # first the SN takes its place
        await self._recall()
        loop = asyncio.get_running_loop()
        look_at = loop.time() + LOOK_SECONDS
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(look_at):
                    await self._miner.reached(self._miner.chain.height + 1)
            self._note(self._miner.chain.world)
            if loop.time() >= look_at:
                await self.status()
                look_at = loop.time() + LOOK_SECONDS

    def exposed(
        self, place: MetricsPlace | None, directory: Path, own: LiveIdentity, leased: Leased
    ) -> AbstractAsyncContextManager[dict[str, str]]:
        """Serves this SN's metrics, see `node.exposed.exposed`."""
        return exposed(place, "SN", self._uid, directory, own, lambda: self._miner.chain, leased, self._add_metrics)

    def _add_metrics(self, registry: "CollectorRegistry") -> Refresh:
        from swarmlearning.sn.metrics import SnMetrics

        return SnMetrics(registry, self.status).refresh

    async def status(self) -> Status:
        """The network as it is now."""
        chain, due = self._miner.chain, self._miner.height_before(REPORT_SECONDS)
        self._note(chain.world)
        self._notes.chain_bytes = self._chain_bytes()
        return await status_of(chain, self._uid, self._engine, self._fault(), due, clock_ms(), self._notes)

    async def _recall(self) -> None:
        """Reads from the last blocks what was noted before this start."""
        chain, past = self._miner.chain, list[Published]()
        height = max(0, chain.height + 1 - RECALLED)
        try:
            while height <= chain.height:
                raws = await self._miner.blocks(height, BATCH)
                numbered = [raw for at, raw in enumerate(raws, height) if at not in chain.voids]
                past += await asyncio.to_thread(_published, chain, numbered)
                height += len(raws)
        except (OrderingError, MalformedError) as error:  # a damaged chain file is named by those who check it
            logger.debug("what the last blocks tell of rounds is not known: %s", error)
        trainings = self._miner.chain.world.area("training/", Training)
        self._notes.lately = {state.name: recalled(past, state) for state in trainings}

    def _note(self, world: World) -> None:
        if world is not self._noted:
            self._noted, before = world, self._notes.lately
            self._notes.lately = {
                state.name: noted(before.get(state.name), state) for state in world.area("training/", Training)
            }


def _published(chain: Chain, raws: Sequence[bytes]) -> list[Published]:
    return [each for raw in raws for each in published(chain.rules.read(raw))]
