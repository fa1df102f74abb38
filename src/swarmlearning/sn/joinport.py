"""An SN's join port: it listens for newcomers, who have no certificate yet, only while an invitation needs it.

Each block may open an invitation or end the last one, and so may the time. What makes it impossible to listen (the port
is in use) is logged, and tried again: the SN has other work.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from swarmlearning.address import join
from swarmlearning.api.protocol import Limits
from swarmlearning.api.server import Server
from swarmlearning.errors import UserError
from swarmlearning.identity.certificates import CertificateError, to_pem
from swarmlearning.identity.tls import CurrentContext, greeting_context
from swarmlearning.invitations.serving import MOST_SECONDS, Desk, Kind, join_app
from swarmlearning.ledger.contracts.network.inviting import awaited
from swarmlearning.ledger.contracts.network.state import Invitation
from swarmlearning.node.renewing import LiveIdentity
from swarmlearning.rates import Rate
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.welcoming import JoinSettings

logger = logging.getLogger("swarm.SN")

LIMITS: Final = Limits(
    connections=64,
    connections_per_peer=64,
    handshakes=64,
    handshake_seconds=5.0,
    request_seconds=10.0,
    unread_seconds=20.0,
    keep_alive_seconds=MOST_SECONDS,
    handshake_rate=Rate(32, 4),
)
AGAIN_SECONDS: Final = 10.0
"""Until it is looked at again whether a port in use is free; no invitation that ends before is open for longer."""
STOP_SECONDS: Final = 0.5


class JoinPort:
    """The port of one SN. `submit` puts a request on the ledger, `api` gives the address of the SN's API."""

    def __init__(
        self,
        settings: JoinSettings,
        own: LiveIdentity,
        miner: Miner,
        submit: Callable[[Kind], Awaitable[int]],
        now_ms: Callable[[], int],
        api: str,
    ) -> None:
        self._settings = settings
        self._own = own
        self._shown = own.current
        self._tls: CurrentContext | None = None
        self._miner = miner
        self._now_ms = now_ms
        self._desk = Desk(lambda: miner.chain, now_ms, submit, miner.reached, self._authorities, lambda: api)
        self._server: Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._told = ""

    async def run(self, host: str) -> None:
        """Listens on this address while somebody is awaited, until cancelled."""
        try:
            while True:
                chain = self._miner.chain
                now_ms = max(chain.time_ms, self._now_ms())
                found = awaited(chain.world, now_ms)
                if not found:
                    await self._close()
                elif self._serving is None or self._serving.done():
                    await self._open(host, found)
                self._follow_identity()
                left = min((each.expires_ms - now_ms for each in found), default=0) / 1000
                await self._changed(chain.height, min(left + 0.05, AGAIN_SECONDS) if found else None)
        finally:
            await self._close()

    async def _changed(self, height: int, seconds: float | None) -> None:
        """Waits for the next block, so many seconds at most: then time may have changed something."""
        try:
            async with asyncio.timeout(seconds):
                await self._miner.reached(height + 1)
        except TimeoutError:
            pass

    async def _open(self, host: str, found: Sequence[Invitation]) -> None:
        await self._close()
        try:
            self._shown = self._own.current
            self._tls = CurrentContext(greeting_context(self._shown))
            server = Server(
                join_app(self._desk, self._first_block),
                self._tls,
                host,
                self._settings.port,
                LIMITS,
                to_strangers=True,
            )
            await server.start()
        except (UserError, CertificateError) as error:
            if str(error) != self._told:
                logger.error("Nobody can join through this SN: %s (--sn-join-port)", error)
                self._told = str(error)
            return
        self._server, self._told = server, ""
        self._serving = asyncio.create_task(server.wait())
        logger.warning(
            "The join port %s is open to clients without a certificate while somebody is invited (%s): it answers only "
            "those who have the key of an invitation",
            join(host, server.port),
            ", ".join(sorted({each.name or each.organisation for each in found})),
        )

    async def _close(self) -> None:
        server, serving = self._server, self._serving
        self._server = self._serving = None
        if server is None or serving is None:
            return
        with suppress(OSError):  # what has broken it is told by `serving`, too
            await server.stop(STOP_SECONDS)
        try:
            await serving
        except OSError as error:
            logger.error("The join port was closed: %s", error)
        else:
            logger.info("The join port is closed: nobody has to come through it any more")

    def _follow_identity(self) -> None:
        """New connections show the identity that the SN has by now."""
        if self._tls is None or self._own.current is self._shown:
            return
        self._shown = self._own.current
        try:
            self._tls.made = greeting_context(self._shown)
        except (UserError, CertificateError) as error:
            logger.warning("%s. The join port goes on with the certificate before it", error)

    def _authorities(self) -> tuple[str, ...]:
        return tuple(map(to_pem, self._shown.authorities))

    async def _first_block(self) -> bytes:
        [block] = await self._miner.blocks(0, 1)
        return block
