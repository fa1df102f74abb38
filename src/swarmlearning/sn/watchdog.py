"""The watchdog: turns what the leases show into transactions.

A node whose lease is gone is proposed as lost, one whose lease is there again as back; a result that every live member
misses is proposed as void. The contracts judge: a proposal that is stale or made twice is refused and does no harm.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from swarmlearning.ledger.bodies import Back, Body, Lost, Void
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training import Training
from swarmlearning.ordering.protocols import Lease, OrderingError, Presence
from swarmlearning.sn.miner import Miner

logger = logging.getLogger("swarm.presence")

RETRY_SECONDS = 1.0
"""Until a proposal is made again that could not be recorded."""

Propose = Callable[[str, Body], Awaitable[int]]
"""Signs and submits a transaction of this SN: (contract, body)."""


class Watchdog:
    """Watches presence and chain of one SN."""

    def __init__(self, miner: Miner, presence: Presence, propose: Propose, votes: Callable[[], bool]) -> None:
        self._miner = miner
        self._presence = presence
        self._propose = propose
        self._votes = votes
        self._leases: dict[str, Lease] = {}
        self._granted: set[tuple[str, int]] = set()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Watches until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_leases())
            tasks.create_task(self._follow_chain())
            tasks.create_task(self._reconcile())

    async def _follow_leases(self) -> None:
        async for leases in self._presence.observe():
            self._leases = leases
            self._changed.set()

    async def _follow_chain(self) -> None:
        height = -1
        while True:
            await self._miner.reached(height + 1)
            height = self._miner.chain.height
            await self._grant(self._miner.chain)
            self._changed.set()

    async def _grant(self, chain: Chain) -> None:
        """A registration counts as the first heartbeat; so does a restart of this SN for the nodes it knows."""
        for node in _watched(chain):
            start = (node.uid, node.incarnation)
            if start not in self._granted:
                self._granted = {known for known in self._granted if known[0] != node.uid} | {start}
                if node.alive:
                    lease = Lease(*start, steps=0, moved=0)
                    self._leases = {**self._leases, node.uid: lease}  # known here before anybody tells us of it
                    try:
                        await self._presence.announce(lease)
                    except OrderingError as error:
                        logger.debug("no lease for %s yet: %s", node.name, error)

    async def _reconcile(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not self._votes():
                continue  # without a vote this SN cannot tell who is there
            chain = self._miner.chain
            for node in _watched(chain):
                lease = self._leases.get(node.uid)
                here = lease is not None and lease.incarnation == node.incarnation
                if node.alive and not here and (node.uid, node.incarnation) in self._granted:
                    await self._say(network.CONTRACT, Lost(node.uid, node.incarnation), f"{node.name} is lost")
                elif here and not node.alive:
                    await self._say(network.CONTRACT, Back(node.uid, node.incarnation), f"{node.name} is back")
            for training in chain.world.area("training/", Training):
                if _nobody_holds(training):
                    assert training.result is not None
                    number = training.result.closed.number
                    await self._say(training.name, Void(number), f"nobody holds the result of round {number}")

    async def _say(self, contract: str, body: Body, what: str) -> None:
        try:
            await self._propose(contract, body)
            logger.warning("%s", what)
        except Rejection as rejection:
            logger.debug("%s: %s", what, rejection)
        except OrderingError as error:
            logger.error("cannot record that %s: %s", what, error)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._changed.set)


def _watched(chain: Chain) -> list[Node]:
    return [node for node in network.nodes(chain.world) if node.type == "SL"] if chain.height >= 0 else []


def _nobody_holds(training: Training) -> bool:
    result = training.result
    present = [member.uid for member in training.members.values() if member.present]
    return result is not None and bool(present) and all(uid in result.missing for uid in present)
