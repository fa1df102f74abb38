"""Presence on etcd: one key for each node incarnation, on a lease of its own that any SN may renew.

    /presence/<uid>  {"incarnation": i, "steps": s, "moved": m, "training": t, "ahead_ms": a}

The lease belongs to the node, not to the SN that made it: the death of an SN lets no node die with it.
"""

import logging
import time
from collections.abc import AsyncIterator

import msgspec

from swarmlearning.backoff import Backoff
from swarmlearning.ordering.etcd.gateway import Gateway, put
from swarmlearning.ordering.protocols import Lease, OrderingError
from swarmlearning.views.training import TrainingProgress

logger = logging.getLogger("swarm.presence")

PREFIX = b"/presence/"
LEASE_SECONDS = 2
"""The shortest that etcd has; gone after 2.1 to 2.5 s, and later when its leader dies too (4.2 to 4.8 s)."""
STATE_SECONDS = 5.0
"""Progress is stored at most this often: a heartbeat costs a renewal, not a write."""


class _Held(msgspec.Struct, frozen=True):
    incarnation: int
    steps: int
    moved: int
    training: TrainingProgress | None = None
    ahead_ms: int = 0


class EtcdPresence:
    """`Presence` over one etcd member."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._known: dict[str, tuple[int, Lease, float]] = {}

    async def announce(self, lease: Lease) -> None:
        """Renews the lease of this node incarnation, whoever made it, or makes it."""
        key = PREFIX + lease.uid.encode()
        known = self._known.get(lease.uid)
        if known is None or known[1].incarnation != lease.incarnation:
            found = await self._gateway.range(key, None, 1)
            if found:
                held = msgspec.json.decode(found[0].value, type=_Held)
                if held.incarnation > lease.incarnation:
                    return
                if held.incarnation == lease.incarnation:
                    known = (found[0].lease, lease, 0.0)
        mine = known is not None and known[1].incarnation == lease.incarnation
        if known is not None and mine and await self._gateway.renew(known[0]):
            await self._store(key, lease, known[0], known[2])
            return
        number = await self._gateway.grant(LEASE_SECONDS)
        await self._store(key, lease, number, 0.0)

    async def leave(self, uid: str, incarnation: int) -> None:
        """Ends the lease if it is still that incarnation's."""
        key = PREFIX + uid.encode()
        found = await self._gateway.range(key, None, 1)
        if found and msgspec.json.decode(found[0].value, type=_Held).incarnation == incarnation:
            await self._gateway.revoke(found[0].lease)

    async def observe(self) -> AsyncIterator[dict[str, Lease]]:
        """All leases now, and again after every change."""
        last: dict[str, int] | None = None
        attempts = Backoff(0.05, 1.0)
        async for _ in attempts:
            try:
                async for _ in self._gateway.watch(PREFIX, PREFIX + b"~"):
                    attempts.reset()
                    leases = await self.leases()
                    present = {uid: lease.incarnation for uid, lease in leases.items()}
                    if present != last:
                        last = present
                        yield leases
            except OrderingError as error:
                logger.debug("%s", error)

    async def _store(self, key: bytes, lease: Lease, number: int, stored_at: float) -> None:
        now = time.monotonic()
        if now - stored_at >= STATE_SECONDS:
            value = msgspec.json.encode(_Held(*lease[1:]))
            await self._gateway.transact([], [put(key, value, number)])
            stored_at = now
        self._known[lease.uid] = (number, lease, stored_at)

    async def leases(self) -> dict[str, Lease]:
        found = await self._gateway.range(PREFIX, PREFIX + b"~", 10_000)
        leases = {}
        for entry in found:
            uid = entry.key[len(PREFIX) :].decode()
            held = msgspec.json.decode(entry.value, type=_Held)
            leases[uid] = Lease(uid, held.incarnation, held.steps, held.moved, held.training, held.ahead_ms)
        return leases
