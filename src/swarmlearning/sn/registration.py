"""An SN's own records on the ledger: the genesis if it founds the network, its registration, its addresses.

All of it is insisted on: without a majority it takes as long as it takes.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from swarmlearning import __version__
from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.backoff import Backoff
from swarmlearning.ledger.bodies import AddRoot, Announce, Body, Genesis, Leave, Register, Renew
from swarmlearning.ledger.chain import RULES_VERSION, Chain
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.node.errors import NodeError
from swarmlearning.node.organisations import Founding, founders
from swarmlearning.node.renewing import LiveIdentity
from swarmlearning.node.rooting import add_roots
from swarmlearning.node.sender import Author
from swarmlearning.ordering.protocols import OrderingError
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.remote import Others

logger = logging.getLogger("swarm.SN")

REACH_SECONDS = 20.0
"""A block that another SN has named is here by then, or the next SN is tried."""


class Registration:
    """The records of one start of an SN called `name`, sealed by its own miner whenever the ledger admits that."""

    def __init__(
        self, name: str, own: LiveIdentity, founding: Founding, author: Author, miner: Miner, others: Others
    ) -> None:
        self._name = name
        self._founding = founding
        self._own = own
        self._identity = own.current  # this start registers with it, whatever comes meanwhile
        self._author = author
        self._miner = miner
        self._others = others
        self._sent: SignedTransaction | None = None

    async def found(self, network_name: str) -> None:
        """Writes block 0. Raises `Rejection`."""
        now_ms = time.time_ns() // 1_000_000
        genesis = Genesis(
            network_name=network_name,
            founder_name=self._name,
            organisations=self._founding.organisations
            or founders(self._identity.anchors, now_ms, self._identity.bundles),
            certificate=self._identity.bundle,
            version=__version__,
            rules_version=RULES_VERSION,
            created_ms=now_ms,
            policies=self._founding.policies,
        )
        logger.warning(
            "Founding a new network %r. Only its first SN does that: every other SN joins it with --sentinel-ip and "
            "the address of this one",
            network_name,
        )
        await self._miner.found(self._author.write(self._miner.chain, network.CONTRACT, genesis))

    async def take_place(self, addresses: Mapping[str, str]) -> None:
        """Registers this start and announces its addresses. Raises `NodeError` when the network refuses it."""
        await self._retry_until_accepted(self._register)
        known = network.node(self._miner.chain.world, self._author.uid)
        if known is None or known.addresses != addresses:
            await self._retry_until_accepted(lambda: self.propose(network.CONTRACT, Announce(dict(addresses))))
        for lost in self._predecessors(addresses):
            logger.warning("SN %s was at this address with the same certificate: it is recorded as left", lost.uid)
            await self._retry_until_accepted(partial(self._leave_for, lost))

    def _predecessors(self, addresses: Mapping[str, str]) -> list[Node]:
        """The SNs that this one has replaced: of the same identity, at one of its addresses, with other data."""
        world = self._miner.chain.world
        me = network.node(world, self._author.uid)
        return [
            known
            for known in network.nodes(world)
            if me is not None
            and (known.type, known.subject, known.left) == ("SN", me.subject, False)
            and known.uid != me.uid
            and known.addresses.items() & addresses.items()
        ]

    async def _leave_for(self, lost: Node) -> None:
        """Records that a predecessor has left, in its own name: what one identity may, it may for all its nodes."""
        world = self._miner.chain.world
        author = Author(self._identity.signer(), lost.uid, lost.incarnation, network.last_sequence(world, lost.uid))
        await self._miner.submit(author.write(self._miner.chain, network.CONTRACT, Leave()).raw)

    async def follow_identity(self, placed: "asyncio.Task[None]") -> None:
        """Follows the identity from the registration on, which names the certificate that this SN was started with."""
        await asyncio.wait((placed,))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._own.follow(self._author, self._miner, self._insist))
            tasks.create_task(add_roots(self._own.source, self._author.uid, self._miner, self._insist))

    async def _insist(self, body: Renew | AddRoot) -> str:
        """Puts a record of this SN's identity on the ledger; returns the reason where that refuses it."""
        async for _ in Backoff(longest=3.0):
            try:
                await self.propose(network.CONTRACT, body)
                break
            except OrderingError as error:
                logger.warning("%s; trying again", error)
            except Rejection as rejection:
                return rejection.detail
        return ""

    async def propose(self, contract: str, body: Body, chain: Chain | None = None) -> int:
        """Signs and submits what follows from `chain` (None: whatever it is); returns the height of the block.

        Raises `Rejection` or `OrderingError`.
        """
        return await self._miner.submit(self._author.write(chain or self._miner.chain, contract, body).raw)

    async def _register(self) -> None:
        """Registers this start, through another SN while the ledger does not admit this one: it may not seal then.

        Sends the same bytes each time: after an unclear answer they may be on the chain already, or come there with a
        block that this SN has sealed and offers again.
        """
        world = self._miner.chain.world
        known = network.node(world, self._author.uid)
        admitted = known is not None and network.admits(world, known.uid)
        if admitted and known is not None and known.incarnation == self._author.incarnation:
            return
        body = Register("SN", self._name, self._identity.bundle, __version__, RULES_VERSION)
        self._sent = self._sent or self._author.write(self._miner.chain, network.CONTRACT, body)
        if not admitted:
            await self._register_through_others(self._sent)
            return
        try:
            await self._miner.submit(self._sent.raw)
        except Rejection as rejection:
            if rejection.code != Code.EXPIRED:
                raise
            self._sent = None
            raise OrderingError("the registration has expired, and is signed anew") from rejection

    async def _register_through_others(self, signed: SignedTransaction) -> None:
        """Sends the registration to one SN after the other. Raises `OrderingError` where none accepts it."""
        reasons, refusal = list[str](), None
        for client in self._others():
            try:
                await self._reach(await client.submit(signed.raw), client)
                return
            except Unavailable as error:
                reasons.append(str(error))
            except Refusal as refused:
                reasons.append(f"SN {client.address} refuses it: {refused}")
                if refused.code != Code.QUOTA:  # that passes by itself
                    refusal = refusal or refused
        # One SN's word does not end this one where there are others: the verified chain has to agree.
        if refusal is not None and (len(reasons) == 1 or self._miner.chain.refusal(signed)):
            raise NodeError(f"the network refuses this SN: {refusal}") from refusal
        raise OrderingError(f"no other SN registers this one: {'; '.join(reasons) or 'none is known'}")

    async def _reach(self, height: int, client: SnClient) -> None:
        """Waits for the block that an SN has named. Raises `Unavailable` when it does not come."""
        try:
            async with asyncio.timeout(REACH_SECONDS):
                await self._miner.reached(height)
        except TimeoutError:
            text = f"SN {client.address} has named block {height}, which does not come"
            raise Unavailable(text) from None

    async def _retry_until_accepted(self, send: Callable[[], Awaitable[object]]) -> None:
        async for _ in Backoff(longest=3.0):
            try:
                await send()
                return
            except OrderingError as error:
                logger.warning("%s; trying again", error)
            except Rejection as rejection:
                raise NodeError(f"the network refuses this SN: {rejection}") from rejection
