"""Presence on etcd: one key for each node incarnation, on a lease of its own that any SN may renew.

    /presence/<uid>  {"incarnation": i, "steps": s, "moved": m, "training": t, "ahead_ms": a, "same_user": u,
                      "vitals": v}

The lease belongs to the node, not to the SN that made it: the death of an SN lets no node die with it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import NamedTuple

import msgspec

from swarmlearning.backoff import Backoff
from swarmlearning.ordering.etcd.gateway import Gateway, Operation, lease_is, put, value_is
from swarmlearning.ordering.protocols import Lease, OrderingError
from swarmlearning.views.training import TrainingProgress
from swarmlearning.views.vitals import Vitals

logger = logging.getLogger("swarm.presence")

PREFIX = b"/presence/"
LEASE_SECONDS = 2
"""The shortest that etcd has; gone after 2.1 to 2.5 s, and later when its leader dies too (4.2 to 4.8 s)."""
STATE_SECONDS = 5.0
"""Progress is stored at most this often: a heartbeat costs a renewal, not a write."""
REREAD_SECONDS = 5.0
"""A watch is a hint: so often the leases are read without one, too."""
RETRY_SECONDS = 0.2
"""Until leases are read again that could not be read."""


class _Held(msgspec.Struct, frozen=True):
    incarnation: int
    steps: int
    moved: int
    training: TrainingProgress | None = None
    ahead_ms: int = 0
    same_user: bool = False
    vitals: Vitals | None = None


class _Known(NamedTuple):
    """The lease of a node incarnation as this SN last renewed it, and when it stored the node's progress there."""

    number: int
    incarnation: int
    stored_at: float


class EtcdPresence:
    """`Presence` over one etcd member.

    While a node is present its key belongs to one lease, whichever SN made it: a key is stored only where there is none
    or an older start's. Two leases that two SNs made in the same moment would let the node die in turns.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._known: dict[str, _Known] = {}

    async def announce(self, lease: Lease) -> None:
        """Renews the lease of this node incarnation, whoever made it, or makes it."""
        key = PREFIX + lease.uid.encode()
        known = self._known.pop(lease.uid, None)
        if known is not None and known.incarnation == lease.incarnation and await self._gateway.renew(known.number):
            await self._store(key, lease, known)
            return
        found = next(iter(await self._gateway.range(key, None, 1)), None)
        if found is not None:
            incarnation = msgspec.json.decode(found.value, type=_Held).incarnation
            if incarnation > lease.incarnation:
                return
            if incarnation == lease.incarnation and await self._gateway.renew(found.lease):
                await self._store(key, lease, _Known(found.lease, incarnation, 0.0))
                return
        number = await self._gateway.grant(LEASE_SECONDS)
        known = _Known(number, lease.incarnation, 0.0)
        if not await self._store(key, lease, known, value_is(key, found.value if found else None)):
            await self._gateway.revoke(number)  # another SN was faster: the next heartbeat renews its lease

    async def leave(self, uid: str, incarnation: int) -> None:
        """Ends the lease if it is still that incarnation's."""
        key = PREFIX + uid.encode()
        found = await self._gateway.range(key, None, 1)
        if found and msgspec.json.decode(found[0].value, type=_Held).incarnation == incarnation:
            await self._gateway.revoke(found[0].lease)

    async def observe(self) -> AsyncIterator[dict[str, Lease]]:
        """All leases now, and again after every change of who is present."""
        changed = asyncio.Event()
        watching = asyncio.create_task(self._watch(changed))
        last: dict[str, int] | None = None
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(REREAD_SECONDS):
                        await changed.wait()
                changed.clear()
                try:
                    leases = await self.leases()
                except OrderingError as error:
                    logger.debug("%s", error)
                    await asyncio.sleep(RETRY_SECONDS)
                    changed.set()
                    continue
                present = {uid: lease.incarnation for uid, lease in leases.items()}
                if present != last:
                    last = present
                    yield leases
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, changed: asyncio.Event) -> None:
        """Sets `changed` when a watch has begun and after every change, until cancelled."""
        attempts = Backoff(0.05, 1.0)
        async for _ in attempts:
            try:
                async for _ in self._gateway.watch(PREFIX, PREFIX + b"~"):
                    attempts.reset()
                    changed.set()
            except OrderingError as error:
                logger.debug("%s", error)

    async def _store(self, key: bytes, lease: Lease, known: _Known, condition: Operation | None = None) -> bool:
        """Stores the progress of a node where it is due and the condition holds: that the key belongs to this lease,
        if no other is given. Returns False where it does not hold; then the lease is not known any more."""
        now = time.monotonic()
        if now - known.stored_at >= STATE_SECONDS:
            value = msgspec.json.encode(_Held(*lease[1:]))
            condition = condition or lease_is(key, known.number)
            if not await self._gateway.transact([condition], [put(key, value, known.number)]):
                return False
            known = known._replace(stored_at=now)
        self._known[lease.uid] = known
        return True

    async def leases(self) -> dict[str, Lease]:
        found = await self._gateway.range(PREFIX, PREFIX + b"~", 10_000)
        leases = {}
        for entry in found:
            uid = entry.key[len(PREFIX) :].decode()
            held = msgspec.json.decode(entry.value, type=_Held)
            leases[uid] = Lease(uid, *msgspec.structs.astuple(held))
        return leases
