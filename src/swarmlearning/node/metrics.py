"""What every node measures of itself, collected when it is asked. See docs/metrics.md for all metrics by name."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from swarmlearning import __version__
from swarmlearning.identity.identity import Identity
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.node.exposed import Leased
from swarmlearning.node.vitals import measured
from swarmlearning.views.nodes import authority_expiries

MOST_LABELLED: Final = 64
"""Sites, contracts or organisations that get series of their own: others choose how many there are, and their names."""

Sample = tuple[Sequence[str], float]


def gauge(name: str, text: str, value: float | None, **labels: str) -> Iterator[Metric]:
    """A gauge with one value; none where that is not known."""
    if value is not None:
        yield gauges(name, text, tuple(labels), [(tuple(labels.values()), value)])


def gauges(name: str, text: str, labels: Sequence[str], samples: Iterable[Sample]) -> Metric:
    """A gauge with a value for each of these labels' values, at most `MOST_LABELLED`."""
    family = GaugeMetricFamily(f"swarm_{name}", text, labels=labels)
    for values, value in list(samples)[:MOST_LABELLED]:
        family.add_metric(values, value)
    return family


def new_registry(
    kind: str,
    uid: str,
    directory: Path,
    identity: Callable[[], Identity],
    chain: Callable[[], Chain],
    leased: Leased,
) -> CollectorRegistry:
    """A registry with what all nodes have; each adds its own."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    NodeMetrics(registry, kind, uid, directory, identity, chain, leased)
    return registry


class NodeMetrics(Collector):
    """A node's ledger, lease, certificate and machine. `describe` runs nothing."""

    def __init__(
        self,
        registry: CollectorRegistry,
        kind: str,
        uid: str,
        directory: Path,
        identity: Callable[[], Identity],
        chain: Callable[[], Chain],
        leased: Leased,
    ) -> None:
        self._kind = kind
        self._uid = uid
        self._directory = directory
        self._identity = identity
        self._chain = chain
        self._leased = leased
        registry.register(self)
        ProcessCollector(registry=registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on the moment."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """See `Collector`; called in a thread."""
        chain = self._chain()
        yield from gauge(
            "node_info", "Always 1.", 1, type=self._kind, uid=self._uid, version=__version__, network=chain.network_id
        )
        yield from gauge("ledger_height", "Number of the newest verified block.", chain.height)
        if chain.height >= 0:
            text = "Block time of the newest verified block (Unix time)."
            yield from gauge("ledger_newest_block_timestamp_seconds", text, chain.time_ms / 1000)
        text = "Seconds since an SN has renewed this node's lease; without one for some seconds it is lost."
        yield from gauge("lease_age_seconds", text, self._leased.lease_age)
        yield from self._machine()
        yield from self._authorities(chain)

    def _machine(self) -> Iterator[Metric]:
        found = measured(self._directory, self._identity())
        text = "End of this node's certificate (Unix time)."
        yield from gauge("certificate_expiry_timestamp_seconds", text, _seconds(found.expires_ms))
        yield from gauge("disk_free_bytes", "Free for this node's user in its data directory.", found.disk_free)
        yield from gauge("disk_size_bytes", "Size of that file system.", found.disk_total)
        yield from gauge("memory_available_bytes", "Memory that this node may still use.", found.memory_free)
        yield from gauge("memory_size_bytes", "Memory that there is for it.", found.memory_total)

    def _authorities(self, chain: Chain) -> Iterator[Metric]:
        """The end of the last authority of this node's own organisation."""
        known = network.node(chain.world, self._uid)
        ends = [
            each.expires_ms
            for each in authority_expiries(chain.world)
            if known is not None and each.organisation == known.organisation
        ]
        text = "End of the last authority of this node's organisation (Unix time)."
        yield from gauge("authority_expiry_timestamp_seconds", text, _seconds(max(ends, default=None)))


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
