"""Where a node's identity comes from while it runs: what it is now, and when it has changed.

A source only gives identities that have been checked (`Identity.check`) and are for the same subject and role as the
one before. Files are one source (`files.py`); an agent that pushes certificates and trust bundles is another.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from swarmlearning.identity.identity import Identity, IdentityError


class IdentitySource(Protocol):
    """What the parts of a node need. Used in one event loop."""

    @property
    def current(self) -> Identity:
        """The newest identity."""

    async def changed(self, known: Identity) -> Identity:
        """The current identity, as soon as it is another one than `known`."""


class WatchedSource(IdentitySource, Protocol):
    """What the process of a node needs in addition."""

    def watch(self) -> Coroutine[Any, Any, None]:
        """Keeps `current` up to date until cancelled."""

    def look(self) -> None:
        """Looks for a change at once, and reports what it finds in the log: the operator requests it (SIGHUP)."""


class Latest:
    """An identity in memory, which `replace` changes."""

    def __init__(self, identity: Identity) -> None:
        self._current = identity
        self._change = asyncio.Event()

    @property
    def current(self) -> Identity:
        """See `IdentitySource`."""
        return self._current

    async def changed(self, known: Identity) -> Identity:
        """See `IdentitySource`."""
        while self._current == known:
            await self._change.wait()
        return self._current

    def replace(self, identity: Identity) -> None:
        """Takes over another identity of the same node. Raises `IdentityError` for one of another node."""
        check_same_node(self._current, identity)
        self._current = identity
        self._change.set()
        self._change = asyncio.Event()


def check_same_node(old: Identity, new: Identity) -> None:
    """Raises `IdentityError` where the new identity is for another subject, and so perhaps for another role."""
    if old.subject != new.subject:
        raise IdentityError(
            f"{new.cert_path}: the certificate is for {new.subject!r}, and this node is {old.subject!r}: have one "
            "issued for the same subject"
        )
