"""The adaptive interval: its table, its bounds, and that no order of reports changes it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.play import Play
from swarmlearning.ledger.contracts.training.adaptive import FASTEST, SLOWEST, Pace, mean_loss, next_interval

START = Pace(best_loss=None, eighths=8)

finite = st.floats(-1e300, 1e300)


def eighths(*losses: float) -> list[int]:
    """The pace after each of these mean losses."""
    paces = itertools.accumulate(losses, lambda pace, loss: pace.after(loss), initial=START)
    return [pace.eighths for pace in paces][1:]


def test_the_table() -> None:
    assert eighths(9, 8, 7, 6, 5, 4, 3, 2, 1, 0) == [8, 10, 13, 17, 22, 28, 32, 32, 32, 32]
    assert eighths(1, 1, 2, 3, 4, 5, 6, 7) == [8, 4, 2, 2, 2, 2, 2, 2]
    assert eighths(3, 2, 2.5, 1.9) == [8, 10, 5, 7]


def test_an_equal_loss_is_no_better_one() -> None:
    assert eighths(1.0, 1.0) == [8, 4]


def test_the_best_loss_is_kept_over_worse_ones() -> None:
    assert START.after(2.0).after(5.0).after(3.0).best_loss == 2.0


@pytest.mark.parametrize(
    ("frequency", "pace", "interval"),
    [(100, 8, 100), (100, 10, 125), (100, 32, 400), (100, 2, 25), (1, 2, 1), (3, 2, 1), (7, 13, 11), (1, 8, 1)],
)
def test_the_interval(frequency: int, pace: int, interval: int) -> None:
    assert next_interval(frequency, Pace(best_loss=None, eighths=pace)) == interval


@given(st.lists(finite), st.integers(1, 10_000))
def test_the_interval_stays_between_a_quarter_and_four_times(losses: list[float], frequency: int) -> None:
    for pace in itertools.accumulate(losses, lambda pace, loss: pace.after(loss), initial=START):
        assert FASTEST <= pace.eighths <= SLOWEST
        assert max(1, frequency // 4) <= next_interval(frequency, pace) <= 4 * frequency


@given(st.dictionaries(st.text(min_size=1), finite, max_size=8), st.randoms(use_true_random=False))
def test_the_mean_is_the_same_for_every_order(losses: dict[str, float], dice: object) -> None:
    items = list(losses.items())
    dice.shuffle(items)  # type: ignore[attr-defined]
    assert mean_loss(dict(items)) == mean_loss(losses)


def test_the_mean_sums_exactly() -> None:
    assert mean_loss({"a": 1e100, "b": 1.0, "c": -1e100}) == 1 / 3
    assert mean_loss({}) is None


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
    assert play.state.pace.best_loss == 1e16 / 3
    assert [play.member(uid).interval for uid in "abc"] == [4, 4, 4]
    assert play.result.holders == ("a", "b", "c")
