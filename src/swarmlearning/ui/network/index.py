"""An index of the verified ledger: what each block holds, to be listed and searched, and its hash.

A block itself is fetched from an SN when somebody looks at it; its hash shows that it is the one verified here.
"""

import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from swarmlearning.errors import UserError
from swarmlearning.ledger.chain import Step

FILE: Final = "index.sqlite"
MOST_PENDING: Final = 500
"""Blocks that are written at once."""
LONGEST_TEXT: Final = 2000
"""Characters of a transaction that are searched."""
SEARCH_SECONDS: Final = 5.0
"""A search reads all of the ledger, which may be long; a million transactions are read in about so many seconds."""
_STEPS: Final = 1000
"""Instructions of SQLite between two looks at the clock."""


class SlowSearchError(UserError):
    """A search has taken too long."""

    def __init__(self) -> None:
        super().__init__(
            f"the search has taken longer than {SEARCH_SECONDS:.0f} s: name a block, or begin further down"
        )


class Entry(msgspec.Struct, frozen=True):
    """A transaction in a block; a block without any, or a void one, has one entry without `kind`."""

    height: int
    time_ms: int
    hash: str
    sealer: str
    void: str
    kind: str = ""
    sender: str = ""
    contract: str = ""
    id: str = ""
    person: str = ""


VERSION: Final = 2
"""Of the tables: an index of another one is made anew."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS blocks (
    height INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, hash TEXT NOT NULL, sealer TEXT NOT NULL, void TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS transactions (
    height INTEGER NOT NULL, place INTEGER NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, sender TEXT NOT NULL,
    contract TEXT NOT NULL, person TEXT NOT NULL, words TEXT NOT NULL, PRIMARY KEY (height, place)
) STRICT, WITHOUT ROWID;
"""
_JOINED: Final = """
SELECT b.height, b.time_ms, b.hash, b.sealer, b.void, coalesce(t.kind, ''), coalesce(t.sender, ''),
    coalesce(t.contract, ''), coalesce(t.id, ''), coalesce(t.person, '')
FROM blocks b LEFT JOIN transactions t ON t.height = b.height
"""


class Index:
    """Used from several threads; `close` at the end. A file that is damaged is made anew.

    Reading has a connection of its own: blocks are added meanwhile, which is done in the event loop.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` exists."""
        self._path = folder / FILE
        self._lock = threading.Lock()
        self._pending: list[Step] = []
        self._sql = self._open()
        self._reading = threading.Lock()
        self._reader = sqlite3.connect(self._path, check_same_thread=False)

    def close(self) -> None:
        """Writes what is left."""
        self.flush()
        with self._reading:
            self._reader.close()
        with self._lock:
            self._sql.close()

    def add(self, step: Step) -> None:
        """Takes in the next verified block; block 0 begins anew."""
        with self._lock:
            if step.chain.height == 0:
                self._pending.clear()
                self._sql.executescript("DELETE FROM blocks; DELETE FROM transactions;")
            self._pending.append(step)
            if len(self._pending) >= MOST_PENDING:
                self._write()

    def flush(self) -> None:
        """Writes what has been added."""
        with self._lock:
            self._write()

    def hash_at(self, height: int) -> str:
        """The hash of the block of this height; empty where it is not known."""
        found = self._read("SELECT hash FROM blocks WHERE height = ?", height)
        return str(found[0][0]) if found else ""

    def newest(self, below: int, count: int) -> list[Entry]:
        """The transactions of the `count` blocks below this height, the newest first."""
        return self._select(
            "WHERE b.height < ? AND b.height >= ? ORDER BY b.height DESC, t.place", below, below - count
        )

    def search(self, words: Sequence[str], below: int, most: int) -> list[Entry]:
        """The newest transactions in blocks below this height that have all these words, in whatever part. Raises
        `SlowSearchError`."""
        parts = " AND ".join("t.words LIKE ? ESCAPE '\\'" for _ in words)
        values = [f"%{_literal(word.lower())}%" for word in words]
        return self._select(
            f"WHERE b.height < ? AND {parts} ORDER BY b.height DESC, t.place LIMIT ?", below, *values, most
        )

    def find(self, prefix: str) -> int | None:
        """The height of the block whose hash, or a transaction whose ID, begins with these hexadecimal digits. Raises
        `SlowSearchError`."""
        form = f"{_literal(prefix)}%"
        for query in (
            "SELECT height FROM blocks WHERE hash LIKE ? ESCAPE '\\' LIMIT 1",
            "SELECT height FROM transactions WHERE id LIKE ? ESCAPE '\\' LIMIT 1",
        ):
            if found := self._read(query, form):
                return int(found[0][0])
        return None

    def _select(self, where: str, *values: object) -> list[Entry]:
        return [Entry(*row) for row in self._read(_JOINED + where, *values)]

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query finds, of all that has been added. Raises `SlowSearchError`."""
        self.flush()
        with self._reading:
            end = time.monotonic() + SEARCH_SECONDS
            self._reader.set_progress_handler(lambda: time.monotonic() >= end, _STEPS)
            try:
                return self._reader.execute(query, values).fetchall()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                    raise
                raise SlowSearchError from None

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connected()
        except sqlite3.DatabaseError:
            self._path.unlink(missing_ok=True)
            return self._connected()

    def _connected(self) -> sqlite3.Connection:
        self._path.touch(mode=0o600)
        sql = sqlite3.connect(self._path, check_same_thread=False)
        if sql.execute("PRAGMA user_version").fetchone() != (VERSION,):
            sql.executescript("DROP TABLE IF EXISTS blocks; DROP TABLE IF EXISTS transactions;")
        pragmas = f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA user_version={VERSION};"
        sql.executescript(pragmas + _SCHEMA)
        return sql

    def _write(self) -> None:
        steps, self._pending = self._pending, []
        if not steps:
            return
        try:
            self._insert(steps)
        except sqlite3.Error:
            self._pending[:0] = steps
            raise

    def _insert(self, steps: list[Step]) -> None:
        with self._sql:
            self._sql.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?, ?)", map(_block, steps))
            self._sql.executemany(
                "INSERT OR REPLACE INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [row for step in steps for row in _transactions(step)],
            )


def _block(step: Step) -> tuple[object, ...]:
    header = step.block.header
    return step.chain.height, header.time_ms, step.chain.hash, header.sealer, step.void or ""


def _transactions(step: Step) -> list[tuple[object, ...]]:
    if step.void is not None:
        return []
    return [
        (
            step.chain.height,
            place,
            signed.id,
            signed.kind,
            signed.content.sender,
            signed.content.contract,
            signed.content.on_behalf_of,
            _words(step, place),
        )
        for place, signed in enumerate(step.block.transactions)
    ]


def _words(step: Step, place: int) -> str:
    """What is searched of a transaction, in lower case."""
    signed = step.block.transactions[place]
    content, body = signed.content, msgspec.json.encode(signed.content.body).decode(errors="replace")
    parts = (signed.kind, content.sender, content.contract, content.on_behalf_of, signed.id, body)
    return " ".join(parts)[:LONGEST_TEXT].lower()


def _literal(word: str) -> str:
    """The text as a part of a LIKE expression."""
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
