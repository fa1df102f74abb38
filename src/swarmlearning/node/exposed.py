"""A node's metrics, where it is to serve them: until then nothing that they need is imported."""

import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from swarmlearning.ledger.chain import Chain
from swarmlearning.node.facts import measured_by
from swarmlearning.node.renewing import LiveIdentity

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

Refresh: TypeAlias = Callable[[], Awaitable[None]]
Add: TypeAlias = Callable[["CollectorRegistry"], Refresh | None]
"""Adds what a kind of node has beside the others; what it returns is awaited before each collection."""


@dataclass(frozen=True)
class MetricsPlace:
    """Where metrics are served; a port of 0 is any free one."""

    port: int
    host: str = "127.0.0.1"

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"


class Leased(Protocol):
    """What renews a node's lease."""

    @property
    def lease_age(self) -> float | None:
        """Seconds since it was renewed last; None before the first time."""


def nothing_more(registry: "CollectorRegistry") -> None:
    """For a node that has what all nodes have."""


@asynccontextmanager
async def exposed(
    place: MetricsPlace | None,
    kind: str,
    uid: str,
    directory: Path,
    own: LiveIdentity,
    chain: Callable[[], Chain],
    leased: Leased,
    add: Add = nothing_more,
) -> AsyncIterator[dict[str, str]]:
    """Inside the block this node's metrics are served, unless `place` is None; yields where, as a fact of the node.

    Raises `ListenError` where that address cannot be listened on.
    """
    if place is None:
        yield {}
        return
    from swarmlearning.node.exposing import Metrics, exposing
    from swarmlearning.node.metrics import new_registry

    registry = new_registry(kind, uid, directory, lambda: own.current, chain, leased)
    metrics = Metrics(registry, add(registry))
    async with exposing(place, metrics, own, uid, chain) as address:
        with measured_by(directory, metrics.text):
            yield {"metrics": address}
