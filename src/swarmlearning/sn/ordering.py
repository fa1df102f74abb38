"""Which engine orders for this SN right now.

A voter orders through its own etcd member. Until it is one (a newcomer, a spare, one whose member is being started
again) an SN orders through another SN's API: it still takes transactions, judges them and seals blocks itself; only the
compare-and-swap is done there.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict
from typing import Protocol

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.backoff import Backoff
from swarmlearning.ledger.block import follows
from swarmlearning.ledger.codes import Code
from swarmlearning.ordering.etcd.gateway import Member
from swarmlearning.ordering.local import LocalLog, LocalPresence
from swarmlearning.ordering.protocols import ConflictError, Head, Lease, Log, OrderingError, Presence

logger = logging.getLogger("swarm.ordering")

Others = Callable[[], Sequence[SnClient]]
"""The other SNs' APIs, the likeliest to answer first."""


class RemoteLog:
    """`Log` through another SN, over this SN's own chain file."""

    def __init__(self, file: LocalLog, others: Others) -> None:
        self._file = file
        self._others = others

    async def head(self) -> Head:
        """The newest entry known here."""
        return await self._file.head()

    async def append(self, expected: Head, entry: bytes) -> Head:
        """Asks the others in turn. Raises `ConflictError`, or `OrderingError` when none can say."""
        reasons = []
        for client in self._others():
            try:
                height, block_hash = await client.append(expected.height, expected.hash, entry)
            except Unavailable as error:
                reasons.append(str(error))
            except Refusal as refusal:
                if refusal.code == Code.CONFLICT:
                    raise ConflictError(refusal.detail) from refusal
                reasons.append(str(refusal))
            else:
                await self._store(height, entry)
                return Head(height, block_hash)
        raise OrderingError(f"no other SN can order now: {'; '.join(reasons) or 'none is known'}")

    async def read(self, start: int, limit: int) -> list[bytes]:
        """Entries of the chain file, which `run` keeps up to date."""
        return await self._file.read(start, limit)

    async def wait_for_append(self, height: int) -> None:
        """Waits for the chain file to grow."""
        await self._file.wait_for_append(height)

    async def run(self) -> None:
        """Copies the others' blocks into the chain file until cancelled; the miner judges each as it reads it."""
        attempts = Backoff()
        async for _ in attempts:
            for client in self._others():
                height = (await self._file.head()).height
                try:
                    async with aclosing(client.blocks(height + 1)) as blocks:
                        async for raw in blocks:
                            height += 1
                            await self._store(height, raw)
                            attempts.reset()
                except (Unavailable, Refusal) as error:
                    logger.debug("%s", error)
                except OrderingError as error:
                    logger.error("%s", error)

    async def _store(self, height: int, entry: bytes) -> None:
        """Unless the other way here, `run` or `append`, was faster."""
        head = await self._file.head()
        if head.height + 1 == height:
            if not follows(entry, height, head.hash):
                raise OrderingError(f"an SN offers another block {height} than one that follows this SN's chain")
            with suppress(ConflictError):
                await self._file.append(head, entry)


class RemotePresence:
    """`Presence` through another SN: passes heartbeats on. Who watches leases is a voter."""

    def __init__(self, others: Others) -> None:
        self._others = others

    async def announce(self, lease: Lease) -> None:
        """Renews the lease with the first SN that answers. Raises `OrderingError` when none does."""
        reasons = []
        for client in self._others():
            try:
                await client.announce(*lease[:4], training=asdict(lease.training) if lease.training else None)
                return
            except (Unavailable, Refusal) as error:
                reasons.append(str(error))
        raise OrderingError(f"no other SN takes the heartbeat: {'; '.join(reasons) or 'none is known'}")

    async def leave(self, uid: str, incarnation: int) -> None:
        """The lease runs out by itself."""

    async def observe(self) -> AsyncIterator[dict[str, Lease]]:
        """Nothing: this SN has no part in watching."""
        await asyncio.Event().wait()
        yield {}


