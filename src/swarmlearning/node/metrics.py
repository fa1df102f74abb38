"""What every node measures of itself, collected when it is asked.

Here, and in `sl/metrics.py` and `sn/metrics.py`, a table has the metrics by name, without the prefix `swarm_`, with the
text that is served as their help and stands in the reference of the documentation.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

NODE: Final = {
    "node_info": "Always 1; labels `type`, `uid`, `version`, `network`.",
    "ledger_height": "Number of the newest verified block.",
    "ledger_newest_block_timestamp_seconds": "Block time of the newest verified block (Unix time).",
    "lease_age_seconds": "Since an SN has renewed this node's lease; after some seconds the others take it for lost.",
    "certificate_expiry_timestamp_seconds": "End of this node's certificate (Unix time).",
    "authority_expiry_timestamp_seconds": "End of the last authority of this node's organisation (Unix time).",
    "disk_free_bytes": "Free where its data directory is, for this node's user.",
    "disk_size_bytes": "Size of that file system.",
    "memory_available_bytes": "Memory that this node may still use: the machine's, or of its control group.",
    "memory_size_bytes": "All of that memory.",
}
"""Of every node."""
TRAININGS: Final = {
    "training_rounds": "Closed rounds of this run, by `contract` as all of these.",
    "training_over": "1 once the training is over.",
    "training_members": "Members with a session.",
    "training_min_peers": "Models that a round needs.",
    "training_models": "Models that are in, or sessions before round 0.",
    "round_opened_timestamp_seconds": "When the round in progress opened (Unix time).",
    "waiting_sites": "Members whose model is not in, by `cause`: `expected`, `lost`, `ml-lost`, `unreachable`, …",
}
"""Of a training: an SN's of each contract, an SL's of its own."""

Sample = tuple[Sequence[str], float]


def gauge(table: Mapping[str, str], name: str, value: float | None, **labels: str) -> Iterator[Metric]:
    """A gauge of a table with one value; none where that is not known."""
    if value is not None:
        yield gauges(table, name, tuple(labels), [(tuple(labels.values()), value)])


def gauges(table: Mapping[str, str], name: str, labels: Sequence[str], samples: Iterable[Sample]) -> Metric:
    """A gauge of a table with a value for each of these labels' values, at most `MOST_LABELLED`."""
    family = GaugeMetricFamily(f"swarm_{name}", table[name], labels=labels)
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
        about = {"type": self._kind, "uid": self._uid, "version": __version__, "network": chain.network_id}
        yield from gauge(NODE, "node_info", 1, **about)
        yield from gauge(NODE, "ledger_height", chain.height)
        if chain.height >= 0:
            yield from gauge(NODE, "ledger_newest_block_timestamp_seconds", chain.time_ms / 1000)
        yield from gauge(NODE, "lease_age_seconds", self._leased.lease_age)
        yield from self._machine()
        yield from self._authorities(chain)

    def _machine(self) -> Iterator[Metric]:
        found = measured(self._directory, self._identity())
        yield from gauge(NODE, "certificate_expiry_timestamp_seconds", _seconds(found.expires_ms))
        yield from gauge(NODE, "disk_free_bytes", found.disk_free)
        yield from gauge(NODE, "disk_size_bytes", found.disk_total)
        yield from gauge(NODE, "memory_available_bytes", found.memory_free)
        yield from gauge(NODE, "memory_size_bytes", found.memory_total)

    def _authorities(self, chain: Chain) -> Iterator[Metric]:
        """The end of the last authority of this node's own organisation."""
        known = network.node(chain.world, self._uid)
        ends = [
            each.expires_ms
            for each in authority_expiries(chain.world)
            if known is not None and each.organisation == known.organisation
        ]
        yield from gauge(NODE, "authority_expiry_timestamp_seconds", _seconds(max(ends, default=None)))


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
