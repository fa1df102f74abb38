"""Chooses the relay through which the file server of a node that nobody can connect to is reached, and announces it."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

from swarmlearning.backoff import Backoff
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.models.connections import reason
from swarmlearning.node.credentials import sn_fault
from swarmlearning.node.joining import Membership
from swarmlearning.node.sources import announced, relays
from swarmlearning.relay.callee import Callee
from swarmlearning.sl.remarks import is_called_unreachable

logger = logging.getLogger("swarm.SL")

LONGEST_PAUSE: Final = 5.0
NO_RELAY: Final = (
    "No SN of the network is a relay, so other sites cannot fetch models from this one: an SN is one when it is "
    "started with --sn-relay-port"
)


class Relayed:
    """`adopt` takes the connections of those who have called. `announced` is set once others can find this node."""

    def __init__(
        self, member: Membership, tls: ssl.SSLContext, uid: str, adopt: Callable[[socket.socket], None]
    ) -> None:
        self.announced = asyncio.Event()
        self._member = member
        self._uid = uid
        self._callee = Callee(tls, uid, adopt, lambda credential: sn_fault(self._chain, credential))
        self._address = ""  # the relay that this node has announced

    async def needed(self, contract: Callable[[], str]) -> None:
        """Waits until others cannot fetch from this node in the training of this name, and an SN is a relay."""
        async with aclosing(self._member.follower.chains()) as chains:
            async for chain in chains:
                state = state_of(chain.world, contract())
                if relays(chain.world) and is_called_unreachable(state, self._uid):
                    return

    async def run(self) -> None:
        """Works until cancelled, at one relay after another. Raises `NodeError` where the ledger refuses this node."""
        attempts, complained = Backoff(longest=LONGEST_PAUSE), False
        try:
            async for _ in attempts:
                offered = self._offered()
                if not offered and not complained:
                    logger.warning("%s", NO_RELAY)
                complained = not offered
                for address in offered:
                    if await self._stay_at(address):
                        attempts.reset()
                        break
        finally:
            self._callee.close()

    @property
    def _chain(self) -> Chain:
        return self._member.follower.chain

    def _offered(self) -> list[str]:
        """The relays of admitted SNs, the best first: the one in use, that of this node's SN, its organisation's."""
        world = self._chain.world
        own, used = network.node(world, self._uid), self._member.follower.client.address
        offers = relays(world)
        sns = [sn for sn in network.admitted(world) if sn.uid in offers]
        sns.sort(
            key=lambda sn: (
                offers[sn.uid] != self._address,
                sn.addresses.get("api") != used,
                own is None or sn.organisation != own.organisation,
            )
        )
        return [offers[sn.uid] for sn in sns]

    async def _stay_at(self, address: str) -> bool:
        """Can be called through this relay until that ends; False if it has not begun."""
        begun = False
        try:
            async with self._callee.kept(address) as kept:
                begun = True
                await self._announce(address)
                await self._until_over(kept, address)
        except OSError as error:
            logger.warning("Relay %s %s", address, "has ended the connection" if begun else reason(error))
        return begun

    async def _announce(self, address: str) -> None:
        if address != self._address:
            await self._member.announce(announced("", address))
            self._address = address
            logger.info("Others reach the file server through the relay %s", address)
        self.announced.set()

    async def _until_over(self, kept: "asyncio.Task[None]", address: str) -> None:
        """Returns when no SN offers this relay any more. Raises OSError when it is gone."""
        leaving = asyncio.create_task(self._no_more_offered(address))
        try:
            await asyncio.wait((kept, leaving), return_when=asyncio.FIRST_COMPLETED)
            if kept.done():
                kept.result()
        finally:
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)

    async def _no_more_offered(self, address: str) -> None:
        while address in relays(self._chain.world).values():
            await self._member.follower.reached(self._chain.height + 1)
