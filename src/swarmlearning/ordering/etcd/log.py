"""The log on etcd: one key for the head, one for each recent block; older blocks are in the SNs' chain files.

    /head            {"height": h, "hash": "…"}
    /block/<h>       the block's bytes, h in 16 digits

An append is one transaction: if the head still is what the sealer saw, it becomes the new block's, together with the
block itself. Every block read is stored in this SN's own chain file first, so etcd may forget it later.

The watch brings the blocks of others themselves, so that a new one costs this SN no question to etcd. Only what the
watch has missed is read from etcd, where the majority answers.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256

import msgspec

from swarmlearning.backoff import Backoff
from swarmlearning.ordering.etcd.gateway import EtcdUnavailableError, Gateway, KeyValue, Operation, put, value_is
from swarmlearning.ordering.local import LocalLog
from swarmlearning.ordering.protocols import EMPTY, ConflictError, Head, OrderingError

logger = logging.getLogger("swarm.etcd")

HEAD_KEY = b"/head"
BLOCK_PREFIX = b"/block/"
BLOCKS_END = b"/block0"
"""The key after all blocks."""
MAX_WATCHED = 16
"""Blocks that the watch has brought and that are not in the chain file yet; later ones are read."""

Archive = Callable[[int, int], Awaitable[list[bytes]]]
"""Blocks from a height on, at most so many, from the chain files of other SNs."""


class EtcdLog:
    """`Log` over one etcd member and this SN's chain file."""

    def __init__(self, gateway: Gateway, file: LocalLog, archive: Archive) -> None:
        self._gateway = gateway
        self._file = file
        self._archive = archive
        self._top = EMPTY.height
        self._watching = False
        self._watched: dict[int, bytes] = {}
        self._passed: dict[int, bytes] = {}
        """What stands at a height in etcd and was passed over: the next append replaces it."""
        self._held: dict[int, bytes] = {}
        """What stands at a height in etcd and is not read, unless it is replaced."""
        self._grown = asyncio.Condition()

    async def begin(self) -> None:
        """Sets the head of a cluster that has none yet to that of the chain file; heights continue."""
        head = await self._file.head()
        if head != EMPTY:
            await self._gateway.transact([value_is(HEAD_KEY, None)], [put(HEAD_KEY, _encode(head))])

    async def head(self) -> Head:
        """The newest entry, by agreement of the majority."""
        value = await self._gateway.get(HEAD_KEY)
        return _decode(value) if value is not None else EMPTY

    async def append(self, expected: Head, entry: bytes) -> Head:
        """Orders the entry after this SN's head and stores it in its chain file. Raises as `order` does."""
        await self.order(expected, entry)
        return await self._file.append(expected, entry)

    async def order(self, expected: Head, entry: bytes) -> Head:
        """One compare-and-swap, for this SN or one without a vote. After an unclear answer the log is read again.

        Raises `ConflictError`, or `OrderingError` while there is no majority.
        """
        head = Head(expected.height + 1, sha256(entry).hexdigest())
        conditions = await self._conditions(expected)
        try:
            done = await self._gateway.transact(
                conditions, [put(HEAD_KEY, _encode(head)), put(_key(head.height), entry)]
            )
        except EtcdUnavailableError:
            done = await self._gateway.get(_key(head.height)) == entry
            if not done and await self.head() == expected:
                raise
        if not done:
            self._top = max(self._top, head.height)
            raise ConflictError(f"height {head.height} is another SN's by now")
        return head

    async def _conditions(self, expected: Head) -> list[Operation]:
        """The head is as expected; or what was passed over stands after it, and then what follows counts for nothing.

        Raises `ConflictError` where the log has another block before it: an SN on a chain of its own replaces nothing.
        """
        passed = self._passed.get(expected.height + 1)
        if passed is None:
            return [value_is(HEAD_KEY, None if expected == EMPTY else _encode(expected))]
        before = await self._gateway.get(_key(expected.height))
        if before is not None and sha256(before).hexdigest() != expected.hash:
            raise ConflictError(f"block {expected.height} of the log is another one than this SN's")
        return [value_is(_key(expected.height + 1), passed), value_is(_key(expected.height), before)]

    async def read(self, start: int, limit: int) -> list[bytes]:
        """At most `limit` entries from `start` on: from the chain file, then from etcd, then from other SNs."""
        head = self._file.newest
        if start <= head.height:
            return await self._file.read(start, limit)
        unread = self._held.get(start) or self._passed.get(start)
        if start > head.height + 1 or (self._watching and start > self._top and unread is None):
            return []
        watched = self._watched.pop(start, None)
        entries = [watched] if watched is not None else await self._newer(start, limit)
        if entries and entries[0] == unread:
            return []
        try:
            for entry in entries:
                head = await self._file.append(head, entry)
        except ConflictError:  # the engine that was used before, or is used by now, has stored one of them meanwhile
            return await self._file.read(start, limit)
        return entries

    async def pass_over(self, height: int) -> None:
        """Drops the entry from the chain file; in etcd the next append replaces it."""
        if (entry := self._held.pop(height, None) or await self._dropped(height)) is not None:
            self._passed = {height: entry}

    async def hold(self, height: int) -> None:
        """Drops the entry from the chain file; in etcd it stays."""
        if (entry := await self._dropped(height)) is not None:
            self._held = {height: entry}

    async def release(self, height: int) -> None:
        """It is read from etcd again."""
        self._held.clear()
        self._top = max(self._top, height)

    async def _dropped(self, height: int) -> bytes | None:
        entries = await self._file.read(height, 1)
        if not entries:
            return None
        await self._file.pass_over(height)
        self._watched.clear()  # they follow it
        self._top = height - 1
        return entries[0]

    async def wait_for_append(self, height: int) -> None:
        """Waits until an entry above `height` is known to exist."""
        if self._file.newest.height > height:
            return
        async with self._grown:
            await self._grown.wait_for(lambda: self._top > height)

    async def run(self) -> None:
        """Watches the blocks until cancelled; reads the head each time a watch begins, for what was missed."""
        attempts = Backoff(0.05, 1.0)
        async for _ in attempts:
            try:
                async for changes in self._gateway.watch(BLOCK_PREFIX, BLOCKS_END):
                    attempts.reset()
                    await self._hear(changes or [KeyValue(_key((await self._first_head()).height), b"", 0)])
                    self._watching = True
            except OrderingError as error:
                logger.debug("%s", error)
            finally:
                self._watching = False

    async def _first_head(self) -> Head:
        """The head, when this SN begins to watch; it may have been killed in the middle of founding the cluster."""
        head = await self.head()
        if head == EMPTY:
            await self.begin()
        return head

    async def _hear(self, changes: Sequence[KeyValue]) -> None:
        """Notes new blocks; one without a value is only known to exist (or was deleted from etcd long ago)."""
        for change in changes:
            height = _height(change.key)
            if change.value and len(self._watched) < MAX_WATCHED:
                self._watched[height] = change.value
            self._top = max(self._top, height)
        self._watched = {at: entry for at, entry in self._watched.items() if at > self._file.newest.height}
        async with self._grown:
            self._grown.notify_all()

    async def prune(self, below: int) -> None:
        """Deletes the blocks below this height from etcd: every voter has them in its chain file."""
        await self._gateway.delete(_key(0), _key(below))

    async def _newer(self, start: int, limit: int) -> list[bytes]:
        stored = await self._gateway.range(_key(start), BLOCKS_END, min(limit, 32))
        if not stored:
            if (await self.head()).height >= start:
                return await self._archive(start, limit)
            return []
        if stored[0].key != _key(start):
            return await self._archive(start, min(limit, _height(stored[0].key) - start))
        return [found.value for found in stored]


def _key(height: int) -> bytes:
    return BLOCK_PREFIX + b"%016d" % height


def _height(key: bytes) -> int:
    return int(key[len(BLOCK_PREFIX) :])


def _encode(head: Head) -> bytes:
    return msgspec.json.encode({"height": head.height, "hash": head.hash})


def _decode(value: bytes) -> Head:
    fields = msgspec.json.decode(value)
    return Head(fields["height"], fields["hash"])
