"""The interface of an ordering engine as an SN uses it: the embedded one, or `Cluster` (`cluster.py`) for etcd."""

import asyncio
import logging
import os
from pathlib import Path
from typing import Protocol

from swarmlearning.node.errors import NodeError
from swarmlearning.ordering.etcd.binary import HOW_TO_INSTALL, check_version, find_binary
from swarmlearning.ordering.etcd.gateway import Member
from swarmlearning.ordering.local import LocalPresence
from swarmlearning.ordering.protocols import EngineChoice, Head, Lease, Log, OrderingError
from swarmlearning.sn.switch import Switch

logger = logging.getLogger("swarm.SN")

LOCAL_ONLY = (
    "this SN orders alone (--ordering local) and accepts no second SN; stop it, install etcd (Debian, Ubuntu: apt-get "
    "install etcd-server) and start it again with --ordering etcd: its chain is kept"
)
LOCAL_HINT = (
    f"several SNs need etcd. {HOW_TO_INSTALL[0].upper()}{HOW_TO_INSTALL[1:]}, then start the SN with --ordering etcd: "
    "its chain is kept"
)


async def etcd_program(ordering: EngineChoice, *, witness: bool) -> Path | None:
    """The etcd program to order with, None for the embedded engine. Raises `NodeError` or `OrderingError`."""
    if ordering == "local":
        return None
    binary = find_binary(os.environ)
    if binary is None and (ordering == "etcd" or witness):
        raise NodeError(f"--ordering etcd needs etcd, which is not in PATH: {HOW_TO_INSTALL}")
    if binary is None:
        logger.warning("etcd is not installed: this SN orders alone, no other SN can join (%s)", HOW_TO_INSTALL)
        return None
    logger.info("Ordering by etcd %s", await check_version(binary))
    return binary


class Engine(Protocol):
    """The ordering engine of this SN: `LocalEngine`, or `Cluster` for etcd."""

    name: str
    switch: Switch

    @property
    def votes(self) -> bool:
        """True if this SN orders by itself."""
        ...

    async def run(self) -> None:
        """Maintains the engine until cancelled."""
        ...

    async def stop(self) -> None:
        """Stops it in good order."""
        ...

    async def order(self, expected: Head, entry: bytes) -> Head:
        """Orders an entry for another SN. Raises `ConflictError` or `OrderingError`."""
        ...

    async def remove(self, uid: str) -> None:
        """Ends the vote of an SN at its request. Raises `OrderingError`."""
        ...

    async def left(self, seconds: float) -> None:
        """Waits until this SN has no vote any more; for so long at most."""
        ...

    async def members(self) -> list[Member]:
        """The cluster's members; empty where there is none, or no majority."""
        ...

    async def leases(self) -> dict[str, Lease] | None:
        """The leases of the nodes that are present; None where this SN does not know."""
        ...

    async def alarms(self) -> list[str]:
        """The alarms of the engine, for an operator."""
        ...


class LocalEngine:
    """The embedded engine behind the same interface as `Cluster`: one SN, and no other."""

    name = "local"
    votes = True

    def __init__(self, log: Log, presence: LocalPresence) -> None:
        self.switch = Switch(log, presence)
        self._presence = presence

    async def run(self) -> None:
        """There is nothing to maintain."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """There is nothing to stop."""

    async def order(self, expected: Head, entry: bytes) -> Head:
        """Nobody else orders here."""
        raise OrderingError(LOCAL_ONLY)

    async def remove(self, uid: str) -> None:
        """There is no cluster."""
        raise OrderingError(LOCAL_ONLY)

    async def left(self, seconds: float) -> None:
        """There is no vote."""

    async def members(self) -> list[Member]:
        """There is no cluster."""
        return []

    async def leases(self) -> dict[str, Lease] | None:
        """The leases of the nodes that are present."""
        return self._presence.leases()

    async def alarms(self) -> list[str]:
        """None: a fault ends this SN, with the reason."""
        return []
