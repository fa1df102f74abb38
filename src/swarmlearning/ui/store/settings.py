"""Settings that the UI keeps by name, as short texts."""

import sqlite3

from swarmlearning.ui.store.database import Database


class Settings:
    """Reads and writes one setting at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str, otherwise: str = "") -> str:
        """The setting of this name."""

        return await self._database.run(lambda sql: read(sql, name, otherwise))

    async def set(self, name: str, value: str) -> None:
        """Replaces the setting of this name."""
        await self._database.run(
            lambda sql: sql.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))
        )


def read(sql: sqlite3.Connection, name: str, otherwise: str = "") -> str:
    """The setting of this name."""
    found = sql.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return found[0] if found else otherwise
