"""The swarm's curves: for each round the mean loss and metric of the sites, and which round was the best.

Each site evaluates the result of a round on its own validation data and reports that (`ReportPerformance`). The means
weigh all sites alike. A round counts for the best only if more than half of the sites that have reported anything did
so for it: otherwise one site with easy data would decide.
"""

from collections.abc import Collection, Iterable
from math import isfinite
from typing import Literal, TypeAlias

import msgspec

Measure: TypeAlias = Literal["metric", "loss"]
"""By what the best round is found: the highest mean metric, or the lowest mean loss."""


class Reported(msgspec.Struct, frozen=True):
    """What one site has measured with the result of a round; None: nothing."""

    round: int
    site: str
    loss: float | None
    metric: float | None


class RoundMean(msgspec.Struct, frozen=True):
    """The mean loss and metric of a round's result over the sites that reported any; None: none did."""

    round: int
    loss: float | None
    metric: float | None
    sites: int


def round_means(reports: Iterable[Reported]) -> list[RoundMean]:
    """A mean for each round with a report, in order. Of several reports by a site for a round the last one counts."""
    latest = {(each.round, each.site): each for each in reports if each.loss is not None or each.metric is not None}
    by_round: dict[int, list[Reported]] = {}
    for each in latest.values():
        by_round.setdefault(each.round, []).append(each)
    return [_mean(number, found) for number, found in sorted(by_round.items())]


def best_round(means: Collection[RoundMean], sites: int, measure: Measure | None = None) -> RoundMean | None:
    """The best round, of equal ones the earliest: by mean metric, or by mean loss where no site reports a metric.

    `sites`: how many sites have reported anything in this training; `measure`: go by this one alone.
    """
    counting = [each for each in means if 2 * each.sites > sites]
    with_metric = [each for each in counting if each.metric is not None and isfinite(each.metric)]
    with_loss = [each for each in counting if each.loss is not None and isfinite(each.loss)]
    if measure == "metric" or (measure is None and with_metric):
        return max(with_metric, key=lambda each: (each.metric or 0.0, -each.round), default=None)
    return min(with_loss, key=lambda each: (each.loss or 0.0, each.round), default=None)


def _mean(number: int, reports: Collection[Reported]) -> RoundMean:
    losses = [each.loss for each in reports if each.loss is not None]
    metrics = [each.metric for each in reports if each.metric is not None]
    return RoundMean(number, average(losses), average(metrics), len(reports))


def average(values: Collection[float]) -> float | None:
    """The mean; None of nothing."""
    return sum(values) / len(values) if values else None
