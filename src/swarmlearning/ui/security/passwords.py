"""Passwords: argon2id hashes, made and checked in threads, a bounded number at a time."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from swarmlearning.errors import UserError

T = TypeVar("T")

LEAST: Final = 12
MOST: Final = 256
"""Characters of a password."""
AT_ONCE: Final = 2
"""Hashes at the same time: each takes 19 MiB and a core for some tens of milliseconds."""
WAITING: Final = 32
"""Requests that may wait for a turn; more are turned away."""

HASHER: Final = PasswordHasher(time_cost=3, memory_cost=19 * 1024, parallelism=1)


class BusyError(UserError):
    """Too many passwords are being checked."""

    key: Final = "login.busy"


class PasswordFault(UserError):
    """A password that cannot be used; `key` is the text that says why."""

    def __init__(self, key: str, english: str) -> None:
        super().__init__(english)
        self.key = key
        self.values: dict[str, object] = {"least": LEAST, "most": MOST}


def require_good(password: str, user: str) -> None:
    """Raises `PasswordFault` for one that is too short, too long, too simple, or the user's name."""
    if len(password) < LEAST:
        raise PasswordFault("users.short-password", f"a password has at least {LEAST} characters")
    if len(password) > MOST:
        raise PasswordFault("users.long-password", f"a password has at most {MOST} characters")
    if len(set(password)) < 5 or (user and user.casefold() in password.casefold() and len(password) < len(user) + 8):
        raise PasswordFault(
            "users.simple-password",
            "this password is easy to guess: use other words than the name, and more characters",
        )


def hashed(password: str) -> str:
    """The hash to store."""
    return HASHER.hash(password)


class Passwords:
    """Checks passwords; of an unknown user as slowly as of a known one."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._nobodys = hashed("a password that nobody has")

    async def hashed(self, password: str) -> str:
        """The hash to store. Raises `BusyError`."""
        return await self._in_turn(lambda: hashed(password))

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether this is the password of the stored hash (None: of nobody). Raises `BusyError`."""

        def check() -> bool:
            try:
                HASHER.verify(stored or self._nobodys, password[:MOST])
            except (VerificationError, InvalidHashError):
                return False
            return stored is not None

        return await self._in_turn(check)

    @staticmethod
    def outdated(stored: str) -> bool:
        """Whether the hash was made with other costs than those of today."""
        return HASHER.check_needs_rehash(stored)

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING:
            raise BusyError("too many people log in at this moment; try again in some seconds")
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1
