"""What an SL measures of a round, and how it ends with the round; a script's pace; the links of a fetch."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import msgspec
import pytest

from support.play import Play
from swarmlearning.channel.messages import Progress
from swarmlearning.models.connections import Source
from swarmlearning.sl.links import Links
from swarmlearning.sl.scriptpace import ScriptPace
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.views.times import MOST_SPANS, RoundTimes, Script, Span


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def ms(self) -> int:
        return round(1000 * self.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watch_of(clock: Clock, *tell: Callable[[RoundTimes], None]) -> Stopwatch:
    return Stopwatch(*tell, now=clock, now_ms=clock.ms)


def test_a_record_is_closed_with_its_round_and_work_under_way_goes_on_in_the_next(clock: Clock) -> None:
    closed: list[RoundTimes] = []
    watch, play = watch_of(clock, closed.append), Play("a", "b")
    watch.reached(play.state)
    clock.now += 1
    with watch.during("merge") as work:
        clock.now += 2
        work.bytes = 9
    training = watch.begin("train")
    clock.now += 3
    play.complete_round("a", "b")
    watch.reached(play.state)
    clock.now += 4
    watch.reached(play.state)
    assert closed == [
        RoundTimes(
            play.state.name,
            1,
            0,
            100_000,
            (Span("merge", 1000, 3000, bytes=9), Span("train", 3000, 6000)),
            ended=6000,
            restarted=True,
        )
    ], "a node that comes while the round is open has not seen all of it"
    watch.end(training)
    now = watch.answer(()).now
    assert now == RoundTimes(play.state.name, 1, 1, 106_000, (Span("train", -3000, 4000),))


def test_the_first_round_opens_while_scripts_are_at_work_already(clock: Clock) -> None:
    watch, play = watch_of(clock), Play("a", min_peers=2)
    watch.reached(play.state)
    clock.now += 5
    play.open("b")
    watch.reached(play.state)
    now = watch.answer(()).now
    assert now is not None
    assert (now.round, now.begun_ms, now.opened, now.restarted) == (0, 100_000, 5000, False)


def test_work_that_raises_has_failed_and_a_record_has_bounded_room(clock: Clock) -> None:
    watch, play = watch_of(clock), Play("a", "b")
    watch.reached(play.state)
    with pytest.raises(ValueError, match="x"), watch.during("merge"):
        raise ValueError("x")
    for _ in range(MOST_SPANS + 4):
        watch.begin("send")
    now = watch.answer(()).now
    assert now is not None
    assert (now.spans[0].fault, len(now.spans), now.dropped) == ("failed", MOST_SPANS, 5)
    assert msgspec.json.decode(msgspec.json.encode(now), type=RoundTimes) == now


def test_each_link_of_a_fetch_is_measured_with_what_came_by_it(clock: Clock) -> None:
    watch, play, moved = watch_of(clock), Play("a", "b"), list[int]()
    watch.reached(play.state)
    first, second = ("10.0.0.1", 1), ("10.0.0.2", 2, "uid-c")
    uids: dict[Source, str] = {first: "b", second: "c"}
    with Links(watch, uids, moved.append) as links:
        links.asked(first)
        links.brought(first, 30)
        clock.now += 1
        links.left(first, "unreachable")
        links.asked(second)
        clock.now += 2
        links.brought(second, 70)
        links.ended()
    now = watch.answer(()).now
    assert now is not None
    assert now.spans == (
        Span("fetch", 0, 1000, "b", 30, "unreachable"),
        Span("fetch", 1000, 3000, "c", 70, behind=True),
    )
    assert moved == [30, 70]


def test_links_by_which_a_model_comes_at_once_are_measured_apart(clock: Clock) -> None:
    watch, moved = watch_of(clock), list[int]()
    watch.reached(Play("a", "b").state)
    first, second = ("10.0.0.1", 1), ("10.0.0.2", 2)
    with Links(watch, {first: "b", second: "c"}, moved.append) as links:
        links.asked(first)
        clock.now += 1
        links.asked(second)
        links.brought(first, 10)
        links.brought(second, 20)
        links.left(second, None)
        clock.now += 1
        links.brought(first, 5)
    now = watch.answer(()).now
    assert now is not None
    assert now.spans == (Span("fetch", 0, 2000, "b", 15), Span("fetch", 1000, 1000, "c", 20))
    assert moved == [10, 20, 5]


def test_a_fetch_that_is_cancelled_has_no_fault(clock: Clock) -> None:
    watch = watch_of(clock)
    watch.reached(Play("a", "b").state)
    with suppress(asyncio.CancelledError), Links(watch, {}, lambda size: None) as links:
        links.asked(("10.0.0.1", 1))
        raise asyncio.CancelledError
    now = watch.answer(()).now
    assert now is not None
    assert [(span.fault, span.end) for span in now.spans] == [("", 0)]


def test_a_script_is_idle_since_its_last_batch_and_has_batches_left_until_it_hands_over(clock: Clock) -> None:
    pace = ScriptPace(clock)
    pace.trains(40)
    clock.now += 3
    assert pace.seen() == Script(idle_ms=3000), "one that reports no batches may not count them"
    pace.progress(Progress("s", 10, 0, 3.5))
    clock.now += 2
    pace.progress(Progress("s", 10, 0, 3.5))
    assert pace.seen() == Script(10, 2000, 30, 3.5)
    pace.waits()
    assert pace.seen() == Script(10, 0, None, 3.5)
    pace.trains(20)
    pace.progress(Progress("s", 12, 0, 3.5))
    assert pace.seen().left == 18
    pace.progress(Progress("s", 1, 0, 3.5))
    assert pace.seen().left == 19, "a script that was started again counts from 0"
