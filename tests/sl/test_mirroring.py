"""Handing points over to trackers that fail, hang, and come back."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from swarmlearning.sl import mirroring
from swarmlearning.sl.mirroring import Post
from swarmlearning.tracking.tracker import Point, TrackerError


def points(*steps: int) -> list[Point]:
    return [Point("site/loss", step, 0.5, 0) for step in steps]


class Scripted:
    """A tracker that fails as often as `failures` says; `hangs`: it takes nothing, for ever."""

    def __init__(self, failures: int = 0, *, hangs: bool = False) -> None:
        self.failures, self.hangs = failures, hangs
        self.taken: list[int] = []
        self.complete: bool | None = None
        self.came = asyncio.Event()

    async def add(self, points: Sequence[Point]) -> None:
        self.came.set()
        if self.hangs:
            await asyncio.Event().wait()
        if self.failures:
            self.failures -= 1
            raise TrackerError("the tracker is away")
        self.taken += [each.step for each in points]

    async def close(self, *, complete: bool) -> None:
        self.complete = complete


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirroring, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(mirroring, "CLOSE_SECONDS", 60.0)


async def test_what_was_not_taken_is_handed_over_again_in_order_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracker = Scripted(failures=3)
    post = Post(tracker)
    post.start()
    post.add(points(0, 1))
    await tracker.came.wait()
    post.add(points(2))
    await post.close(complete=True)
    assert tracker.taken == [0, 1, 2]
    assert tracker.complete is True
    assert [each.getMessage() for each in caplog.records] == ["Curves: the tracker is away; trying again"]


async def test_a_tracker_that_hangs_delays_the_end_by_a_bounded_time_and_the_loss_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "CLOSE_SECONDS", 0.2)
    tracker = Scripted(hangs=True)
    post = Post(tracker)
    post.start()
    post.add(points(0, 1, 2))
    async with asyncio.timeout(60):
        await post.close(complete=True)
    assert tracker.complete is False, "the run of a tracker that lacks points is not ended as complete"
    assert caplog.records[-1].levelno == logging.WARNING
    assert "3 points of the curves were not handed over" in caplog.text


async def test_points_that_nobody_takes_are_bounded_and_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirroring, "MOST_WAITING", 4)
    tracker = Scripted()
    post = Post(tracker)
    post.add(points(*range(10)))
    post.start()
    await post.close(complete=False)
    assert tracker.taken == [6, 7, 8, 9]
    assert tracker.complete is False
