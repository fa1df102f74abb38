"""What an SL knows of its link, measured and by its operator's limits: in virtual time."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from support.virtual_time import run_in_virtual_time
from swarmlearning.models.bandwidth import MBIT, caps_of
from swarmlearning.models.pacing import Bandwidth
from swarmlearning.rounds.slices import LinkMeasured
from swarmlearning.sl.capacity import REPORT_EVERY, Capacity, OwnLink

Reported = list[tuple[float, LinkMeasured]]


def reported(
    seconds: float, moves: Callable[[float], int], caps: str = "", begin: datetime = datetime(2026, 11, 30, 7, 59)
) -> Reported:
    """What is reported within so many seconds, and when, by a site that moves so many bytes in each second, up and half
    as many down; its limits are looked up by a clock that shows `begin` first."""

    async def run() -> Reported:
        loop, moved, found = asyncio.get_running_loop(), [0], Reported()
        bandwidth = Bandwidth(caps_of(caps), lambda: begin + timedelta(seconds=loop.time()), loop.time)

        async def move() -> None:
            while True:
                moved[0] += moves(loop.time())
                await asyncio.sleep(1.0)

        limits = {"limits": bandwidth.limits} if caps else {}
        link = OwnLink(lambda: moved[0] // 2, lambda: moved[0], lambda: True, **limits)
        both = [asyncio.create_task(move())]
        await asyncio.sleep(0.5)
        both.append(asyncio.create_task(link.report(lambda known: found.append((loop.time(), known)))))
        await asyncio.sleep(seconds)
        for each in both:
            each.cancel()
        return found

    return run_in_virtual_time(run())


def test_a_link_is_as_fast_as_most_busy_seconds_were() -> None:
    told = reported(25.0, lambda second: 1_000_000 if second < 12 else 0)
    assert told == [
        (0.5 + REPORT_EVERY, LinkMeasured(1_000_000, 500_000, True)),
        (0.5 + 2 * REPORT_EVERY, LinkMeasured(1_000_000, 500_000, True)),
    ]


def test_seconds_in_which_a_link_was_full_make_its_speed_however_much_one_of_them_moves() -> None:
    moved = [900_000, 1_300_000, 1_000_000, 600_000, 1_010_000, 980_000, 1_100_000, 20_000, 1_020_000, 990_000]
    told = reported(25.0, lambda second: moved[int(second) % len(moved)])
    assert told[-1][1].up == 1_000_000


def test_a_site_states_its_limit_before_anything_was_measured() -> None:
    (_, first), *_ = reported(15.0, lambda second: 0, caps="8/40")
    assert first == LinkMeasured(8 * MBIT, 40 * MBIT, True, (8 * MBIT, 40 * MBIT))


def test_a_link_slower_than_its_limit_is_as_fast_as_it_is() -> None:
    *_, (_, last) = reported(25.0, lambda second: 400_000, caps="8/40")
    assert last == LinkMeasured(400_000, 200_000, True, (8 * MBIT, 40 * MBIT))


def test_a_limit_is_stated_within_the_second_in_which_it_begins_and_ends() -> None:
    """At eight o'clock, after 60 s, from what the link does to 4 Mbit/s; a minute later back to what it did."""
    told = reported(150.0, lambda second: 500_000 if 60 <= second < 120 else 4_000_000, caps="4@08:00-08:01")
    free, limited = (
        LinkMeasured(4_000_000, 2_000_000, True, (0, 0)),
        LinkMeasured(500_000, 500_000, True, (500_000,) * 2),
    )
    before = [(at, known) for at, known in told if at < 60]
    during = [(at, known) for at, known in told if 60 <= at < 120]
    after = [(at, known) for at, known in told if at >= 120]
    assert {known for _, known in before} == {free}
    assert during[0] == (60.5, limited)
    assert {known.up for _, known in during} == {500_000}
    assert after[0] == (120.5, free)
    assert {known for _, known in after} == {free}


def test_where_nothing_was_measured_without_the_limit_its_end_leaves_the_link_unknown() -> None:
    told = reported(80.0, lambda second: 500_000, caps="4@00:00-08:00")
    assert [known.up for at, known in told if at < 60] == [500_000] * 5
    assert next((at, known) for at, known in told if at > 60) == (60.5, LinkMeasured(0, 0, True, (0, 0)))


def test_a_second_in_which_the_limit_has_changed_says_nothing() -> None:
    moved, limit = 0, 500_000
    capacity = Capacity(lambda: moved, lambda: limit)
    moved, limit = 9_000_000, 10_000_000
    capacity.look()
    assert capacity.speed == 10_000_000
    moved += 2_000_000
    capacity.look()
    assert capacity.speed == 2_000_000
