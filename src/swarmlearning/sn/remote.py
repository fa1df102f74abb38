"""Ordering and presence through another SN's API, for an SN that has no vote.

A newcomer, a spare, or an SN whose member is being started again takes transactions, judges them and seals blocks
itself; only the compare-and-swap is done by a voter.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.backoff import Backoff
from swarmlearning.ledger.block import follows
from swarmlearning.ledger.canonical import sha256
from swarmlearning.ledger.codes import Code
from swarmlearning.ordering.local import LocalLog
from swarmlearning.ordering.protocols import ConflictError, Head, Lease, OrderingError

logger = logging.getLogger("swarm.ordering")

Others = Callable[[], Sequence[SnClient]]
"""The other SNs' APIs, the likeliest to answer first."""


class RemoteLog:
    """`Log` through another SN, over this SN's own chain file."""

    def __init__(self, file: LocalLog, others: Others) -> None:
        self._file = file
        self._others = others
        self._held: dict[int, bytes] = {}
        self._dropped = asyncio.Event()

    async def head(self) -> Head:
        """The newest entry known here."""
        return await self._file.head()

    async def append(self, expected: Head, entry: bytes) -> Head:
        """Sends the entry to the others in turn. Raises `ConflictError`, or `OrderingError` when none can order it."""
        reasons = []
        for client in self._others():
            try:
                head = Head(*await client.append(expected.height, expected.hash, entry))
            except Unavailable as error:
                reasons.append(str(error))
            except Refusal as refusal:
                if refusal.code == Code.CONFLICT:
                    raise ConflictError(refusal.detail) from refusal
                reasons.append(str(refusal))
            else:
                if head == Head(expected.height + 1, sha256(entry)):
                    await self._store(head.height, entry)
                    return head
                reasons.append(f"SN {client.address} reports another head than the block that it was to order")
        raise OrderingError(f"no other SN can order now: {'; '.join(reasons) or 'none is known'}")

    async def read(self, start: int, limit: int) -> list[bytes]:
        """Entries of the chain file, which `run` keeps up to date."""
        entries = await self._file.read(start, limit)
        if entries and entries[0] == self._held.get(start):
            await self._file.pass_over(start)
            return []
        return entries

    async def pass_over(self, height: int) -> None:
        """Drops it from the chain file; the SN that orders for this one passes it over too. Another SN is followed."""
        self._held.clear()
        await self._file.pass_over(height)
        self._dropped.set()

    async def hold(self, height: int) -> None:
        """Drops it from the chain file; another SN is followed, which may have another block there."""
        held = await self._file.read(height, 1)
        await self.pass_over(height)
        self._held = dict(enumerate(held, height))

    async def release(self, height: int) -> None:
        """Stores it again."""
        if (entry := self._held.pop(height, None)) is not None:
            await self._store(height, entry)

    async def wait_for_append(self, height: int) -> None:
        """Waits for the chain file to grow."""
        await self._file.wait_for_append(height)

    async def run(self) -> None:
        """Copies the others' blocks into the chain file until cancelled; the miner judges each as it reads it."""
        attempts = Backoff()
        async for _ in attempts:
            for client in self._others():
                self._dropped.clear()
                copying = asyncio.ensure_future(self._copy(client, attempts))
                dropped = asyncio.ensure_future(self._dropped.wait())
                try:
                    await asyncio.wait((copying, dropped), return_when=asyncio.FIRST_COMPLETED)
                    if copying.done():
                        copying.result()
                finally:
                    for task in (copying, dropped):
                        task.cancel()
                    await asyncio.gather(copying, dropped, return_exceptions=True)

    async def _copy(self, client: SnClient, attempts: Backoff) -> None:
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
        """Stores an entry, unless the other way here, `run` or `append`, was faster."""
        head = await self._file.head()
        if head.height + 1 == height:
            if not follows(entry, height, head.hash):
                raise OrderingError(f"an SN offers another block {height} than one that follows this SN's chain")
            with suppress(ConflictError):
                await self._file.append(head, entry)


class RemotePresence:
    """`Presence` through another SN: passes heartbeats on. Only voters watch leases."""

    def __init__(self, others: Others) -> None:
        self._others = others

    async def announce(self, lease: Lease) -> None:
        """Renews the lease with the first SN that answers. Raises `OrderingError` when none does."""
        reasons = []
        for client in self._others():
            try:
                await client.announce(*lease)
                return
            except (Unavailable, Refusal) as error:
                reasons.append(str(error))
        raise OrderingError(f"no other SN accepts the heartbeat: {'; '.join(reasons) or 'none is known'}")

    async def leave(self, uid: str, incarnation: int) -> None:
        """The lease runs out by itself."""

    async def observe(self) -> AsyncIterator[dict[str, Lease]]:
        """Nothing: this SN has no part in watching."""
        await asyncio.Event().wait()
        yield {}
