"""The server's work behind its API: judges requests for tokens, and writes what it lends to the disk before it answers.

Of two servers one is the secondary. Each follows the leases of the other, so both know them all; the secondary lends
only while it has not heard the primary for some seconds.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress

from swarmlearning.license.features import Feature, LicenseError
from swarmlearning.license.leases import FullError, Holder, Lease, LeaseTable
from swarmlearning.license.messages import MOST_IN_AN_ANSWER, Code, Granted, Leases
from swarmlearning.license.rights import Rights
from swarmlearning.license.store import LeaseStore

logger = logging.getLogger("swarm.license")

LEASE_SECONDS = 1800.0
"""As long as the original's tokens are valid."""
TAKEOVER_SECONDS = 5.0
SWEEP_SECONDS = 60.0


class RefusalError(Exception):
    """The server's answer to a request that it refuses."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Office:
    """One server's leases. `rights`: what its documents allow now."""

    def __init__(
        self,
        store: LeaseStore,
        rights: Callable[[], Rights],
        lease_seconds: float = LEASE_SECONDS,
        *,
        standby: bool = False,
        takeover_seconds: float = TAKEOVER_SECONDS,
        now_ms: Callable[[], int] = _now_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now_ms`: Unix time in milliseconds; `monotonic`: seconds that never go back.

        Raises `LicenseError` when the store cannot be read.
        """
        self._store = store
        self._rights = rights
        self._lease_ms = int(lease_seconds * 1000)
        self._standby = standby
        self._takeover_seconds = takeover_seconds
        self._monotonic = monotonic
        self._heard = monotonic()
        self._now_ms = now_ms
        self._table = LeaseTable(store.load())
        self._lends = False
        self._silent_since_ms = self._table.last_changed_ms
        self._start = secrets.token_hex(8)
        self._changed = asyncio.Condition()

    # --- tokens -----------------------------------------------------------------------------------------------------

    async def acquire(self, feature: Feature, holder: Holder) -> Granted:
        """Lends a token, or renews the lease of who has one. Raises `RefusalError`, or `LicenseError` (the disk)."""
        await self._begin_duty()
        now = self._now_ms()
        right = self._rights().of(feature, now)
        try:
            lease = self._table.acquire(feature, holder, right, self._lease_ms, now)
        except FullError as error:
            raise RefusalError(Code.BUSY, f"{error}; try again later") from error
        if lease is None:
            in_use = self._table.in_use(feature, now)
            used = f"{in_use} of {right.capacity} tokens are in use"
            detail = "; ".join(text for text in (used if right.capacity else "", right.why_not) if text)
            logger.info("%s: no token for %s %s: %s", feature.versioned, holder.subject, holder.uid, detail)
            raise RefusalError(Code.NO_TOKEN, detail)
        if lease.granted_ms == lease.changed_ms:
            logger.info("%s: a token for %s %s", feature.versioned, holder.subject, holder.uid)
        await self._save(lease)
        return Granted((lease.until_ms - now) / 1000)

    async def release(self, feature: Feature, holder: Holder) -> None:
        """Takes a token back, if it is lent. Raises `RefusalError`, or `LicenseError`."""
        await self._begin_duty()
        if (lease := self._table.release(feature, holder, self._now_ms())) is not None:
            logger.info("%s: the token of %s %s is back", feature.versioned, holder.subject, holder.uid)
            await self._save(lease)

    def lent(self, feature: Feature) -> int:
        """The tokens of a feature that are lent now."""
        return self._table.in_use(feature, self._now_ms())

    def leases(self) -> list[Lease]:
        """All leases that are kept, with those given back lately."""
        return list(self._table)

    async def sweep(self) -> None:
        """Forgets until cancelled what does not matter any more."""
        while True:
            if gone := self._table.forget(self._now_ms()):
                try:
                    await self._store.save((), gone)
                except LicenseError as error:  # they are forgotten for good at the next start
                    logger.error("%s", error)
            await asyncio.sleep(SWEEP_SECONDS)

    # --- two servers ------------------------------------------------------------------------------------------------

    @property
    def on_duty(self) -> bool:
        """True while this server lends: a secondary only while it does not hear the primary."""
        return not self._standby or self._monotonic() - self._heard > self._takeover_seconds

    def hear(self) -> None:
        """The other server has shown that it is at work."""
        self._heard = self._monotonic()
        if self._standby:
            self._silent_since_ms = self._now_ms()
            if self._lends:
                logger.warning("The primary license server is at work again: this secondary stands by")
            self._lends = False

    async def changes(self, start: str, number: int, patience: float) -> Leases:
        """What has changed since, once something has, or after `patience` seconds; all if it is about another start."""
        if start == self._start and number >= self._table.changes:
            with suppress(TimeoutError):
                async with asyncio.timeout(patience), self._changed:
                    await self._changed.wait_for(lambda: self._table.changes > number)
        since = number if start == self._start else 0
        leases, last = self._table.since(since, MOST_IN_AN_ANSWER)
        return Leases(self._start, last, leases, more=last < self._table.changes)

    async def merge(self, leases: list[Lease]) -> None:
        """Takes over what the other server knows better. Raises `LicenseError`."""
        now, newer = self._now_ms(), list[Lease]()
        for lease in leases:
            try:
                if self._table.merge(lease, now):
                    newer.append(lease)
            except FullError as error:
                logger.warning("A lease of the other license server is not taken over: %s", error)
        if newer:
            await self._save(*newer)

    async def _begin_duty(self) -> None:
        """Before this server lends for the first time. Raises `RefusalError` while it stands by, or `LicenseError`."""
        if not self.on_duty:
            raise RefusalError(Code.STANDBY, "this is the secondary license server, and the primary is at work")
        if self._lends:
            return
        self._lends = True
        if self._standby:
            logger.warning("The primary license server is silent: this secondary lends now")
        if extended := self._table.extend(self._silent_since_ms, self._lease_ms, self._now_ms()):
            logger.info("%d tokens were lent when the last server fell silent, and are kept", len(extended))
            await self._save(*extended)

    async def _save(self, *leases: Lease) -> None:
        await self._store.save(leases)
        async with self._changed:
            self._changed.notify_all()
