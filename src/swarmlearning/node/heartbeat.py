"""Heartbeats, from a thread of their own: a node that is busy merging must not look dead."""

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable

from swarmlearning.api.client import Refusal, SnClient, Unavailable

logger = logging.getLogger("swarm.heartbeat")

INTERVAL_SECONDS = 0.8

Progress = Callable[[], tuple[int, int]]
"""Steps trained and bytes moved so far."""


class Heartbeat:
    """Renews this node incarnation's lease with an SN until stopped."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        uid: str,
        incarnation: int,
        progress: Progress,
        on_superseded: Callable[[str], object],
    ) -> None:
        """`on_superseded` is called, from the thread, when a newer incarnation of this node has registered."""
        self._tls = tls
        self._uid = uid
        self._incarnation = incarnation
        self._progress = progress
        self._on_superseded = on_superseded
        self._stopped = threading.Event()
        self._address = ""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self, address: str) -> None:
        """Begins to renew with the SN at this address."""
        self._address = address
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; the lease runs out by itself."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        asyncio.run(self._beat())

    async def _beat(self) -> None:
        async with SnClient(self._address, self._tls) as client:
            while not self._stopped.is_set():
                await self._announce(client)
                self._stopped.wait(INTERVAL_SECONDS)

    async def _announce(self, client: SnClient) -> None:
        try:
            await client.announce(self._uid, self._incarnation, *self._progress())
        except Unavailable as error:
            logger.debug("%s", error)
        except Refusal as refusal:
            if refusal.code == "old-incarnation":
                self._stopped.set()
                self._on_superseded(refusal.detail)
            else:
                logger.warning("heartbeat refused: %s", refusal)
