"""The adaptive interval: its table, its bounds, and that no order of reports changes it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.play import Play
from swarmlearning.ledger.contracts.training.adaptive import (
    FASTEST,
    SLOWEST,
    Pace,
    mean_progress,
    next_interval,
    relative,
)

START = Pace(eighths=8)

finite = st.floats(-1e300, 1e300)


def eighths(*means: float) -> list[int]:
    """The pace after each of these mean relative losses."""
    paces = itertools.accumulate(means, lambda pace, mean: pace.after(mean), initial=START)
    return [pace.eighths for pace in paces][1:]


def test_the_pace_grows_by_a_quarter_while_losses_fall_and_is_halved_when_they_do_not() -> None:
    assert eighths(*[0.9] * 9) == [10, 13, 17, 22, 28, 32, 32, 32, 32]
    assert eighths(1, 1.2, 1.1, 2) == [4, 2, 2, 2]
    assert eighths(0.9, 1.1, 0.9) == [10, 5, 7]


def test_the_pace_is_halved_when_losses_are_equal() -> None:
    assert eighths(1.0) == [4]


@pytest.mark.parametrize(
    ("loss", "best", "expected"),
    [
        (0.9, 1.0, 0.9),
        (1.1, 1.0, 1.1),
        (0.1, 1.0, 0.5),
        (9.0, 1.0, 2.0),
        (1e300, 1e-300, 2.0),
        (1e-300, 1e300, 0.5),
        (0.0, 1.0, 0.5),
        (0.0, 0.0, 1.0),
        (1.0, 0.0, 2.0),
        (-1.0, -1.0, 1.0),
        (-1.1, -1.0, 0.5),
        (-0.9, -1.0, 2.0),
        (-1e300, 1e300, 0.5),
    ],
)
def test_a_loss_counts_relative_to_the_best_before_it_within_bounds(loss: float, best: float, expected: float) -> None:
    assert relative(loss, best) == pytest.approx(expected)


@given(finite, finite)
def test_a_relative_loss_is_below_1_if_and_only_if_it_is_better(loss: float, best: float) -> None:
    found = relative(loss, best)
    assert 0.5 <= found <= 2
    assert (found < 1) <= (loss < best)
    assert (found > 1) <= (loss > best)


@given(finite, finite)
def test_whatever_one_of_several_sites_reports_moves_the_mean_by_its_share_only(lie: float, best: float) -> None:
    honest = {"a": 0.9, "b": 0.8, "c": 0.9}
    found = mean_progress(honest | {"liar": lie}, {"a": 1.0, "b": 1.0, "c": 1.0, "liar": best})
    assert found is not None
    assert (sum(honest.values()) + 0.5) / 4 <= found + 1e-9
    assert found - 1e-9 <= (sum(honest.values()) + 2) / 4


def test_a_site_that_reports_a_loss_for_the_first_time_does_not_count_yet() -> None:
    assert mean_progress({"a": 5.0}, {}) is None
    assert mean_progress({"a": 5.0, "b": 0.5}, {"b": 1.0}) == 0.5


def test_one_liar_does_not_keep_all_sites_at_the_shortest_interval() -> None:
    play = Play()
    for uid in "abcd":
        play.open(uid, adaptive=True)
    for number in range(8):
        play.submit("a", "b", "c", "d")
        play.publish()
        for uid in "abc":
            play.report(uid, loss=0.6**number)
        play.report("d", loss=-1e300)
    assert play.member("a").interval == 32


@pytest.mark.parametrize(
    ("frequency", "pace", "interval"),
    [(100, 8, 100), (100, 10, 125), (100, 32, 400), (100, 2, 25), (1, 2, 1), (3, 2, 1), (7, 13, 11), (1, 8, 1)],
)
def test_the_interval_is_the_frequency_times_the_pace_and_at_least_one(
    frequency: int, pace: int, interval: int
) -> None:
    assert next_interval(frequency, Pace(eighths=pace)) == interval


@given(st.lists(finite), st.integers(1, 10_000))
def test_the_interval_stays_between_a_quarter_and_four_times_the_frequency(means: list[float], frequency: int) -> None:
    for pace in itertools.accumulate(means, lambda pace, mean: pace.after(mean), initial=START):
        assert FASTEST <= pace.eighths <= SLOWEST
        assert max(1, frequency // 4) <= next_interval(frequency, pace) <= 4 * frequency


@given(st.dictionaries(st.text(min_size=1), st.tuples(finite, finite), max_size=8), st.randoms(use_true_random=False))
def test_the_mean_progress_is_the_same_for_every_order_of_reports(
    found: dict[str, tuple[float, float]], dice: object
) -> None:
    items = [(uid, loss) for uid, (loss, _) in found.items()]
    bests = {uid: best for uid, (_, best) in found.items()}
    expected = mean_progress(dict(items), bests)
    dice.shuffle(items)  # type: ignore[attr-defined]
    assert mean_progress(dict(items), bests) == expected


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_no_order_of_reports_changes_the_contract(order: tuple[str, ...]) -> None:
    losses = {"a": 0.1, "b": 0.7, "c": 1e16}
    play = Play()
    for uid in "abc":
        play.open(uid, adaptive=True)
    for _ in range(2):
        play.submit("a", "b", "c")
        play.publish()
        for uid in order:
            play.report(uid, loss=losses[uid])
    assert [play.member(uid).best_loss for uid in "abc"] == list(losses.values())
    assert [play.member(uid).interval for uid in "abc"] == [4, 4, 4]
    assert play.result.holders == ("a", "b", "c")


def adaptive(*uids: str) -> Play:
    play = Play()
    for uid in uids:
        play.open(uid, adaptive=True, sync_frequency=100)
    play.submit(*uids)
    play.publish()
    return play


def test_the_adaptive_interval_is_set_when_all_contributors_have_reported() -> None:
    play = adaptive("a", "b")
    play.report("a", loss=1.0)
    assert not play.result.paced
    play.report("b", loss=3.0)
    assert play.result.paced
    assert [play.member(uid).best_loss for uid in "ab"] == [1.0, 3.0]
    play.submit("a", "b")
    play.publish()
    play.report("a", "b", loss=1.0)
    assert [play.member(uid).interval for uid in "ab"] == [125, 125]


@pytest.mark.parametrize("attendance", ["lost", "restarted", "ml-lost"])
def test_the_adaptive_interval_does_not_wait_for_a_contributor_that_went_away(attendance: str) -> None:
    play = adaptive("a", "b", "c")
    play.report("a", "b")
    assert not play.result.paced
    play.set_attendance("c", attendance)  # type: ignore[arg-type]
    assert play.result.paced


def test_the_adaptive_interval_does_not_wait_for_a_contributor_that_cannot_get_the_result() -> None:
    play = adaptive("a", "b", "c")
    play.report("a", "b")
    play.missing("c")
    assert play.result.paced


def test_only_contributors_count_for_the_adaptive_interval_in_whatever_order_they_report() -> None:
    play = adaptive("a", "b")
    play.open("c", adaptive=True, sync_frequency=100)
    play.report("c", loss=90.0)
    play.report("b", loss=3.0)
    play.report("a", loss=1.0)
    assert [play.member(uid).best_loss for uid in "abc"] == [1.0, 3.0, None]


def test_the_adaptive_interval_stays_when_no_site_reports_a_loss() -> None:
    play = adaptive("a", "b")
    play.report("a", "b", loss=None)
    assert (play.result.paced, play.state.pace.eighths, play.member("a").best_loss) == (True, 8, None)


def test_a_site_that_is_not_adaptive_keeps_its_own_frequency() -> None:
    play = Play("a")
    play.open("b", adaptive=True, sync_frequency=100)
    for loss in (3.0, 2.0, 1.0):
        play.submit("a", "b")
        play.publish()
        play.report("a", "b", loss=loss)
    assert [play.member(uid).interval for uid in "ab"] == [8, 162]
