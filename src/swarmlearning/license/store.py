"""The leases of a license server on disk, in one SQLite file: what was answered is there after any crash."""

import asyncio
import sqlite3
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from swarmlearning.license.features import LicenseError
from swarmlearning.license.leases import Key, Lease

LOCK_SECONDS = 1.0
"""Nobody but this server writes: whoever else looks at the file is done in an instant."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS leases (
    feature INTEGER NOT NULL, authority TEXT NOT NULL, subject TEXT NOT NULL, uid TEXT NOT NULL,
    granted_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, released INTEGER NOT NULL,
    PRIMARY KEY (feature, authority, subject, uid)
) STRICT, WITHOUT ROWID
"""


class LeaseStore:
    """The file of one server."""

    def __init__(self, path: Path) -> None:
        """Opens the file, made when missing. Raises `LicenseError` naming it."""
        self._path = path
        try:
            self._connection = sqlite3.connect(path, LOCK_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._connection.execute("PRAGMA journal_mode=WAL")
                self._connection.execute("PRAGMA synchronous=FULL")
                self._connection.execute(SCHEMA)
            except sqlite3.Error:
                self._connection.close()
                raise
        except sqlite3.Error as error:
            raise LicenseError(f"{path}: cannot open the file of leases ({error})") from error
        self._thread = ThreadPoolExecutor(1, "leases")  # one thread: writes come to the disk in their order

    def close(self) -> None:
        """Closes the file, after the commit under way if there is one."""
        self._thread.shutdown()
        self._connection.close()

    def load(self) -> list[Lease]:
        """All leases. Raises `LicenseError`."""
        try:
            rows = self._connection.execute("SELECT * FROM leases").fetchall()
            named = (dict(zip(Lease.__struct_fields__, row, strict=True)) for row in rows)
            return [msgspec.convert(each, Lease, strict=False) for each in named]
        except (sqlite3.Error, msgspec.ValidationError, ValueError) as error:
            raise LicenseError(
                f"{self._path}: the file of leases cannot be read ({error}). Without it the server starts with no "
                "lease: nodes at work renew theirs, up to the capacity"
            ) from error

    async def save(self, changed: Iterable[Lease], forgotten: Iterable[Key] = ()) -> None:
        """Commits these changes to the disk. Raises `LicenseError` when it refuses."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._save, list(changed), list(forgotten))

    def _save(self, changed: list[Lease], forgotten: list[Key]) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [msgspec.structs.astuple(lease) for lease in changed],
                )
                self._connection.executemany(
                    "DELETE FROM leases WHERE feature = ? AND authority = ? AND subject = ? AND uid = ?", forgotten
                )
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise LicenseError(f"{self._path}: cannot write ({error}); make room on its disk") from error
