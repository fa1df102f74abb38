"""Miners over a log in memory, for tests: what the log does can be scripted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from hashlib import sha256

from support.network import Ledger, read
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.ordering.local import LocalPresence
from swarmlearning.ordering.protocols import EMPTY, ConflictError, Head, OrderingError
from swarmlearning.sn.engine import LocalEngine
from swarmlearning.sn.miner import Miner

Step = Callable[[bytes], None]


class MemoryLog:
    """`Log` in memory. `script` holds what the next appends do before they are done: each a function of the entry."""

    def __init__(self, entries: list[bytes]) -> None:
        self.entries = entries
        self.script: list[Step] = []
        self._held: list[bytes] = []
        self._grown = asyncio.Condition()

    @property
    def _head(self) -> Head:
        return Head(len(self.entries) - 1, sha256(self.entries[-1]).hexdigest()) if self.entries else EMPTY

    async def head(self) -> Head:
        return self._head

    async def append(self, expected: Head, entry: bytes) -> Head:
        await asyncio.sleep(0)  # others may be faster
        if self.script:
            self.script.pop(0)(entry)
        if self._head != expected:
            raise ConflictError("somebody was faster")
        self.entries.append(entry)
        async with self._grown:
            self._grown.notify_all()
        return self._head

    async def read(self, start: int, limit: int) -> list[bytes]:
        await asyncio.sleep(0)
        return self.entries[start : start + limit]

    async def pass_over(self, height: int) -> None:
        del self.entries[height:]

    async def hold(self, height: int) -> None:
        self._held = self.entries[height:]
        del self.entries[height:]

    async def release(self, height: int) -> None:
        self.entries[height:] = self._held

    async def wait_for_append(self, height: int) -> None:
        async with self._grown:
            await self._grown.wait_for(lambda: len(self.entries) - 1 > height)


def full_disk(entry: bytes) -> None:
    """A step of a script: the log refuses."""
    raise OrderingError("the disk is full")


class Site:
    """A ledger with registered SLs `sl-0`, `sl-1`, …, continued by miners over `log`."""

    def __init__(self, sls: int = 1) -> None:
        self.ledger = Ledger()
        for index in range(sls):
            self.ledger.join(f"sl-{index}")
        self.ledger.join("sn-2", "SN")
        self.log = MemoryLog(self.ledger.blocks)

    def announcement(self, uid: str = "sl-0", address: str = "here:1") -> SignedTransaction:
        """A new transaction, valid on the chain as it was at the start."""
        return self.ledger.write(uid, network.CONTRACT, Announce({"fs": address}))

    def refused(self) -> SignedTransaction:
        """A transaction that no contract accepts."""
        self.ledger.actor("nobody", "SL")
        return self.ledger.write("nobody", network.CONTRACT, Announce({}))

    @asynccontextmanager
    async def miner(self, uid: str = "sn-1") -> AsyncIterator[Miner]:
        """A loaded miner at work."""
        miner = Miner(self.log, uid, self.ledger.actors[uid].signer, lambda: self.ledger.clock)
        await miner.load()
        work = asyncio.create_task(miner.run())
        try:
            yield miner
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work

    def committed(self) -> list[tuple[int, str]]:
        """Height and id of every transaction of the log, in order; no block of it is void."""
        chain, found = Chain(), list[tuple[int, str]]()
        for raw in self.log.entries:
            step = chain.append(raw)
            assert step.void is None
            chain = step.chain
            found += [(chain.height, signed.id) for signed in read(raw).transactions]
        return found


def engine_of(site: Site) -> LocalEngine:
    """The embedded engine over the site's log."""
    return LocalEngine(site.log, LocalPresence(1.0))
