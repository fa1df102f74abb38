"""The ordered log, who is present, and the SNs: a simple model around the real chain, contracts and watchdog.

The log is durable and gives each height to one transaction; whether an SN can use it depends on who else is up. Leases
are kept as etcd (several SNs) or one SN's memory keeps them. What an SN makes of them is the real `Judgement`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from simulation.life import Living
from simulation.unsigned import paper, papers, signed
from support.uids import accept_names
from swarmlearning.choices import DEFAULT_CONTRACT
from swarmlearning.ledger.bodies import Anchor, Body, Genesis, NewOrganisation, Register
from swarmlearning.ledger.chain import RULES_VERSION, Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import Proposal
from swarmlearning.ledger.contracts.network.recovery import quarantine_sealer
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.ledger.world import World
from swarmlearning.ordering.protocols import Lease
from swarmlearning.sn.watchdog import RETRY_SECONDS, Judgement

if TYPE_CHECKING:
    from simulation.swarm import Swarm

accept_names()
CONTRACT = DEFAULT_CONTRACT
FOUNDER = "simulated"
"""The organisation of all SNs, and of the sites where they have none of their own."""
LEASE_SECONDS = 2.5
BEAT_SECONDS = 1.2
BEGIN_MS = 365 * 24 * 3_600_000
"""Milliseconds from the time at which the certificates begin to be valid until the swarm begins."""
PERSON = "somebody"
"""For whom every operator says that it acts."""
ORDER_SECONDS = 30.0
"""Seconds for which an SN tries to order a transaction."""

Answer = Callable[[int | Rejection | None, int], None]
"""(height, why not, or None for "cannot now"; the height that was judged on)."""


class Author:
    """Writes transactions of one node incarnation."""

    def __init__(self, log: "Log", kind: str, uid: str, incarnation: int, sequence: int = 0) -> None:
        self._log, self._kind = log, kind
        self.uid, self.incarnation = uid, incarnation
        self._sequence = sequence

    def write(self, chain: Chain, contract: str, body: Body) -> SignedTransaction:
        self._sequence += 1
        person = PERSON if self._kind.endswith("SWCI") else ""
        content = chain.compose(self.uid, self.incarnation, self._sequence, contract, body, person)
        return signed(content, self._kind, self._log.next_id())


class Log:
    """Every state of the chain, one transaction a block; the entry of a void block is None."""

    def __init__(self) -> None:
        self.chains: list[Chain] = []
        self.trainings: list[Training] = []
        self.entries: list[SignedTransaction | None] = []
        self.heights: dict[str, int] = {}
        self._ids = 0
        self._hashes: dict[int, str] = {}

    @property
    def head(self) -> Chain:
        return self.chains[-1]

    def training(self, height: int) -> Training:
        return self.trainings[height]

    @property
    def accepted(self) -> list[SignedTransaction]:
        """All transactions on the chain, in order."""
        return [entry for entry in self.entries if entry]

    def said(self) -> Counter[str]:
        """Counts the transactions by kind; those with a model also by its origin."""
        bodies = [entry.content.body for entry in self.accepted]
        return Counter(f"{type(one).__name__}{getattr(one, 'submission', '').title()}" for one in bodies)

    def next_id(self) -> str:
        self._ids += 1
        return str(self._ids)

    def found(self, author: Author) -> None:
        known = papers()
        founder = NewOrganisation(FOUNDER, "Simulated", (Anchor(known.authority),))
        genesis = Genesis("simulated", "SN-1", (founder,), known.pems["SN"], "0", RULES_VERSION, 0)
        self.append(author.write(Chain(), network.CONTRACT, genesis), 0)

    def append(self, entry: SignedTransaction, now_ms: int) -> int:
        """Returns the height of the entry, also when it is on the chain already. Raises `Rejection`."""
        if entry.id in self.heights:
            return self.heights[entry.id]
        before = self.head if self.chains else Chain(hashes=self._hashes)
        time_ms = before.next_time(papers().valid_from_ms + BEGIN_MS + now_ms)
        world = before.try_transaction(before.world, entry, time_ms)
        self._extend(before, world, time_ms, entry)
        self.heights[entry.id] = before.height + 1
        return before.height + 1

    def void(self, sealer: str) -> None:
        """Uses up a height for a block of this SN that breaks the rules."""
        before = self.head
        self._extend(before, quarantine_sealer(before.world, sealer, before.height + 1), before.time_ms, None)

    def _extend(self, before: Chain, world: World, time_ms: int, entry: SignedTransaction | None) -> None:
        height = before.height + 1
        self._hashes[height] = f"{height:064x}"
        network_id = before.network_id or self._hashes[0]
        self.chains.append(
            replace(
                before, network_id=network_id, height=height, hash=self._hashes[height], time_ms=time_ms, world=world
            )
        )
        self.trainings.append(state_of(world, CONTRACT))
        self.entries.append(entry)


class Presence:
    """Leases by UID, and the time at which each ends."""

    def __init__(self, swarm: "Swarm") -> None:
        self._swarm = swarm
        self.leases: dict[str, Lease] = {}
        self._ends: dict[str, float] = {}

    def renew(self, uid: str, incarnation: int) -> None:
        known = self.leases.get(uid)
        if known and known.incarnation > incarnation:
            return
        fresh = known is None or known.incarnation != incarnation
        if uid not in self._ends:
            self._swarm.clock.after(LEASE_SECONDS, lambda: self._look(uid))
        self._ends[uid] = self._swarm.clock.now + LEASE_SECONDS
        if fresh:
            self.leases = {**self.leases, uid: Lease(uid, incarnation, 0, 0)}
            self._swarm.leases_changed()

    def leave(self, uid: str) -> None:
        if uid in self.leases:
            self.leases = {known: lease for known, lease in self.leases.items() if known != uid}
            self._swarm.leases_changed()

    def extend(self) -> None:
        """Renews all leases, as when another SN begins to keep them."""
        for uid in self._ends:
            self._ends[uid] = self._swarm.clock.now + LEASE_SECONDS

    def forget(self) -> None:
        """Drops all leases, which were in one SN's memory."""
        self.leases = {}

    def _look(self, uid: str) -> None:
        left = self._ends[uid] - self._swarm.clock.now
        if left > 0:
            self._swarm.clock.after(left, lambda: self._look(uid))
        elif not self._swarm.can_order():
            self._swarm.clock.after(0.5, lambda: self._look(uid))  # who cannot order cannot end a lease either
        else:
            del self._ends[uid]
            self.leave(uid)


