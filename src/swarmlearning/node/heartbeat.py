"""Heartbeats, from a thread of their own: a node that is busy merging must not look dead."""

import asyncio
import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.node.clocks import Offset, Offsets, clock_ms
from swarmlearning.node.snpool import SnPool
from swarmlearning.views.training import TrainingProgress
from swarmlearning.views.vitals import Vitals

logger = logging.getLogger("swarm.heartbeat")

INTERVAL_SECONDS = 0.8
ANSWER_SECONDS = 1.0
"""An SN that takes longer is passed over for this beat: the lease must not run out for its sake."""

Progress = Callable[[], tuple[int, int, TrainingProgress | None]]
"""Returns steps trained and bytes moved so far, and the progress of a training, if there is one."""
TakeVitals = Callable[[Offset | None], Vitals | None]
"""Returns what the node says of its machine, with this comparison of its clock; None where that is withheld."""


class Heartbeat:
    """Renews this node incarnation's lease with an SN until stopped."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        uid: str,
        incarnation: int,
        progress: Progress,
        on_superseded: Callable[[str], object],
        chain: Callable[[], Chain] = Chain,
        *,
        same_user: bool = False,
        vitals: TakeVitals = lambda clock: None,
    ) -> None:
        """`on_superseded` is called, from the thread, when a newer incarnation of this node has registered; `chain`
        gives the verified chain, which names the SNs; `same_user`: a SWOP that runs ML processes as its own user;
        `vitals` is called in the thread."""
        self._chain = chain
        self._tls = tls
        self._uid = uid
        self._incarnation = incarnation
        self._progress = progress
        self._same_user = same_user
        self._vitals = vitals
        self._offsets = Offsets()
        self._on_superseded = on_superseded
        self.outage: tuple[float, str] | None = None
        """Since when (Unix time) no SN renews the lease, and why; None while one does. May be read in any thread."""
        self._renewed: float | None = None
        self._stopped = threading.Event()
        self._addresses: Callable[[], Sequence[str]] = list
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    @property
    def lease_age(self) -> float | None:
        """Seconds since the lease was renewed last, None before; may be read in any thread."""
        return None if self._renewed is None else time.monotonic() - self._renewed

    def start(self, addresses: Callable[[], Sequence[str]]) -> None:
        """Begins to renew with the first of the SNs that accepts; `addresses` is called before each beat."""
        self._addresses = addresses
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; the lease runs out by itself."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        asyncio.run(self._beat())

    async def _beat(self) -> None:
        pool = SnPool(self._tls, self._chain, ANSWER_SECONDS)
        try:
            while not self._stopped.is_set():
                await self._beat_once(pool)
                self._stopped.wait(INTERVAL_SECONDS)
        finally:
            await pool.close()

    async def _beat_once(self, pool: SnPool) -> None:
        """Renews the lease with the first SN that accepts, and notes when none does."""
        addresses, reason = self._addresses(), "no SN is known"
        pool.keep(addresses)
        pool.drop_refused()
        for address in addresses:
            if self._stopped.is_set():
                return
            if not (reason := await self._announce(pool.client(address))):
                self.outage, self._renewed = None, time.monotonic()
                return
        self.outage = (self.outage[0] if self.outage else time.time(), reason)

    async def _announce(self, client: SnClient) -> str:
        """The reason why this SN has not renewed the lease; empty when it has, or this node must stop."""
        told, vitals = self._progress(), self._vitals(self._offsets.best)
        sent_ms, begun = clock_ms(), time.monotonic()
        try:
            shown_ms = await client.announce(
                self._uid, self._incarnation, *told, same_user=self._same_user, vitals=vitals
            )
        except Unavailable as error:
            logger.debug("%s", error)
            return str(error)
        except Refusal as refusal:
            if refusal.code == Code.OLD_INCARNATION and self._is_superseded():
                self._stopped.set()
                self._on_superseded(refusal.detail)
                return ""
            logger.warning("heartbeat refused by SN %s: %s", client.address, refusal)
            return f"SN {client.address} refuses the heartbeat: {refusal}"
        if shown_ms is not None:
            self._offsets.add(client.address, shown_ms, sent_ms, time.monotonic() - begun)
        return ""

    def _is_superseded(self) -> bool:
        """True if the verified chain shows a newer start of this node: an SN's word alone does not end it."""
        known = network.node(self._chain().world, self._uid)
        return known is not None and known.incarnation > self._incarnation
