"""A relay in a test's own process, nodes behind it, and a registry that a test decides for."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from swarmlearning.address import join
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context, server_context
from swarmlearning.relay.callee import Callee
from swarmlearning.relay.opening import hail
from swarmlearning.relay.relay import Relay
from swarmlearning.transport.parties import Credential
from swarmlearning.transport.shares import Share

HOST = "127.0.0.1"
SECONDS = 60.0


@dataclass
class Registry:
    """Everybody may use the relay but those of `faults`; `nodes`: UID to thumbprint. Both may change meanwhile."""

    nodes: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    share: Share | None = None
    carried: int = 0

    def fault(self, credential: Credential) -> str:
        return self.faults.get(credential.thumbprint, "")

    def owns(self, credential: Credential, uid: str) -> bool:
        return self.nodes.get(uid) == credential.thumbprint

    def share_of(self, credential: Credential) -> Share | None:
        return self.share

    def turn(self, credential: Credential, size: int) -> float:
        self.carried += size
        return 0.0


@dataclass(frozen=True)
class At:
    """A relay that listens on this port of the loopback address."""

    port: int

    @property
    def address(self) -> str:
        return join(HOST, self.port)

    async def ask(self, identity: Identity, request: str) -> socket.socket:
        """The bare connection after this request. Raises OSError."""
        return await asyncio.to_thread(self._ask, identity, request)

    def _ask(self, identity: Identity, request: str) -> socket.socket:
        plain = socket.create_connection((HOST, self.port), SECONDS)
        return hail(plain, client_context(identity), HOST, request, SECONDS)


@dataclass(frozen=True)
class Running(At):
    """One in this process."""

    relay: Relay


@asynccontextmanager
async def relaying(identity: Identity, registry: Registry) -> AsyncIterator[Running]:
    """Inside the block a relay works on a port of the loopback address."""
    relay = Relay(server_context(identity), registry)
    port = await relay.start(HOST, 0)
    try:
        yield Running(port, relay)
    finally:
        await relay.stop()


@asynccontextmanager
async def behind(
    running: At, identity: Identity, uid: str, adopt: Callable[[socket.socket], None]
) -> AsyncIterator["asyncio.Task[None]"]:
    """Inside the block the node `uid` can be called through the relay."""
    callee = Callee(client_context(identity), uid, adopt, lambda credential: "")
    try:
        async with callee.kept(running.address) as kept:
            yield kept
    finally:
        callee.close()
