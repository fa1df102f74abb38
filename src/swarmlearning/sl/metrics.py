"""What an SL measures of its part in rounds: counted with each record of its diary, and read off the ledger."""

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.node.metrics import MOST_LABELLED, TRAININGS, gauge, gauges
from swarmlearning.sl.slicemetrics import of_slices
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.views.names import displayed, name_of, node_names
from swarmlearning.views.times import PHASES, RoundTimes
from swarmlearning.views.training import participation, waiting

SECONDS: Final = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600, 3 * 3600, 12 * 3600)
OTHERS: Final = "other"
SL: Final = {
    "round_seconds": "Histogram: from a round's opening to its end, as seen here.",
    "phase_seconds": "Histogram: work of a `phase` in a round: `training`, `hand-over`, `transfer`, `merge`, `ledger`.",
    "received_bytes_total": "Bytes of models fetched, by the `site` that they came from.",
    "transfer_seconds_total": "Seconds of these transfers, by `site`.",
    "transfer_failures_total": "Transfers that came to nothing, by `site`.",
    "sent_bytes_total": "Bytes of models that others have fetched here.",
    "merged_bytes_total": "Bytes of models merged here.",
    "change_bytes": "Bytes of the coded change that this site gave last, in place of a whole model.",
    "change_length": "Euclidean length of that change.",
    "change_residual_length": "Length of what coding has left out so far, which is added to the next change.",
    "site_rounds_contributed": "Rounds in which the model of each `site` was merged, by the ledger.",
    "site_rounds_late": "Rounds for which the model of each `site` was too late.",
    "site_rounds_repeated": "Rounds in which the model of each `site` was merged without being trained for the round.",
    "script_connected": "1 while a training script is connected.",
    "script_batches": "Batches that the script has trained.",
    "script_batches_per_second": "Its speed without syncs.",
    "script_idle_seconds": "Since the last batch was seen, while it trains.",
}
"""Of an SL, beside those of every node and of its training."""


class SlMetrics(Collector):
    """An SL's rounds, as `watch` measures them. `contract` names the training that it takes part in, empty before."""

    def __init__(
        self,
        registry: CollectorRegistry,
        chain: Callable[[], Chain],
        contract: Callable[[], str],
        watch: Stopwatch,
    ) -> None:
        self._chain = chain
        self._contract = contract
        self._watch = watch
        self._received: dict[str, int] = {}
        self._seconds: dict[str, float] = {}
        self._failed: dict[str, int] = {}
        self._rounds = Histogram("swarm_round_seconds", SL["round_seconds"], buckets=SECONDS, registry=registry)
        self._phases = Histogram(
            "swarm_phase_seconds", SL["phase_seconds"], ["phase"], buckets=SECONDS, registry=registry
        )
        self._merged = Counter("swarm_merged_bytes_total", SL["merged_bytes_total"], registry=registry)
        registry.register(self)
        watch.on_closed.append(self.closed)

    def closed(self, record: RoundTimes) -> None:
        """Counts what is in the record of a closed round."""
        if record.opened is not None and record.ended is not None and not record.restarted:
            self._rounds.observe((record.ended - record.opened) / 1000)
        spent = dict.fromkeys(PHASES.values(), 0.0)
        for span in record.spans:
            lasted = ((span.end or 0) - max(span.begin, 0)) / 1000
            spent[span.phase] += max(0.0, lasted)
            if span.what == "fetch":
                self._count_link(span.uid, span.bytes, lasted, failed=bool(span.fault))
            elif span.what == "merge":
                self._merged.inc(span.bytes)
        for phase in {span.phase for span in record.spans}:
            self._phases.labels(phase).observe(spent[phase])

    def _count_link(self, uid: str, size: int, seconds: float, *, failed: bool) -> None:
        peer = uid if uid in self._seconds or len(self._seconds) < MOST_LABELLED - 1 else OTHERS
        self._seconds[peer] = self._seconds.get(peer, 0.0) + max(0.0, seconds)
        self._received[peer] = self._received.get(peer, 0) + size
        self._failed[peer] = self._failed.get(peer, 0) + failed

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on the moment."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """See `Collector`; called in a thread."""
        names = node_names(self._chain().world)
        links: tuple[tuple[str, Mapping[str, float]], ...] = (
            ("received_bytes_total", self._received),
            ("transfer_seconds_total", self._seconds),
            ("transfer_failures_total", self._failed),
        )
        for name, counts in links:
            family = CounterMetricFamily(f"swarm_{name}", SL[name], labels=["site"])
            for uid, count in sorted(dict(counts).items()):
                family.add_metric([name_of(names, uid)], count)
            yield family
        yield CounterMetricFamily("swarm_sent_bytes_total", SL["sent_bytes_total"], value=self._watch.sent)
        yield from self._of_script()
        if (coded := self._watch.coded) is not None:
            yield from gauge(SL, "change_bytes", coded.bytes)
            yield from gauge(SL, "change_length", coded.change)
            yield from gauge(SL, "change_residual_length", coded.residual)
        if contract := self._contract():
            yield from self._of_training(state_of(self._chain().world, contract))

    def _of_script(self) -> Iterator[Metric]:
        script = self._watch.script()
        yield from gauge(SL, "script_connected", int(script is not None))
        if script is not None:
            yield from gauge(SL, "script_batches", script.steps)
            yield from gauge(SL, "script_idle_seconds", script.idle_ms / 1000)
            yield from gauge(SL, "script_batches_per_second", script.batches_per_second)

    def _of_training(self, state: Training) -> Iterator[Metric]:
        facts, labels = waiting(state), {"contract": displayed(state.name)}
        yield from training_gauges(state, labels)
        causes = Counts(each.reason for each in facts.awaited)
        yield gauges(
            TRAININGS,
            "waiting_sites",
            [*labels, "cause"],
            [((*labels.values(), cause), count) for cause, count in sorted(causes.items())],
        )
        names, taken = node_names(self._chain().world), participation(state)
        yield from of_slices(state, names)
        for part in ("contributed", "late", "repeated"):
            yield gauges(
                SL,
                f"site_rounds_{part}",
                ["site"],
                [((name_of(names, one.uid),), getattr(one, part)) for one in taken.members],
            )


def training_gauges(state: Training, labels: dict[str, str]) -> Iterator[Metric]:
    """How far a training is, and whether it is over."""
    facts = waiting(state)
    yield from gauge(TRAININGS, "training_rounds", state.rounds, **labels)
    yield from gauge(TRAININGS, "training_over", int(state.over), **labels)
    yield from gauge(TRAININGS, "training_members", len(state.members), **labels)
    yield from gauge(TRAININGS, "training_min_peers", facts.need, **labels)
    yield from gauge(TRAININGS, "training_models", facts.have, **labels)
    if facts.since_ms is not None:
        yield from gauge(TRAININGS, "round_opened_timestamp_seconds", facts.since_ms / 1000, **labels)
