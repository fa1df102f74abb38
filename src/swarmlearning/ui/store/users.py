"""The people who may use the UI. Passwords are hashes (`security/passwords.py`) before they come here."""

import sqlite3
from typing import Final

import msgspec

from swarmlearning.errors import UserError
from swarmlearning.node.clocks import clock_ms
from swarmlearning.ui.security.roles import ROLES, Role
from swarmlearning.ui.store.database import Database

LONGEST_NAME: Final = 64
MOST_USERS: Final = 1000


class UserFault(UserError):
    """What was to be done with a user is not possible; `key` is the text that says why, with these values."""

    def __init__(self, key: str, english: str, **values: object) -> None:
        super().__init__(english)
        self.key = key
        self.values = values


class User(msgspec.Struct, frozen=True):
    """A person. `language` and `theme` are empty where they follow the browser; times are Unix milliseconds."""

    name: str
    role: Role
    created_ms: int
    changed_ms: int
    language: str = ""
    theme: str = ""


_FIELDS: Final = "name, role, created_ms, changed_ms, language, theme"


class Users:
    """Names are compared without regard to case."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[User]:
        """Everybody, by name."""
        return await self._database.run(
            lambda sql: [User(*row) for row in sql.execute(f"SELECT {_FIELDS} FROM users ORDER BY name")]
        )

    def none(self) -> bool:
        """Whether there is nobody yet."""
        found: tuple[int] | None = self._database.now(lambda sql: sql.execute("SELECT 1 FROM users LIMIT 1").fetchone())
        return found is None

    async def nobody(self) -> bool:
        """The same inside an event loop."""
        return await self._database.run(lambda sql: sql.execute("SELECT 1 FROM users LIMIT 1").fetchone() is None)

    async def add_first(self, name: str, password: str) -> None:
        """Adds an admin as the first user. Raises `UserFault`, also where there is somebody by now."""

        def add(sql: sqlite3.Connection) -> None:
            if sql.execute("SELECT 1 FROM users LIMIT 1").fetchone() is not None:
                raise UserFault("users.not-first", "there is a user already, who can add others")
            add_user(sql, name, "admin", password)

        await self._database.run(add)

    async def password_of(self, name: str) -> str | None:
        """The hash of a user's password; None for a name that nobody has."""

        def read(sql: sqlite3.Connection) -> str | None:
            found = sql.execute("SELECT password FROM users WHERE name = ?", (name,)).fetchone()
            return found[0] if found else None

        return await self._database.run(read)

    async def add(self, name: str, role: Role, password: str) -> None:
        """Adds somebody. Raises `UserFault`."""
        await self._database.run(lambda sql: add_user(sql, name, role, password))

    async def set_password(self, name: str, password: str) -> None:
        """Replaces the hash of a password; all sessions of the user end. Raises `UserFault`."""
        await self._database.run(lambda sql: set_password(sql, name, password))

    async def rehash(self, name: str, password: str) -> None:
        """Replaces the hash by another one of the same password."""
        await self._database.run(
            lambda sql: sql.execute("UPDATE users SET password = ? WHERE name = ?", (password, name))
        )

    async def set_role(self, name: str, role: Role) -> None:
        """Gives a user another role. Raises `UserFault`: one admin has to be left."""

        def change(sql: sqlite3.Connection) -> None:
            _require(sql.execute("UPDATE users SET role = ? WHERE name = ?", (role, name)), name)
            _require_admin(sql)

        await self._database.run(change)

    async def remove(self, name: str) -> None:
        """Removes a user with all sessions. Raises `UserFault`: one admin has to be left."""

        def delete(sql: sqlite3.Connection) -> None:
            _require(sql.execute("DELETE FROM users WHERE name = ?", (name,)), name)
            _require_admin(sql)

        await self._database.run(delete)

    async def prefer(self, name: str, language: str, theme: str) -> None:
        """Sets the language and the appearance that a user prefers; empty: those of the browser."""
        await self._database.run(
            lambda sql: sql.execute("UPDATE users SET language = ?, theme = ? WHERE name = ?", (language, theme, name))
        )


def user_of(sql: sqlite3.Connection, name: str) -> User | None:
    """The user of this name."""
    row = sql.execute(f"SELECT {_FIELDS} FROM users WHERE name = ?", (name,)).fetchone()
    return User(*row) if row else None


def add_user(sql: sqlite3.Connection, name: str, role: Role, password: str) -> None:
    """Adds somebody. Raises `UserFault`."""
    require_name(name)
    assert role in ROLES
    (count,) = sql.execute("SELECT count(*) FROM users").fetchone()
    if count >= MOST_USERS:
        raise UserFault("users.too-many", f"there are {count} users already; remove some", count=count)
    now = clock_ms()
    try:
        sql.execute(
            "INSERT INTO users (name, role, password, created_ms, changed_ms) VALUES (?, ?, ?, ?, ?)",
            (name, role, password, now, now),
        )
    except sqlite3.IntegrityError:
        raise UserFault("users.taken", f"there is a user {name} already; choose another name", name=name) from None


def set_password(sql: sqlite3.Connection, name: str, password: str) -> None:
    """Replaces the hash of a password; all sessions of the user end. Raises `UserFault`."""
    changed = sql.execute("UPDATE users SET password = ?, changed_ms = ? WHERE name = ?", (password, clock_ms(), name))
    _require(changed, name)
    sql.execute("DELETE FROM sessions WHERE user = ?", (name,))


def require_name(name: str) -> None:
    """Raises `UserFault` for what can be no user's name: it is shown, and written to the ledger."""
    if not (0 < len(name) <= LONGEST_NAME and name.isprintable() and name.strip() == name):
        raise UserFault("users.bad-name", f"a name has 1 to {LONGEST_NAME} printable characters", longest=LONGEST_NAME)


def _require(changed: sqlite3.Cursor, name: str) -> None:
    if not changed.rowcount:
        raise UserFault("users.unknown", f"there is no user {name}", name=name)


def _require_admin(sql: sqlite3.Connection) -> None:
    if sql.execute("SELECT 1 FROM users WHERE role = 'admin' LIMIT 1").fetchone() is None:
        raise UserFault("users.last-admin", "this is the last admin: make another user an admin first")
