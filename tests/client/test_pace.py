"""The speed of training, and the time that is left."""

import pytest

from swarmlearning.client import pace as module
from swarmlearning.client.pace import Pace, describe


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(module, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def train(pace: Pace, clock: Clock, batches: int, seconds: float, samples: int = 0) -> None:
    for _ in range(batches):
        clock.now += seconds
        pace.step(samples)


def test_the_speed_of_training_does_not_include_syncs(clock: Clock) -> None:
    pace = Pace(0)
    pace.resume()
    train(pace, clock, 10, 0.5, samples=32)
    clock.now += 60  # a sync
    pace.resume()
    train(pace, clock, 10, 0.5, samples=32)
    assert pace.batches_per_second == pytest.approx(2.0)
    assert pace.samples_per_second == pytest.approx(64.0)


def test_the_speed_of_training_follows_recent_batches(clock: Clock) -> None:
    pace = Pace(0)
    pace.resume()
    train(pace, clock, 100, 1.0)
    train(pace, clock, 300, 0.1)  # half a minute
    assert pace.batches_per_second is not None
    assert 9.0 < pace.batches_per_second < 10.0
    assert pace.samples_per_second is None  # the number of samples is unknown


def test_the_time_left_includes_syncs(clock: Clock) -> None:
    pace = Pace(4)
    pace.resume()
    train(pace, clock, 10, 1.0)
    assert pace.eta_seconds is None  # nobody knows how long an epoch is
    pace.epoch()
    clock.now += 10  # a sync
    pace.resume()
    train(pace, clock, 5, 2.0)
    assert pace.eta_seconds == pytest.approx(2.5 * 10 * 30 / 15)  # 2.5 epochs of 10 batches of 2 s each with all
    train(pace, clock, 5, 2.0)
    for _ in range(3):
        pace.epoch()
    assert pace.eta_seconds == 0


@pytest.mark.parametrize("total", [0, 3])
def test_speed_and_time_left_are_unknown_before_the_first_batch(clock: Clock, total: int) -> None:
    pace = Pace(total)
    assert (pace.batches_per_second, pace.samples_per_second, pace.eta_seconds) == (None, None, None)
    pace.resume()
    pace.epoch()  # of no batch
    assert (pace.batches_per_second, pace.samples_per_second, pace.eta_seconds) == (None, None, None)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((2, 10, 61.25, 1958.4, 192.0), "epoch 3 of 10, 1,958 samples/s, about 0:03:12 to go"),
        ((2, 0, 61.25, None, None), "epoch 3, 61.2 batches/s"),
        ((10, 10, None, None, 7322.0), "epoch 10 of 10, about 2:02:02 to go"),
    ],
)
def test_the_progress_text_contains_epoch_speed_and_time_left(
    values: tuple[int, int, float | None, float | None, float | None], text: str
) -> None:
    assert describe(*values) == text
