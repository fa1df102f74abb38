"""The link by which the first user, an admin, is made in the browser, where no terminal can ask for one.

`swarm ui` prints it. It is good for one user and a quarter of an hour, as long as there is no user. Only a hash of its
token is kept, in memory; the token itself is on standard output alone.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final

PATH: Final = "/first"
SECONDS: Final = 15 * 60.0
TOKEN_BYTES: Final = 32


class FirstLink:
    """One link. `now`: seconds of a clock that never goes back."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._hash = b""
        self._end = 0.0

    def made(self, address: str) -> str:
        """A new link at this address of the UI, in place of any before; it is returned this once."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._hash, self._end = _hash(token), self._now() + SECONDS
        return f"{address.rstrip('/')}{PATH}?token={token}"

    def opens(self, token: str) -> bool:
        """Whether this is the token of a link that is still good."""
        return bool(self._hash) and hmac.compare_digest(_hash(token), self._hash) and self._now() < self._end

    def use_up(self) -> None:
        """Nobody can use it any more."""
        self._hash = b""


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
