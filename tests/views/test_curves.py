"""Means over sites, and the best round."""

import math

import pytest

from swarmlearning.views.curves import Reported, RoundMean, best_round, round_means
from swarmlearning.views.render import mean_text
from swarmlearning.views.report import Performance, best_of


def reports(*metrics: float | None, number: int = 0) -> list[Reported]:
    return [Reported(number, f"site-{place}", None, metric) for place, metric in enumerate(metrics)]


def test_a_mean_is_over_the_sites_that_report_and_the_last_report_of_a_site_counts() -> None:
    found = [Reported(0, "a", 1.0, None), Reported(0, "b", None, None), Reported(0, "a", 3.0, 0.5)]
    found += [Reported(2, "b", 2.0, None)]
    assert round_means(found) == [RoundMean(0, 3.0, 0.5, 1), RoundMean(2, 2.0, None, 1)]


def test_the_best_round_has_the_highest_mean_metric_and_of_equal_ones_is_the_first() -> None:
    means = round_means([*reports(0.5, 0.7), *reports(0.8, 0.6, number=1), *reports(0.6, 0.8, number=2)])
    best = best_round(means, sites=2)
    assert best is not None
    assert best.round == 1


def test_without_metrics_the_best_round_has_the_lowest_mean_loss() -> None:
    means = [RoundMean(0, 0.9, None, 3), RoundMean(1, 0.2, None, 3), RoundMean(2, 0.4, None, 3)]
    assert best_round(means, sites=3) == means[1]
    assert best_round(means, sites=3, measure="metric") is None


def test_a_site_may_go_by_the_loss_although_there_are_metrics() -> None:
    means = [RoundMean(0, 0.1, 0.5, 3), RoundMean(1, 0.2, 0.9, 3)]
    assert best_round(means, sites=3) == means[1]
    assert best_round(means, sites=3, measure="loss") == means[0]


@pytest.mark.parametrize(("reporting", "counts"), [(1, False), (2, False), (3, True)])
def test_a_round_counts_only_with_reports_of_more_than_half_of_the_sites(reporting: int, counts: bool) -> None:
    means = [RoundMean(0, None, 0.4, 4), RoundMean(1, None, 0.99, reporting)]
    assert best_round(means, sites=4) == means[counts]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_mean_that_is_no_finite_number_is_never_the_best(odd: float) -> None:
    means = [RoundMean(0, odd, odd, 1), RoundMean(1, 5.0, 0.1, 1)]
    assert best_round(means, sites=1) == means[1]
    assert best_round(means, sites=1, measure="loss") == means[1]
    assert best_round(means[:1], sites=1) is None


def test_a_report_names_the_best_round_and_sites_that_measure_nothing_count_for_nothing() -> None:
    measured = [Performance(number, "a", 0.5, metric, 1, 2) for number, metric in enumerate((0.6, 0.9, 0.7))]
    silent = [Performance(number, site, None, None, 1, 2) for number in range(3) for site in "bcd"]
    best = best_of([*measured, *silent])
    assert best is not None
    assert mean_text(best) == "round 1, mean metric 0.9, loss 0.5 of 1 site"
    assert best_of(silent) is None
