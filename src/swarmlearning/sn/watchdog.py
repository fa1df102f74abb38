"""The watchdog: turns what the leases show into transactions.

A node whose lease is gone is proposed as lost, one whose lease is there again as back; a result that every live member
misses is proposed as void, a final one that every live member holds as settled. A member's report that a leader makes
no progress is seconded when this SN, too, has not heard of that leader for a while: so two members are enough to
replace one of them. The contracts judge: a proposal that is stale or made twice is refused and does no harm. The lease
of a node that has left is ended.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import NamedTuple

from swarmlearning.ledger.bodies import Back, Body, Depose, Lost, Settle, Void
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import Training, all_hold
from swarmlearning.ordering.protocols import Lease, OrderingError, Presence
from swarmlearning.sn.miner import Miner

logger = logging.getLogger("swarm.presence")

RETRY_SECONDS = 1.0
"""Until a proposal is made again that could not be recorded."""
QUIET_SECONDS = 12.0
"""How long a leader must have been quiet for this SN: longer than one at work is (`rounds/settings.py`)."""

Propose = Callable[[str, Body], Awaitable[int]]
"""Signs and submits a transaction of this SN: (contract, body)."""


class Proposal(NamedTuple):
    """What should be on the chain, and how people say it."""

    contract: str
    body: Body
    what: str


class Judgement:
    """What one SN makes of leases and chain. Pure: `now` is in seconds of any clock that never goes back."""

    def __init__(self) -> None:
        self._granted: set[tuple[str, int]] = set()
        self._heard: dict[str, tuple[Depose, float]] = {}

    def grants(self, chain: Chain) -> list[Lease]:
        """The leases to grant: a registration counts as the first heartbeat; so does a restart of this SN for the
        nodes it knows."""
        found = []
        for node in _watched(chain):
            start = (node.uid, node.incarnation)
            if start not in self._granted:
                self._granted = {known for known in self._granted if known[0] != node.uid} | {start}
                if node.alive:
                    found.append(Lease(*start, steps=0, moved=0))
        return found

    def hear(self, chain: Chain, now: float) -> None:
        """Notes since when each training's leader has been quiet, as the report that would be made of it."""
        for training in chain.world.area("training/", Training):
            report = _report(chain, training)
            if report is None:
                self._heard.pop(training.name, None)
            elif training.name not in self._heard or self._heard[training.name][0] != report:
                self._heard[training.name] = (report, now)

    def proposals(self, chain: Chain, leases: Mapping[str, Lease], now: float) -> Iterator[Proposal]:
        """All that should be said now."""
        for node in _watched(chain):
            lease = leases.get(node.uid)
            here = lease is not None and lease.incarnation == node.incarnation
            if node.alive and not here and (node.uid, node.incarnation) in self._granted:
                yield Proposal(network.CONTRACT, Lost(node.uid, node.incarnation), f"{node.name} is lost")
            elif here and not node.alive:
                yield Proposal(network.CONTRACT, Back(node.uid, node.incarnation), f"{node.name} is back")
        for training in chain.world.area("training/", Training):
            if training.result is not None and _nobody_holds(training):
                number = training.result.closed.number
                yield Proposal(training.name, Void(number), f"nobody holds the result of round {number}")
            if training.result is not None and training.over and not training.settled and all_hold(training):
                number = training.result.closed.number
                yield Proposal(training.name, Settle(number), f"all live members hold the result of {training.name}")
            if self.seconds_left(training, now) == 0:
                report = self._heard[training.name][0]
                yield Proposal(training.name, report, f"the leader of round {report.round} makes no progress")

    def seconds_left(self, training: Training, now: float) -> float | None:
        """Until a report against the leader would be seconded; None where there is none."""
        if training.round is None or not training.round.no_progress or training.name not in self._heard:
            return None
        return max(0.0, self._heard[training.name][1] + QUIET_SECONDS - now)


class Watchdog:
    """Watches presence and chain of one SN."""

    def __init__(self, miner: Miner, presence: Presence, propose: Propose, votes: Callable[[], bool]) -> None:
        self._miner = miner
        self._presence = presence
        self._propose = propose
        self._votes = votes
        self._judgement = Judgement()
        self._leases: dict[str, Lease] = {}
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
            self._judgement.hear(self._miner.chain, asyncio.get_running_loop().time())
            await self._grant(self._miner.chain)
            self._changed.set()

    async def _grant(self, chain: Chain) -> None:
        for lease in self._judgement.grants(chain):
            self._leases = {**self._leases, lease.uid: lease}  # known here before anybody tells us of it
            try:
                await self._presence.announce(lease)
            except OrderingError as error:
                logger.debug("no lease for %s yet: %s", lease.uid, error)

    async def _reconcile(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not self._votes():
                continue  # without a vote this SN cannot tell who is there
            chain = self._miner.chain
            for proposal in self._judgement.proposals(chain, self._leases, loop.time()):
                await self._say(proposal)
            await self._end_leases(chain)
            for training in chain.world.area("training/", Training):
                if rest := self._judgement.seconds_left(training, loop.time()):
                    loop.call_later(rest, self._changed.set)

    async def _end_leases(self, chain: Chain) -> None:
        for node in network.nodes(chain.world):
            lease = self._leases.get(node.uid)
            if node.type == "SL" and node.left and lease is not None and lease.incarnation == node.incarnation:
                try:
                    await self._presence.leave(node.uid, node.incarnation)
                except OrderingError as error:
                    logger.debug("the lease of %s, which has left, runs out by itself: %s", node.name, error)

    async def _say(self, proposal: Proposal) -> None:
        try:
            await self._propose(proposal.contract, proposal.body)
            logger.warning("%s", proposal.what)
        except Rejection as rejection:
            logger.debug("%s: %s", proposal.what, rejection)
        except OrderingError as error:
            logger.error("cannot record that %s: %s", proposal.what, error)
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
    missed = bool(present) and result is not None and all(uid in result.missing for uid in present)
    return missed and not training.settled
