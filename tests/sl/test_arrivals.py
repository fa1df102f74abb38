"""Waiting for what is pushed, and for how long: in virtual time."""

import asyncio

from support.virtual_time import run_in_virtual_time
from swarmlearning.sl.arrivals import FIRST_SECONDS, NEXT_SECONDS, Arrivals


async def waited(
    arrivals: Arrivals, pushes: list[tuple[float, int]], wanted: int, digest: str = "model"
) -> tuple[float, int]:
    """The seconds that somebody waits for so many bytes, and those that are noted; `pushes`: what comes after which."""
    loop, noted, came = asyncio.get_running_loop(), [0], [0]
    begun = loop.time()

    def arrive(size: int) -> None:
        came[0] += size
        arrivals.came(digest, size)

    timers = [loop.call_later(after, arrive, size) for after, size in pushes]
    await arrivals.wait("d", "model", lambda: came[0] >= wanted, lambda size: noted.append(size))
    for timer in timers:
        timer.cancel()
    return loop.time() - begun, sum(noted)


def test_what_is_pushed_is_waited_for_as_long_as_bytes_come_however_slowly() -> None:
    drops = [(0.9 * FIRST_SECONDS * number, 10) for number in range(1, 101)]
    assert run_in_virtual_time(waited(Arrivals(), drops, 1000)) == (0.9 * FIRST_SECONDS * 100, 1000)


def test_what_is_here_is_not_waited_for() -> None:
    assert run_in_virtual_time(waited(Arrivals(), [], 0)) == (0.0, 0)


def test_where_nothing_comes_or_nothing_more_it_is_fetched_soon() -> None:
    assert run_in_virtual_time(waited(Arrivals(), [], 1)) == (FIRST_SECONDS, 0)
    assert run_in_virtual_time(waited(Arrivals(), [(1.0, 10)], 20)) == (1.0 + FIRST_SECONDS, 10)
    assert run_in_virtual_time(waited(Arrivals(), [(1.0, 10)], 10, digest="another")) == (FIRST_SECONDS, 0)


def test_a_site_that_has_pushed_nothing_is_not_waited_for_as_long_the_next_time_until_it_does() -> None:
    async def three() -> list[float]:
        arrivals = Arrivals()
        first = await waited(arrivals, [], 1)
        second = await waited(arrivals, [], 1)
        third = await waited(arrivals, [(NEXT_SECONDS / 2, 1)], 1)
        fourth = await waited(arrivals, [], 1)
        return [seconds for seconds, _ in (first, second, third, fourth)]

    assert run_in_virtual_time(three()) == [FIRST_SECONDS, NEXT_SECONDS, NEXT_SECONDS / 2, FIRST_SECONDS]


def test_several_wait_for_one_model_and_each_is_told_all() -> None:
    async def both() -> list[tuple[float, int]]:
        arrivals = Arrivals()
        waiting = [asyncio.create_task(waited(arrivals, [], 10**9)) for _ in range(2)]
        await asyncio.sleep(1.0)
        arrivals.came("model", 7)
        found = await asyncio.gather(*waiting)
        assert arrivals._waiting == {}
        return found

    assert run_in_virtual_time(both()) == [(1.0 + FIRST_SECONDS, 7)] * 2
