"""What an SN measures of the network: from the same status that `swarm status` shows."""

from collections import Counter as Counts
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from swarmlearning.node.metrics import TRAININGS, gauge, gauges
from swarmlearning.sn.status import Status, TrainingStatus
from swarmlearning.views.names import displayed

SN: Final = {
    "ordering_majority": "1 while blocks can be ordered; missing where this SN has no vote and does not know.",
    "nodes": "Registered nodes, by `type` and `state`.",
    "alerts": "Alerts of `swarm status`, by `code` and `severity`.",
    "sn_lag_blocks": "Blocks that each `sn` is behind.",
}
"""Of an SN, beside those of every node and of trainings."""


class SnMetrics(Collector):
    """The network as this SN sees it; `refresh` asks for it, and is called before the metrics are collected."""

    def __init__(self, registry: CollectorRegistry, status: Callable[[], Awaitable[Status]]) -> None:
        self._status = status
        self._latest: Status | None = None
        registry.register(self)

    async def refresh(self) -> None:
        """Takes the status as it is now."""
        self._latest = await self._status()

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on the moment."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """See `Collector`; called in a thread."""
        if (found := self._latest) is None:
            return
        if found.majority is not None:
            yield from gauge(SN, "ordering_majority", int(found.majority))
        nodes = Counts((each.type, each.state) for each in found.nodes)
        yield gauges(SN, "nodes", ["type", "state"], [(key, count) for key, count in nodes.items()])
        alerts = Counts((each.code, each.severity) for each in found.alerts)
        yield gauges(SN, "alerts", ["code", "severity"], list(alerts.items()))
        yield gauges(
            SN,
            "sn_lag_blocks",
            ["sn"],
            [((displayed(each.name),), each.lag) for each in found.sns if each.lag is not None],
        )
        yield from self._trainings(found.trainings)

    def _trainings(self, trainings: list[TrainingStatus]) -> Iterator[Metric]:
        named = [(displayed(each.name), each) for each in trainings]
        facts: dict[str, Callable[[TrainingStatus], float | None]] = {
            "training_rounds": lambda each: each.rounds,
            "training_over": lambda each: int(each.over),
            "training_members": lambda each: len(each.members),
            "training_min_peers": lambda each: each.min_peers,
            "training_models": lambda each: each.waiting["have"],
            "round_opened_timestamp_seconds": lambda each: (
                each.waiting["since_ms"] / 1000 if each.waiting["since_ms"] is not None else None
            ),
        }
        for metric, value in facts.items():
            samples = [((name,), found) for name, each in named if (found := value(each)) is not None]
            yield gauges(TRAININGS, metric, ["contract"], samples)
        causes = Counts((name, awaited["reason"]) for name, each in named for awaited in each.waiting["awaited"])
        yield gauges(TRAININGS, "waiting_sites", ["contract", "cause"], list(causes.items()))