class Sn(Living):
    """One SN: accepts transactions, serves blocks, and runs the watchdog."""

    honest = True

    def __init__(self, swarm: "Swarm", name: str, skew_ms: int, organisation: str = FOUNDER) -> None:
        super().__init__(swarm.clock)
        self.swarm, self.name, self.skew_ms = swarm, name, skew_ms
        self.organisation = organisation
        self.paper = "SN" if organisation == FOUNDER else paper(organisation, "SN")
        self.author = Author(swarm.log, self.paper, name, 1)
        self.isolated = False
        self.height = -1
        self._judgement = Judgement(name)
        self._reconciling = False
        self.begin()
        self.at(0.0, self._beat)

    @property
    def works(self) -> bool:
        return self.alive and not self.frozen

    @property
    def joined(self) -> bool:
        """True while it works and the other SNs can reach it."""
        return self.alive and not self.frozen and not self.isolated

    @property
    def orders(self) -> bool:
        """True while it can order transactions."""
        return self.joined and self.swarm.can_order()

    def register(self) -> None:
        """Joins the network; the founder has joined by its genesis."""
        body = Register("SN", self.name, papers().pems[self.paper], "0")
        self.swarm.log.append(self.author.write(self.swarm.log.head, network.CONTRACT, body), 0)

    def restart(self) -> None:
        """Starts it again: its chain is on its disk; what it knew of leases is lost."""
        self.begin()
        self.at(0.0, self._beat)
        self._judgement, self._reconciling = Judgement(self.name), False
        self.advance()

    def _beat(self) -> None:
        """Renews its own lease, as far as the other SNs hear it."""
        if self.joined:
            self.swarm.presence.renew(self.name, self.author.incarnation)
        self.at(BEAT_SECONDS, self._beat)

    def take(self, entry: SignedTransaction, answer: Answer, until: float | None = None) -> None:
        """Receives a transaction; `answer` is called when it is judged, or cannot be."""
        until = until or self.swarm.clock.now + ORDER_SECONDS
        if not self.orders:
            if self.swarm.clock.now > until:
                answer(None, self.height)
            else:
                self.at(0.3, lambda: self.take(entry, answer, until))
            return
        try:
            height = self.swarm.append(entry, self)
        except Rejection as refusal:
            answer(refusal, len(self.swarm.log.chains) - 1)
        else:
            answer(height, height)

    def advance(self) -> None:
        """Notes all blocks there are, if it can see them."""
        if not self.joined:
            return
        self.height = len(self.swarm.log.chains) - 1
        chain = self.swarm.log.head
        self._judgement.hear(chain, self.swarm.presence.leases, self.time)
        self.swarm.shown(self)
        self.look()

    def look(self, seconds: float = 0.01) -> None:
        """Reconciles after a short delay."""
        if not self._reconciling:
            self._reconciling = True
            self.at(seconds, self._reconcile)

    def _reconcile(self) -> None:
        self._reconciling = False
        if not self.orders:
            self.look(RETRY_SECONDS)
            return
        chain, now = self.swarm.log.chains[self.height], self.time
        self._judgement.hear(chain, self.swarm.presence.leases, now)
        for proposal in self._judgement.proposals(chain, self.swarm.presence.leases, now):
            self.at(self.swarm.delay(), partial(self._propose, chain, proposal))
        if rest := self._judgement.seconds_left(chain, self.swarm.presence.leases, now):
            self.at(rest + 0.001, self.look)

    def _propose(self, chain: Chain, proposal: Proposal) -> None:
        """Submits what the watchdog proposed on this chain; the log may be ahead by then."""
        if not self.orders:
            self.look(RETRY_SECONDS)
            return
        try:
            self.swarm.append(self.author.write(chain, proposal.contract, proposal.body), self)
        except Rejection:
            pass  # stale or made twice
        else:
            self.swarm.note(self.name, proposal.what)
