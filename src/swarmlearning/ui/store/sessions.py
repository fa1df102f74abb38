"""Sessions of people who have logged in. Of a token only its hash is stored: who reads the file can use none."""

import hashlib
import secrets
import sqlite3
from typing import Final

import msgspec

from swarmlearning.node.clocks import clock_ms
from swarmlearning.ui.store.database import Database
from swarmlearning.ui.store.users import User, user_of

TOKEN_BYTES: Final = 32
MOST_A_USER: Final = 20
"""The ones that were used least recently end first."""
TOUCH_MS: Final = 60_000
"""A use is written down at most this often."""
LONGEST_BROWSER: Final = 200


class Session(msgspec.Struct, frozen=True):
    """A session, as its user sees it. `id`: the beginning of the token's hash; Unix milliseconds."""

    id: str
    created_ms: int
    used_ms: int
    address: str
    browser: str


class Sessions:
    """A session ends `idle_ms` after its last use, and `longest_ms` after its beginning at the latest."""

    def __init__(self, database: Database, idle_ms: int, longest_ms: int) -> None:
        self._database = database
        self._idle_ms = idle_ms
        self._longest_ms = longest_ms

    @property
    def longest_seconds(self) -> int:
        """The longest life of a session."""
        return self._longest_ms // 1000

    async def open(self, user: str, address: str, browser: str) -> str:
        """Begins a session; returns its token."""
        token = secrets.token_urlsafe(TOKEN_BYTES)

        def insert(sql: sqlite3.Connection) -> None:
            now = clock_ms()
            self._forget(sql, now)
            sql.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)",
                (_hash(token), user, now, now, address, browser[:LONGEST_BROWSER]),
            )
            sql.execute(
                "DELETE FROM sessions WHERE user = ? AND token NOT IN "
                "(SELECT token FROM sessions WHERE user = ? ORDER BY used_ms DESC LIMIT ?)",
                (user, user, MOST_A_USER),
            )

        await self._database.run(insert)
        return token

    async def user(self, token: str, *, active: bool = True) -> User | None:
        """Whose session this is; None where it has ended, or never was. `active`: a person does something, and no
        page that keeps itself up to date."""

        def read(sql: sqlite3.Connection) -> User | None:
            now, hashed = clock_ms(), _hash(token)
            found = sql.execute("SELECT user, created_ms, used_ms FROM sessions WHERE token = ?", (hashed,)).fetchone()
            if found is None:
                return None
            name, created_ms, used_ms = found
            if now >= min(used_ms + self._idle_ms, created_ms + self._longest_ms):
                sql.execute("DELETE FROM sessions WHERE token = ?", (hashed,))
                return None
            if active and now >= used_ms + TOUCH_MS:
                sql.execute("UPDATE sessions SET used_ms = ? WHERE token = ?", (now, hashed))
            return user_of(sql, name)

        return await self._database.run(read)

    async def of(self, user: str) -> list[Session]:
        """The sessions of a user, the last used first."""

        def read(sql: sqlite3.Connection) -> list[Session]:
            self._forget(sql, clock_ms())
            rows = sql.execute(
                "SELECT token, created_ms, used_ms, address, browser FROM sessions WHERE user = ? "
                "ORDER BY used_ms DESC",
                (user,),
            )
            return [Session(token.hex()[:16], *rest) for token, *rest in rows]

        return await self._database.run(read)

    async def close(self, token: str) -> None:
        """Ends a session."""
        await self._database.run(lambda sql: sql.execute("DELETE FROM sessions WHERE token = ?", (_hash(token),)))

    async def close_all(self, user: str) -> None:
        """Ends all sessions of a user."""
        await self._database.run(lambda sql: sql.execute("DELETE FROM sessions WHERE user = ?", (user,)))

    def _forget(self, sql: sqlite3.Connection, now: int) -> None:
        sql.execute(
            "DELETE FROM sessions WHERE used_ms <= ? OR created_ms <= ?", (now - self._idle_ms, now - self._longest_ms)
        )


def session_id(token: str) -> str:
    """What a session is called where it is shown or logged."""
    return _hash(token).hex()[:16]


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
