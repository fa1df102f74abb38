"""The UI's SQLite file. All work on it runs in one thread of its own, one piece after the other."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from swarmlearning.node.errors import NodeError

T = TypeVar("T")
FILE: Final = "ui.sqlite"

VERSIONS: Final[Sequence[str]] = (
    """
    CREATE TABLE users (
        name TEXT PRIMARY KEY COLLATE NOCASE, role TEXT NOT NULL, password TEXT NOT NULL, created_ms INTEGER NOT NULL,
        changed_ms INTEGER NOT NULL, language TEXT NOT NULL DEFAULT '', theme TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TABLE sessions (
        token BLOB PRIMARY KEY, user TEXT NOT NULL COLLATE NOCASE REFERENCES users (name) ON DELETE CASCADE,
        created_ms INTEGER NOT NULL, used_ms INTEGER NOT NULL, address TEXT NOT NULL, browser TEXT NOT NULL
    ) STRICT;
    CREATE INDEX sessions_of ON sessions (user);
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    """,
    """
    CREATE TABLE jobs (id INTEGER PRIMARY KEY, view TEXT NOT NULL) STRICT;
    CREATE TABLE hosts (
        address TEXT PRIMARY KEY, folder TEXT NOT NULL, user TEXT NOT NULL, note TEXT NOT NULL, by TEXT NOT NULL,
        added_ms INTEGER NOT NULL, shown TEXT NOT NULL DEFAULT '', login TEXT NOT NULL DEFAULT '',
        seen TEXT NOT NULL DEFAULT ''
    ) STRICT;
    CREATE TABLE host_keys (
        address TEXT PRIMARY KEY, key TEXT NOT NULL, by TEXT NOT NULL, pinned_ms INTEGER NOT NULL
    ) STRICT;
    """,
)
"""What leads from each version of the schema to the next. One that has been released is never changed."""


class Database:
    """Use as a context manager. `run` calls a function with the connection, inside one transaction."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists. Raises `NodeError` for a file that cannot be used."""
        self.path = folder / FILE
        self._thread = ThreadPoolExecutor(1, "ui-store")
        try:
            self._connection = self._thread.submit(_open, self.path).result()
        except BaseException:
            self._thread.shutdown()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns; what it has changed stands, unless it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transaction, work)

    def now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The same outside an event loop."""
        return self._thread.submit(self._transaction, work).result()

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._connection:
            return work(self._connection)


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.touch(mode=0o600)
        path.chmod(0o600)
        connection = sqlite3.connect(path, timeout=10)
        connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;")
        _upgrade(connection, path)
    except (OSError, sqlite3.Error) as error:
        raise NodeError(f"{path}: cannot be used: {error}; restore it from a backup, or move it away") from error
    return connection


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(VERSIONS):
        raise NodeError(f"{path}: written by a newer release (schema {version}); use that one")
    for number, script in enumerate(VERSIONS[version:], version + 1):
        connection.executescript(f"BEGIN; {script}; PRAGMA user_version={number}; COMMIT;")
