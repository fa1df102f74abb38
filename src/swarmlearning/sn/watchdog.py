"""The watchdog: turns what the leases show into transactions.

What there is to propose is known to the kinds of contracts (`Contract.proposals`): that a node is lost or back, that a
result is void or settled, that a leader makes no progress. The contracts judge, too: a proposal that is stale or made
twice is refused and does no harm. The lease of a node that has left is ended.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping

from swarmlearning.ledger.bodies import Body
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import Proposal
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.world import World
from swarmlearning.ordering.protocols import Lease, OrderingError, Presence
from swarmlearning.sn.miner import Miner

logger = logging.getLogger("swarm.presence")

RETRY_SECONDS = 1.0
"""Until a proposal is made again that could not be recorded."""

Propose = Callable[[str, Body], Awaitable[int]]
"""Signs and submits a transaction of this SN: (contract, body)."""


class Judgement:
    """The conclusions of one SN from leases and chain. Pure: `now` is in seconds of any clock that never goes back."""

    def __init__(self) -> None:
        self._granted: set[tuple[str, int]] = set()
        self._seen: dict[tuple[str, type[Body]], tuple[Body, float]] = {}
        self._judged: tuple[World, dict[str, int]] | None = None
        self._found: list[Proposal] = []

    def grants(self, chain: Chain) -> list[Lease]:
        """The leases to grant: a registration counts as the first heartbeat; so does a restart of this SN for the
        nodes it knows."""
        found = []
        for node in network.watched(chain.world):
            start = (node.uid, node.incarnation)
            if start not in self._granted:
                self._granted = {known for known in self._granted if known[0] != node.uid} | {start}
                if node.alive:
                    found.append(Lease(*start, progress=0, moved=0))
        return found

    def hear(self, chain: Chain, leases: Mapping[str, Lease], now: float) -> None:
        """Notes the time since when each proposal has stood that is due only after a while."""
        seen = {}
        for proposal in self._all(chain, leases):
            if proposal.after_seconds:
                key = (proposal.contract, type(proposal.body))
                known = self._seen.get(key)
                seen[key] = known if known and known[0] == proposal.body else (proposal.body, now)
        self._seen = seen

    def proposals(self, chain: Chain, leases: Mapping[str, Lease], now: float) -> Iterator[Proposal]:
        """All transactions to propose now."""
        for proposal in self._all(chain, leases):
            if not proposal.noted and self._left(proposal, now) == 0:
                yield proposal

    def seconds_left(self, chain: Chain, leases: Mapping[str, Lease], now: float) -> float | None:
        """Until the next proposal is due that is not yet; None where there is none."""
        waits = [self._left(proposal, now) for proposal in self._all(chain, leases) if not proposal.noted]
        return min((wait for wait in waits if wait is not None and wait > 0), default=None)

    def _all(self, chain: Chain, leases: Mapping[str, Lease]) -> list[Proposal]:
        """All proposals that follow from these facts, due or not; found anew only for another world or presence."""
        live = self._live(chain.world, leases)
        if self._judged is None or self._judged[0] is not chain.world or self._judged[1] != live:
            self._judged = chain.world, live
            self._found = [each for kind in chain.rules.kinds for each in kind.proposals(chain.world, live)]
        return self._found

    def _live(self, world: World, leases: Mapping[str, Lease]) -> dict[str, int]:
        """The incarnations of the nodes that are present, by UID."""
        live = {uid: lease.incarnation for uid, lease in leases.items()}
        for node in network.watched(world):
            if node.alive and (node.uid, node.incarnation) not in self._granted:
                live[node.uid] = node.incarnation  # its time has not begun yet
        return live

    def _left(self, proposal: Proposal, now: float) -> float | None:
        """Seconds until the proposal is due; None for one that `hear` has yet to note."""
        if not proposal.after_seconds:
            return 0.0
        known = self._seen.get((proposal.contract, type(proposal.body)))
        if known is None or known[0] != proposal.body:
            return None
        return max(0.0, known[1] + proposal.after_seconds - now)


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
            self._judgement.hear(self._miner.chain, self._leases, asyncio.get_running_loop().time())
            await self._grant(self._miner.chain)
            self._changed.set()

    async def _grant(self, chain: Chain) -> None:
        for lease in self._judgement.grants(chain):
            self._leases = {**self._leases, lease.uid: lease}  # known here before any observation reports it
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
                continue  # without a vote this SN does not know who is present
            chain = self._miner.chain
            self._judgement.hear(chain, self._leases, loop.time())
            for proposal in self._judgement.proposals(chain, self._leases, loop.time()):
                await self._record(proposal)
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

    async def _record(self, proposal: Proposal) -> None:
        try:
            await self._propose(proposal.contract, proposal.body)
            logger.log(logging.INFO if proposal.good_news else logging.WARNING, "%s", proposal.what)
        except Rejection as rejection:
            logger.debug("%s: %s", proposal.what, rejection)
        except OrderingError as error:
            logger.error("cannot record that %s: %s", proposal.what, error)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._changed.set)
