"""The watchdog: turns what the leases show into transactions.

A node whose lease is gone is proposed as lost, one whose lease is there again as back; a result that every live member
misses is proposed as void. A member's report that a leader makes no progress is seconded when this SN, too, has not
heard of that leader for a while: so two members are enough to replace one of them. The contracts judge: a proposal
that is stale or made twice is refused and does no harm. The lease of a node that has left is ended.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from swarmlearning.ledger.bodies import Back, Body, Depose, Lost, Void
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
QUIET_SECONDS = 12.0
"""How long a leader must have been quiet for this SN: longer than one at work is (`rounds/settings.py`)."""

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
        self._heard: dict[str, tuple[Depose, float]] = {}
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
            self._hear(self._miner.chain)
            await self._grant(self._miner.chain)
            self._changed.set()

    def _hear(self, chain: Chain) -> None:
        """Notes since when each training's leader has been quiet, as the report that would be made of it."""
        now = asyncio.get_running_loop().time()
        for training in chain.world.area("training/", Training):
            report = _report(chain, training)
            if report is None:
                self._heard.pop(training.name, None)
            elif training.name not in self._heard or self._heard[training.name][0] != report:
                self._heard[training.name] = (report, now)

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
            await self._end_leases(chain)
            for training in chain.world.area("training/", Training):
                if _nobody_holds(training):
                    assert training.result is not None
                    number = training.result.closed.number
                    await self._say(training.name, Void(number), f"nobody holds the result of round {number}")
                if training.round is not None and training.round.no_progress:
                    await self._second(training)

    async def _second(self, training: Training) -> None:
        loop = asyncio.get_running_loop()
        report, since = self._heard.get(training.name, (None, 0.0))
        if report is None:
            return
        rest = since + QUIET_SECONDS - loop.time()
        if rest > 0:
            loop.call_later(rest, self._changed.set)
        else:
            await self._say(training.name, report, f"the leader of round {report.round} makes no progress")

    async def _end_leases(self, chain: Chain) -> None:
        for node in network.nodes(chain.world):
            lease = self._leases.get(node.uid)
            if node.type == "SL" and node.left and lease is not None and lease.incarnation == node.incarnation:
                try:
                    await self._presence.leave(node.uid, node.incarnation)
                except OrderingError as error:
                    logger.debug("the lease of %s, which has left, runs out by itself: %s", node.name, error)

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
    return [node for node in network.nodes(chain.world) if node.type == "SL" and not node.left]


def _report(chain: Chain, training: Training) -> Depose | None:
    """That the leader has made no progress since it spoke last; None where nobody leads."""
    current = training.round
    leader = network.node(chain.world, current.leader) if current else None
    if current is None or leader is None:
        return None
    seen = network.last_height(chain.world, leader.uid)
    return Depose(current.number, current.term, leader.incarnation, seen, "progress")


def _nobody_holds(training: Training) -> bool:
    result = training.result
    present = [member.uid for member in training.members.values() if member.present]
    return result is not None and bool(present) and all(uid in result.missing for uid in present)
