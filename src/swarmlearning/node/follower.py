"""Following the chain: every block is verified and replayed here, and no SN is trusted for any of it."""

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.backoff import Backoff
from swarmlearning.errors import UserError
from swarmlearning.ledger.chain import Chain, ForkError, Step, UnsupportedRulesError
from swarmlearning.ledger.checkpoint import is_head
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.ledger.world import World
from swarmlearning.node.clocks import AheadError, NodeClock
from swarmlearning.node.equivocation import Seals
from swarmlearning.node.errors import NodeError, RefusedError
from swarmlearning.node.snpool import SnPool

logger = logging.getLogger("swarm.chain")

Pin = Callable[[str, str], None]
"""Called with hash and name of the network at block 0; raises `NodeError` when it is the wrong one."""
Seen = Callable[[Step], None]
"""Called with each verified block before others learn of it, in order, from the one after a checkpoint on."""


class _InvalidBlockError(Exception):
    """The SN in use has sent something that is no next block of this chain."""


class Follower:
    """A verified copy of the chain, kept up to date from whichever SN can be reached.

    It begins with the SNs named by hand and learns all others from the chain's node registry. `run` follows until
    cancelled; `chain` is the newest verified state, `chains` yields each change of it. An SN that sends an invalid
    block is not followed again while there is another one.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        tls: ssl.SSLContext,
        pin: Pin,
        known: Sequence[str] = (),
        seen: Seen = lambda step: None,
    ) -> None:
        """`known`: addresses of SNs from an earlier run, used until the chain names the SNs of today."""
        self.chain = Chain()
        self._named = tuple(addresses)
        self._pool = SnPool(tls, lambda: self.chain)
        self._pin = pin
        self._seen = seen
        self._advanced = asyncio.Condition()
        self._order = list(dict.fromkeys((*addresses, *known)))
        self._distrusted: set[str] = set()
        self._shortened: set[str] = set()
        self._judging = False
        self._turned = asyncio.Event()
        self._clock = NodeClock(lambda: self.clients)
        self.seals = Seals()

    @property
    def client(self) -> SnClient:
        """The SN in use."""
        return self._pool.client(self._order[0])

    @property
    def clients(self) -> list[SnClient]:
        """All SNs known."""
        return [self._pool.client(address) for address in self._order]

    def turn_to_next(self) -> SnClient:
        """Moves on to another SN; with one only, the same again."""
        self._order.append(self._order.pop(0))
        if not self._distrusted.issuperset(self._order):
            while self._order[0] in self._distrusted:
                self._order.append(self._order.pop(0))
        self._end_following()
        return self.client

    def _end_following(self) -> None:
        self._turned.set()
        self._turned = asyncio.Event()

    def leave(self, client: SnClient) -> None:
        """Moves on to another SN, if this one is in use and there is another: it does not do what it should."""
        if self.client is client and len(self._order) > 1:
            self.turn_to_next()

    @property
    def addresses(self) -> tuple[str, ...]:
        """All SNs known, the one in use first."""
        return tuple(self._order)

    async def turned(self) -> None:
        """Waits until another SN is used."""
        await self._turned.wait()

    def reconnect(self) -> None:
        """Gives up all connections to SNs, which are made anew: this machine has another address now."""
        self._pool.keep(())
        self._end_following()

    def judge_sns(self) -> None:
        """From now on an SN is left as soon as the ledger does not admit it: to be called once the chain is as far as
        the SN in use reported, for before that it may not know this SN yet."""
        self._judging = True
        self._leave_refused()

    async def close(self) -> None:
        """Closes all connections."""
        await self._pool.close()

    async def resume(self, chain: Chain) -> None:
        """Starts from a state that this node has verified before, if the SN in use has its head; else at block 0."""
        try:
            head = await self.client.block(chain.height)
        except (Unavailable, Refusal) as error:
            logger.warning("%s: the chain is replayed from block 0", error)
            return
        if not is_head(chain, head):
            logger.warning("The checkpoint does not belong to block %d: the chain is replayed", chain.height)
            return
        await self._advance(chain)
        self._learn_addresses()

    async def run(self) -> None:
        """Follows until cancelled, from SN to SN.

        Raises `NodeError` for a wrong network, when no SN is left that sends valid blocks, and when every SN refuses
        this node: its certificate was revoked, or its authority retired.
        """
        attempts, ahead = Backoff(longest=1.0), ""
        async for _ in attempts:
            height = self.chain.height
            client = self.client
            try:
                await self._follow(client)
            except (Unavailable, Refusal) as error:
                logger.warning("%s; trying again", error)
                self._require_old_blocks(client, error)
                if isinstance(error, Refusal) and await self._is_refused_by_all():
                    raise RefusedError(client.address, error.detail) from error
            except AheadError as error:
                if str(error) != ahead:
                    logger.error("%s", error)
                ahead = str(error)
            except _InvalidBlockError as error:
                self._distrusted.add(client.address)
                if self._distrusted.issuperset(self._order):
                    raise NodeError(str(error)) from error
                logger.error("%s; another SN is followed", error)
            if self.chain.height > height:
                attempts.reset()
            if self.client is client:
                self.turn_to_next()

    async def _follow(self, client: SnClient) -> None:
        """Follows one SN until another one is used. Raises `Unavailable`, `Refusal` or `_InvalidBlockError`."""
        streaming = asyncio.ensure_future(self._extend_from(client))
        turned = asyncio.ensure_future(self._turned.wait())
        try:
            await asyncio.wait((streaming, turned), return_when=asyncio.FIRST_COMPLETED)
            if streaming.done():
                streaming.result()
        finally:
            for task in (streaming, turned):
                task.cancel()
            await asyncio.gather(streaming, turned, return_exceptions=True)

    async def _extend_from(self, client: SnClient) -> None:
        async with aclosing(client.blocks(self.chain.height + 1)) as blocks:
            async for raw in blocks:
                await self._extend(raw, client.address)

    def _require_old_blocks(self, client: SnClient, error: UserError) -> None:
        """Raises `NodeError` when no SN has the blocks any more with which this node would go on."""
        if not isinstance(error, Refusal) or error.code != Code.ARCHIVED:
            self._shortened.discard(client.address)
            return
        self._shortened.add(client.address)
        if self._shortened.issuperset(self._order):
            raise NodeError(
                f"no SN has block {self.chain.height + 1}, with which this node would go on: {error.detail}. Ask an "
                "operator of an SN for its checkpoint file; then: swarm ledger restore FILE --sl --data-dir NEW"
            )

    async def _is_refused_by_all(self) -> bool:
        """True if every known SN refuses this node: one alone is not believed."""
        for address in self._order:
            try:
                await self._pool.client(address).status()
            except Refusal as refusal:
                if refusal.code == Code.NOT_ALLOWED:
                    continue
            except Unavailable:
                pass
            return False
        return True

    async def reached(self, height: int) -> Chain:
        """The chain once it is at least at this height."""
        async with self._advanced:
            await self._advanced.wait_for(lambda: self.chain.height >= height)
        return self.chain

    async def chains(self) -> AsyncGenerator[Chain, None]:
        """The newest chain now, and after every change; a slow reader skips states, never blocks the follower."""
        seen: Chain | None = None
        while True:
            async with self._advanced:
                while self.chain is seen:
                    await self._advanced.wait()
                seen = self.chain
            yield seen

    async def _extend(self, raw: bytes, sender: str) -> None:
        before = self.chain.world
        try:
            step = self.chain.append(raw)
        except UnsupportedRulesError as error:
            raise NodeError(str(error)) from error
        except (ForkError, MalformedError) as error:
            raise _InvalidBlockError(f"SN {sender} sent an invalid block: {error}") from error
        if self._clock.finds_ahead(self.chain, step):
            await self._clock.require_confirmed(self.chain, step)
        if step.void is not None:
            logger.error("block %d is void: %s", step.chain.height, step.void)
        if step.chain.height == 0:
            self._pin(step.chain.network_id, network.network(step.chain.world).name)
        self.seals.add(raw)
        self._seen(step)
        await self._advance(step.chain)
        if _sns(before) != _sns(step.chain.world):
            self._learn_addresses()
            if self._judging:
                self._leave_refused()

    def _leave_refused(self) -> None:
        if self._order[0] in self._pool.drop_refused():
            self.turn_to_next()

    async def _advance(self, chain: Chain) -> None:
        async with self._advanced:
            self.chain = chain
            self._advanced.notify_all()

    def _learn_addresses(self) -> None:
        wanted = dict.fromkeys([*self._named, *network.sn_addresses(self.chain.world)])
        kept = [address for address in self._order if address in wanted or address == self._order[0]]
        self._order = [*kept, *(address for address in wanted if address not in kept)]
        self._distrusted.intersection_update(self._order)
        self._pool.keep(self._order)


def _sns(world: World) -> tuple[object, ...]:
    """All that decides which SNs there are, and where: compared quickly while it is the same."""
    return network.nodes(world), world.area("quarantine/", network.Quarantine)
