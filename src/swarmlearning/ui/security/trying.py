"""A password is tried: slowed down for whoever guesses, wherever it is asked for."""

import time
from typing import Final

from swarmlearning.errors import UserError
from swarmlearning.transport.parties import network_of
from swarmlearning.ui.security.passwords import BusyError, Passwords
from swarmlearning.ui.security.throttle import Throttle


class WaitError(UserError):
    """Too many passwords were wrong: the next one may be tried in some seconds."""

    key: Final = "login.wait"

    def __init__(self, seconds: float) -> None:
        self.values: dict[str, object] = {"seconds": max(1, round(seconds))}
        super().__init__(f"too many wrong passwords: try again in {self.values['seconds']} s")


class Trying:
    """Checks what somebody gives as a user's password."""

    def __init__(self, passwords: Passwords, throttle: Throttle) -> None:
        self._passwords = passwords
        self._throttle = throttle

    async def is_right(self, name: str, address: str, password: str, stored: str | None) -> bool:
        """Whether this is the password of the stored hash (None: of nobody), tried for a user of this name from this IP
        address. Raises `WaitError` and `BusyError`."""
        source, now = network_of((address,)) or address, time.monotonic()  # a host can have many addresses of IPv6
        if wait := self._throttle.wait(name, source, now):
            raise WaitError(wait)
        self._throttle.begun(name, source, now)
        try:
            right = await self._passwords.matches(password, stored)
        except BusyError:
            self._throttle.unanswered(name, source)
            raise
        if right:
            self._throttle.succeeded(name, source)
        return right
