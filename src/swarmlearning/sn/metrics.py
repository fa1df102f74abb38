"""What an SN measures of the network: from the same status that `swarm status` shows. See docs/metrics.md."""

from collections import Counter as Counts
from collections.abc import Awaitable, Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from swarmlearning.node.metrics import gauge, gauges
from swarmlearning.sn.status import Status, TrainingStatus
from swarmlearning.views.names import displayed


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
            yield from gauge("ordering_majority", "1 while blocks can be ordered.", int(found.majority))
        nodes = Counts((each.type, each.state) for each in found.nodes)
        yield gauges("nodes", "Registered nodes.", ["type", "state"], [(key, count) for key, count in nodes.items()])
        alerts = Counts((each.code, each.severity) for each in found.alerts)
        yield gauges("alerts", "Alerts of swarm status.", ["code", "severity"], list(alerts.items()))
        yield gauges(
            "sn_lag_blocks",
            "Blocks that an SN is behind.",
            ["sn"],
            [((displayed(each.name),), each.lag) for each in found.sns if each.lag is not None],
        )
        yield from self._trainings(found.trainings)

    def _trainings(self, trainings: list[TrainingStatus]) -> Iterator[Metric]:
        named = [(displayed(each.name), each) for each in trainings]
        facts: dict[str, tuple[str, Callable[[TrainingStatus], float | None]]] = {
            "training_rounds": ("Closed rounds of this run.", lambda each: each.rounds),
            "training_over": ("1 once the training is over.", lambda each: int(each.over)),
            "training_members": ("Members with a session.", lambda each: len(each.members)),
            "training_min_peers": ("Models that a round needs.", lambda each: each.min_peers),
            "training_models": ("Models that are in, or sessions before round 0.", lambda each: each.waiting["have"]),
            "round_opened_timestamp_seconds": (
                "When the round in progress opened (Unix time).",
                lambda each: each.waiting["since_ms"] / 1000 if each.waiting["since_ms"] is not None else None,
            ),
        }
        for metric, (text, value) in facts.items():
            samples = [((name,), found) for name, each in named if (found := value(each)) is not None]
            yield gauges(metric, text, ["contract"], samples)
        causes = Counts((name, awaited["reason"]) for name, each in named for awaited in each.waiting["awaited"])
        text = "Members whose model is not in, by reason."
        yield gauges("waiting_sites", text, ["contract", "cause"], list(causes.items()))
