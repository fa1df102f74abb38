"""The watchdog: turns what the leases show into transactions.

What there is to propose is known to the kinds of contracts (`Contract.proposals`): that a node is lost or back, that a
result is void or settled, that a leader makes no progress. The contracts judge, too: a proposal that is stale or made
twice is refused and does no harm. The lease of a node that has left is ended.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import NamedTuple

from swarmlearning.ledger.bodies import Body
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import Proposal
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World
from swarmlearning.ordering.protocols import Lease, OrderingError, Presence
from swarmlearning.sn.miner import Miner

logger = logging.getLogger("swarm.presence")

GRACE_SECONDS = 3.0
"""For so long after this SN has learned of a node's start, the node needs no lease: its first heartbeats are on their
way, and a reading of the leases that began before them shows none."""
RETRY_SECONDS = 1.0
"""Until a proposal is made again that could not be recorded."""

Propose = Callable[[str, Body, Chain], Awaitable[int]]
"""Signs and submits a transaction of this SN: (contract, body, the chain that it follows from)."""


class _Presence(NamedTuple):
    """Who is present by these leases, by UID, until one of these nodes needs a lease that needed none before."""

    nodes: tuple[Node, ...]
    leases: dict[str, Lease]
    until: float
    live: dict[str, int]


class Judgement:
    """The conclusions of the SN `uid` from leases and chain. Pure: `now` is in seconds of any clock that never goes
    back. What follows from the same facts is found once: an SN judges several times a block."""

    def __init__(self, uid: str) -> None:
        self._uid = uid
        self._known: tuple[Node, ...] = ()
        self._starts: dict[tuple[str, int], float] = {}
        self._noted: list[Proposal] | None = None
        self._seen: dict[tuple[str, Body], float] = {}
        self._presence: _Presence | None = None
        self._judged: tuple[World, dict[str, int]] | None = None
        self._found: list[Proposal] = []

    def hear(self, chain: Chain, leases: Mapping[str, Lease], now: float) -> None:
        """Notes when each node started, and since when each proposal has stood that is due only after a while."""
        known = network.watched(chain.world)
        if known is not self._known:
            starts = [(node.uid, node.incarnation) for node in known]
            self._known, self._starts = known, {start: self._starts.get(start, now) for start in starts}
        found = self._all(chain, leases, now)
        if found is not self._noted:
            due_later = [(each.contract, each.body) for each in found if each.after_seconds]
            self._noted, self._seen = found, {reason: self._seen.get(reason, now) for reason in due_later}

    def proposals(self, chain: Chain, leases: Mapping[str, Lease], now: float) -> Iterator[Proposal]:
        """All transactions to propose now."""
        for proposal in self._all(chain, leases, now):
            if not proposal.noted and self._left(proposal, now) == 0:
                yield proposal

    def seconds_left(self, chain: Chain, leases: Mapping[str, Lease], now: float) -> float | None:
        """Until a proposal may be due that is not yet; None where there is none."""
        waits = [self._left(proposal, now) for proposal in self._all(chain, leases, now) if not proposal.noted]
        waits += [self._grace_ends(start, now) - now for start in self._starts if start[0] not in leases]
        return min((wait for wait in waits if wait is not None and wait > 0), default=None)

    def _all(self, chain: Chain, leases: Mapping[str, Lease], now: float) -> list[Proposal]:
        """All proposals that follow from these facts, due or not; found anew only for another world or presence."""
        live = self._live(chain.world, leases, now)
        if self._judged is None or self._judged[0] is not chain.world or self._judged[1] != live:
            self._judged = chain.world, live
            self._found = [each for kind in chain.rules.kinds for each in kind.proposals(chain.world, live, self._uid)]
        return self._found

    def _live(self, world: World, leases: Mapping[str, Lease], now: float) -> dict[str, int]:
        """The incarnations of the nodes that are present, by UID."""
        nodes, before = network.watched(world), self._presence
        if before is not None and before.nodes is nodes and before.leases == leases and now < before.until:
            return before.live
        live, until = {uid: lease.incarnation for uid, lease in leases.items()}, math.inf
        for node in nodes:
            if node.alive and now < (end := self._grace_ends((node.uid, node.incarnation), now)):
                live[node.uid] = node.incarnation
                until = min(until, end)
        self._presence = _Presence(nodes, dict(leases), until, live)
        return live

    def _grace_ends(self, start: tuple[str, int], now: float) -> float:
        """The time from which a node needs a lease after this start."""
        return self._starts.get(start, now) + GRACE_SECONDS

    def _left(self, proposal: Proposal, now: float) -> float | None:
        """Seconds until the proposal is due; None for one that `hear` has yet to note."""
        if not proposal.after_seconds:
            return 0.0
        since = self._seen.get((proposal.contract, proposal.body))
        return None if since is None else max(0.0, since + proposal.after_seconds - now)


class Watchdog:
    """Watches presence and chain of the SN `uid`."""

    def __init__(self, uid: str, miner: Miner, presence: Presence, propose: Propose, votes: Callable[[], bool]) -> None:
        self._uid = uid
        self._miner = miner
        self._presence = presence
        self._propose = propose
        self._votes = votes
        self._judgement = Judgement(uid)
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
            self._judgement.hear(self._miner.chain, self._leases, asyncio.get_running_loop().time())
            self._changed.set()

    async def _reconcile(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._changed.wait()
            self._changed.clear()
            chain = self._miner.chain
            if not self._votes():  # without a vote this SN does not know who is present, and nobody must wait for it
                if statement := network.abstention(chain.world, self._uid):
                    await self._record(statement, chain)
                continue
            self._judgement.hear(chain, self._leases, loop.time())
            for proposal in self._judgement.proposals(chain, self._leases, loop.time()):
                await self._record(proposal, chain)
            await self._end_leases(chain)
            if rest := self._judgement.seconds_left(chain, self._leases, loop.time()):
                loop.call_later(rest, self._changed.set)

    async def _end_leases(self, chain: Chain) -> None:
        for node in network.departed(chain.world):
            lease = self._leases.get(node.uid)
            if lease is not None and lease.incarnation == node.incarnation:
                try:
                    await self._presence.leave(node.uid, node.incarnation)
                except OrderingError as error:
                    logger.debug("the lease of %s, which has left, runs out by itself: %s", node.name, error)

    async def _record(self, proposal: Proposal, chain: Chain) -> None:
        try:
            await self._propose(proposal.contract, proposal.body, chain)
            level = logging.INFO if proposal.good_news else logging.WARNING
            logger.log(level, "%s", proposal.what, extra={"contract": proposal.contract})
        except Rejection as rejection:
            logger.debug("%s: %s", proposal.what, rejection)
            if proposal.after_seconds:  # in time of the chain it was too early
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._changed.set)
        except OrderingError as error:
            logger.error("cannot record that %s: %s", proposal.what, error)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._changed.set)
