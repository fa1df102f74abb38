"""Nodes that only send transactions: each with a UID and a connection of its own, all with the certificate of one host.

They take an SN's word for its head, instead of verifying the chain as real nodes do: on real sites that work is done on
other machines.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence
from time import perf_counter

from swarmlearning.api.client import SnClient
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.bodies import Announce, Body, Register
from swarmlearning.ledger.chain import RULES_VERSION, Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.state import Network
from swarmlearning.ledger.world import World
from swarmlearning.node.sender import Author

REFRESH_SECONDS = 1.0
"""The interval at which the head is read: a transaction refers to a block that is at most 1024 heights back."""


WORLD = World().with_entries({"network": Network("", "", 0, RULES_VERSION)})
"""All that must be known of a head to sign for it: the rules in force."""


class Anchorage:
    """The head that transactions refer to, as one SN reports it."""

    def __init__(self, sn: SnClient) -> None:
        self._sn = sn
        self.head = Chain()

    async def refresh(self) -> None:
        """Asks once."""
        status = await self._sn.status()
        self.head = Chain(network_id=status["network_id"], height=status["height"], hash=status["hash"], world=WORLD)

    async def run(self) -> None:
        """Asks again and again, until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self.refresh()


class Client:
    """One node and the SN it talks to. An SWCI: nobody waits for its heartbeats."""

    def __init__(self, uid: str, name: str, identity: Identity, sn: SnClient, anchorage: Anchorage) -> None:
        self.sn = sn
        self._author = Author(identity.signer(), uid, incarnation=1)
        self._registration = Register("SWCI", name, to_pem(identity.certificate), "0")
        self._anchorage = anchorage
        self._said = 0

    async def register(self) -> int:
        """Becomes a node of the network; the height of the block."""
        return await self._say(self._registration)

    async def commit(self) -> int:
        """Signs one transaction and sends it; returns its height once it is on the chain."""
        self._said += 1
        return await self.announce({"fs": f"bench:{1 + self._said % 60_000}"})

    async def announce(self, addresses: dict[str, str]) -> int:
        """The same with these addresses."""
        return await self._say(Announce(addresses))

    async def commit_until(self, end: float) -> int:
        """One transaction after another until `perf_counter` shows `end`; how many."""
        before = self._said
        while perf_counter() < end:
            await self.commit()
        return self._said - before

    async def _say(self, body: Body) -> int:
        return await self.sn.submit(self._author.write(self._anchorage.head, network.CONTRACT, body).raw)


@contextlib.asynccontextmanager
async def clients(identity: Identity, addresses: Sequence[str], count: int, name: str) -> AsyncIterator[list[Client]]:
    """`count` registered nodes `name-0`, `name-1`, …, spread over the SNs at these addresses."""
    async with contextlib.AsyncExitStack() as stack:
        tls = client_context(identity)
        anchorage = Anchorage(await stack.enter_async_context(SnClient(addresses[0], tls)))
        await anchorage.refresh()
        made: list[Client] = []
        for number in range(count):  # in turn: of very many that begin to connect at once an SN drops the oldest
            sn = await stack.enter_async_context(SnClient(addresses[number % len(addresses)], tls))
            made.append(Client(str(uuid.uuid4()), f"{name}-{number}", identity, sn, anchorage))
            await made[-1].register()
        async with asyncio.TaskGroup() as tasks:
            refreshing = tasks.create_task(anchorage.run())
            yield made
            refreshing.cancel()