class Engine(Protocol):
    """How this SN orders and who else does: `LocalEngine`, or `Cluster` for etcd."""

    name: str
    switch: "Switch"

    @property
    def votes(self) -> bool:
        """Whether this SN orders itself."""
        ...

    async def run(self) -> None:
        """Looks after the engine until cancelled."""
        ...

    async def stop(self) -> None:
        """Stops it in good order."""
        ...

    async def order(self, expected: Head, entry: bytes) -> Head:
        """Orders an entry for another SN. Raises `ConflictError` or `OrderingError`."""
        ...

    async def remove(self, uid: str) -> None:
        """Ends the vote of an SN that asks for it. Raises `OrderingError`."""
        ...

    async def members(self) -> list[Member]:
        """The cluster's members; empty where there is none, or no majority."""
        ...

    async def leases(self) -> dict[str, Lease] | None:
        """The leases of those who are there; None where this SN cannot tell."""
        ...

    async def alarms(self) -> list[str]:
        """What is wrong with the engine, for an operator."""
        ...


class LocalEngine:
    """The embedded engine behind the same door as `Cluster`: one SN, nobody else to ask."""

    name = "local"
    votes = True

    def __init__(self, log: Log, presence: LocalPresence) -> None:
        self.switch = Switch(log, presence)
        self._presence = presence

    async def run(self) -> None:
        """There is nothing to look after."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """There is nothing to stop."""

    async def order(self, expected: Head, entry: bytes) -> Head:
        """Nobody else orders here."""
        raise OrderingError(LOCAL_ONLY)

    async def remove(self, uid: str) -> None:
        """There is no cluster."""
        raise OrderingError(LOCAL_ONLY)

    async def members(self) -> list[Member]:
        """There is no cluster."""
        return []

    async def leases(self) -> dict[str, Lease] | None:
        """The leases of those who are there."""
        return self._presence.leases()

    async def alarms(self) -> list[str]:
        """What is wrong ends this SN, with the reason."""
        return []


LOCAL_ONLY = (
    "this SN orders alone (--ordering local) and takes no second SN; stop it, install etcd (Debian, Ubuntu: apt-get "
    "install etcd-server) and start it again with --ordering etcd: its chain is carried over"
)


class Switch:
    """`Log` and `Presence` in one, by whichever engine is in use; may be changed at any time."""

    def __init__(self, log: Log, presence: Presence) -> None:
        self._log = log
        self._presence = presence
        self._changed = asyncio.Event()

    def use(self, log: Log, presence: Presence) -> None:
        """Goes on with another engine; whoever waits for growth or leases begins anew there."""
        self._log, self._presence = log, presence
        self._changed.set()
        self._changed = asyncio.Event()

    async def head(self) -> Head:
        """See `Log`."""
        return await self._log.head()

    async def append(self, expected: Head, entry: bytes) -> Head:
        """See `Log`."""
        return await self._log.append(expected, entry)

    async def read(self, start: int, limit: int) -> list[bytes]:
        """See `Log`."""
        return await self._log.read(start, limit)

    async def wait_for_append(self, height: int) -> None:
        """See `Log`; a change of the engine counts as a sign of growth."""
        changed = asyncio.ensure_future(self._changed.wait())
        growth = asyncio.ensure_future(self._log.wait_for_append(height))
        try:
            await asyncio.wait((changed, growth), return_when=asyncio.FIRST_COMPLETED)
            if growth.done():
                growth.result()
        finally:
            changed.cancel()
            growth.cancel()

    async def announce(self, lease: Lease) -> None:
        """See `Presence`."""
        await self._presence.announce(lease)

    async def leave(self, uid: str, incarnation: int) -> None:
        """See `Presence`."""
        await self._presence.leave(uid, incarnation)

    async def observe(self) -> AsyncIterator[dict[str, Lease]]:
        """See `Presence`; goes on with the new engine after a change."""
        while True:
            changed = asyncio.ensure_future(self._changed.wait())
            leases = self._presence.observe()
            following = asyncio.ensure_future(anext(leases))
            try:
                while True:
                    await asyncio.wait((changed, following), return_when=asyncio.FIRST_COMPLETED)
                    if changed.done():
                        break
                    yield following.result()
                    following = asyncio.ensure_future(anext(leases))
            finally:
                changed.cancel()
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
