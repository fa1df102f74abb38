"""The embedded engine: one SN, an SQLite file for the log, leases in memory.

The file is the SN's chain itself: a block is committed with `synchronous=FULL`, so it is on the disk before anybody
hears of it. One SN orders alone; a crash of it stops the network until it is started again, nothing is lost.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from swarmlearning.ordering.protocols import EMPTY, ArchivedError, ConflictError, Head, Lease, OrderingError

REMEDY = "Stop this SN; `swarm sn repair` fetches what is damaged from the other SNs. Without others restore a copy"

READ_BYTES = 256 * 1024
"""Enough of blocks for one read: many readers may read at the same time, and wait with what they have read."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS blocks (height INTEGER PRIMARY KEY, hash TEXT NOT NULL, raw BLOB NOT NULL) STRICT
"""


def open_chain_file(path: Path) -> sqlite3.Connection:
    """The SQLite connection of a chain file, made when missing. Raises `OrderingError` naming the file."""
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(SCHEMA)
        except sqlite3.Error:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise OrderingError(f"{path}: cannot open the chain file ({error})") from error
    return connection


def read_chain_file(path: Path) -> list[bytes]:
    """All blocks of a chain file. Raises as `iterate_chain_file` does."""
    return list(iterate_chain_file(path))


def iterate_chain_file(path: Path, start: int = 0) -> Iterator[bytes]:
    """The blocks of a chain file from block `start` on, for offline tools; the file is not changed.

    Raises `OrderingError` naming the first block that is missing, unreadable, or not the bytes that were stored.
    """
    height = start
    with _reading(path, lambda: height) as connection:
        for row in connection.execute(
            "SELECT height, hash, raw FROM blocks WHERE height >= ? ORDER BY height", (start,)
        ):
            yield _checked(path, height, *row)
            height += 1


def extent(path: Path) -> range:
    """The heights of the blocks in a chain file, which is not changed. Raises `OrderingError`."""
    with _reading(path, lambda: 0) as connection:
        [(first, last)] = connection.execute("SELECT MIN(height), MAX(height) FROM blocks").fetchall()
    return range(first, last + 1) if last is not None else range(0)


def shorten(path: Path, first: int) -> None:
    """Removes the blocks before `first` from the chain file of an SN that does not run, and frees their room.

    Raises `OrderingError`; then all blocks from `first` on are there.
    """
    connection = open_chain_file(path)
    try:
        connection.execute("DELETE FROM blocks WHERE height < ?", (first,))
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise OrderingError(f"{path}: cannot be shortened ({error}). Make room on its disk, and do it again") from error
    finally:
        connection.close()


@contextmanager
def _reading(path: Path, at: Callable[[], int]) -> Iterator[sqlite3.Connection]:
    """A chain file, to be read only; `at` is the height at which an `OrderingError` says that it cannot be read."""
    if not path.is_file():
        raise OrderingError(f"{path}: no such chain file; an SN's data directory and a run folder have one")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            yield connection
    except (sqlite3.Error, TypeError) as error:
        raise OrderingError(f"{path}: the chain file cannot be read at block {at()} ({error}). {REMEDY}") from error


def _checked(path: Path, expected: int, height: int, stored: str, raw: bytes) -> bytes:
    if height != expected:
        begins = (
            "" if expected else f", it begins at {height}: those before are in the file to which they were archived"
        )
        raise OrderingError(f"{path}: block {expected} is missing{begins}. {REMEDY}")
    if sha256(raw).hexdigest() != stored:
        raise OrderingError(f"{path}: block {height} has been altered since it was stored. {REMEDY}")
    return raw


class ChainWriter:
    """Writes a chain file, made when missing, after the block `after`; what follows that there is removed.

    Use as a context manager: what was added is on the disk after it, also where it ends by an error. Raises
    `OrderingError`.
    """

    TOGETHER = 256
    """Blocks of one commit."""

    def __init__(self, path: Path, after: int = -1) -> None:
        self._path = path
        self._after = after
        self._added = 0

    def __enter__(self) -> Self:
        self._connection = open_chain_file(self._path)
        self._do("DELETE FROM blocks WHERE height > ?", self._after)
        self._do("BEGIN IMMEDIATE")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._do("COMMIT")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._connection.close()

    def add(self, height: int, raw: bytes) -> None:
        """Adds the next block."""
        self._do("INSERT INTO blocks VALUES (?, ?, ?)", height, sha256(raw).hexdigest(), raw)
        self._added += 1
        if self._added % self.TOGETHER == 0:
            self._do("COMMIT")
            self._do("BEGIN IMMEDIATE")

    def _do(self, statement: str, *values: object) -> None:
        try:
            self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise OrderingError(f"{self._path}: cannot be written ({error}). Make room on its disk") from error


class LocalLog:
    """`Log` over one SQLite file."""

    def __init__(self, path: Path) -> None:
        """Opens the file, made when missing. Raises `OrderingError` naming it."""
        self._path = path
        self._connection = open_chain_file(path)
        # One thread does everything in turn: no reader sees a block before its commit, no close meets a commit.
        self._thread = ThreadPoolExecutor(1, "chain-file")
        try:
            self._newest, self._size = self._head(), self._measured()
            [self._first] = next(self._select("SELECT COALESCE(MIN(height), 0) FROM blocks"))
        except OrderingError:
            self.close()
            raise
        self._grown = asyncio.Condition()

    def close(self) -> None:
        """Closes the file, after the commit under way if there is one."""
        self._thread.shutdown()
        self._connection.close()

    @property
    def newest(self) -> Head:
        """The newest entry that was committed through this object, without a look at the file."""
        return self._newest

    def size(self) -> int:
        """Bytes of the file once all that is committed is in it; a checkpoint moves it there from the log beside it."""
        return self._size

    def _measured(self) -> int:
        [pages], [page] = next(self._select("PRAGMA page_count")), next(self._select("PRAGMA page_size"))
        return int(pages) * int(page)

    async def head(self) -> Head:
        """The newest entry."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._head)

    async def append(self, expected: Head, entry: bytes) -> Head:
        """Commits `entry` to the disk. Raises `ConflictError`, or `OrderingError` when the disk refuses."""
        head = await asyncio.get_running_loop().run_in_executor(self._thread, self._append, expected, entry)
        async with self._grown:
            self._grown.notify_all()
        return head

    async def read(self, start: int, limit: int) -> list[bytes]:
        """At most `limit` entries from height `start` on, and no more after `READ_BYTES`.

        Raises `OrderingError` when one is damaged, `ArchivedError` for those that were archived.
        """
        if start < self._first:
            raise ArchivedError(self._first)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, start, limit)

    async def pass_over(self, height: int) -> None:
        """Deletes the entries from `height` on. Raises `OrderingError` when the disk refuses."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._cut, height)

    async def hold(self, height: int) -> None:
        """As `pass_over`: where one SN orders alone, nothing is ever held."""
        await self.pass_over(height)

    async def release(self, height: int) -> None:
        """Nothing is held."""

    async def wait_for_append(self, height: int) -> None:
        """Waits for the next append: with one SN, only its own."""
        async with self._grown:
            await self._grown.wait_for(lambda: self._newest.height > height)

    def _head(self) -> Head:
        row = next(self._select("SELECT height, hash FROM blocks ORDER BY height DESC LIMIT 1"), None)
        return Head(*row) if row else EMPTY

    def _append(self, expected: Head, entry: bytes) -> Head:
        head = Head(expected.height + 1, sha256(entry).hexdigest())
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                present = self._head()
                if present != expected:
                    raise ConflictError(f"the head is {present.height} {present.hash[:12]}, not {expected.height}")
                self._connection.execute("INSERT INTO blocks VALUES (?, ?, ?)", (*head, entry))
                size = self._measured()
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise OrderingError(
                f"{self._path}: cannot write block {head.height} ({error}). Make room on its disk; nothing is lost, "
                "and the next transaction is tried again"
            ) from error
        self._size = size
        self._newest = head  # here, in the thread: who asked for it may have been cancelled meanwhile
        return head

    def _cut(self, height: int) -> None:
        try:
            self._connection.execute("DELETE FROM blocks WHERE height >= ?", (height,))
        except sqlite3.Error as error:
            raise OrderingError(f"{self._path}: cannot delete block {height} ({error})") from error
        self._newest, self._size = self._head(), self._measured()

    def _read(self, start: int, limit: int) -> list[bytes]:
        query = "SELECT height, hash, raw FROM blocks WHERE height >= ? ORDER BY height LIMIT ?"
        found, size = list[bytes](), 0
        for at, row in enumerate(self._select(query, start, limit), start):
            found.append(_checked(self._path, at, *row))
            size += len(found[-1])
            if size >= READ_BYTES:
                break
        return found

    def _select(self, query: str, *values: int) -> Iterator[Any]:
        try:
            yield from self._connection.execute(query, values)
        except sqlite3.Error as error:
            raise OrderingError(f"{self._path}: cannot read the chain file ({error}). {REMEDY}") from error


class LocalPresence:
    """`Presence` in memory: a timer a lease."""

    def __init__(self, lifetime_s: float) -> None:
        self._lifetime = lifetime_s
        self._leases: dict[str, Lease] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._changes = 0
        self._changed = asyncio.Condition()
        self._notifying: set[asyncio.Task[None]] = set()

    async def announce(self, lease: Lease) -> None:
        """Grants or renews. An older incarnation never replaces a newer one."""
        known = self._leases.get(lease.uid)
        if known and known.incarnation > lease.incarnation:
            return
        self._leases[lease.uid] = lease
        self._restart_timer(lease)
        if known is None or known.incarnation != lease.incarnation:
            await self._notify()

    async def leave(self, uid: str, incarnation: int) -> None:
        """Ends the lease if it is still that incarnation's."""
        if self._drop(uid, incarnation):
            await self._notify()

    def leases(self) -> dict[str, Lease]:
        """The leases that stand now, by UID."""
        return dict(self._leases)

    async def observe(self) -> AsyncIterator[dict[str, Lease]]:
        """The leases now and after every change."""
        seen = -1
        while True:
            async with self._changed:
                while self._changes == seen:
                    await self._changed.wait()
                seen, leases = self._changes, self.leases()
            yield leases

    def _restart_timer(self, lease: Lease) -> None:
        if timer := self._timers.get(lease.uid):
            timer.cancel()
        expire = self._expire(lease.uid, lease.incarnation)
        self._timers[lease.uid] = asyncio.get_running_loop().call_later(self._lifetime, expire)

    def _expire(self, uid: str, incarnation: int) -> Callable[[], None]:
        def expire() -> None:
            if self._drop(uid, incarnation):
                task = asyncio.get_running_loop().create_task(self._notify())
                self._notifying.add(task)
                task.add_done_callback(self._notifying.discard)

        return expire

    def _drop(self, uid: str, incarnation: int) -> bool:
        lease = self._leases.get(uid)
        if lease is None or lease.incarnation != incarnation:
            return False
        self._leases.pop(uid)
        self._timers.pop(uid).cancel()
        return True

    async def _notify(self) -> None:
        async with self._changed:
            self._changes += 1
            self._changed.notify_all()
