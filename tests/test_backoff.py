"""Pauses between attempts, in virtual time."""

import asyncio
import random
from itertools import pairwise

import pytest

from support.virtual_time import run_in_virtual_time
from swarmlearning.backoff import Backoff


async def attempts(backoff: Backoff, number: int) -> list[float]:
    """The times of so many attempts."""
    loop, times = asyncio.get_running_loop(), list[float]()
    async for _ in backoff:
        times.append(loop.time())
        if len(times) == number:
            break
    return times


@pytest.mark.parametrize("seed", range(20))
def test_the_first_attempt_is_immediate_and_pauses_stay_within_a_bound_that_doubles(seed: int) -> None:
    random.seed(seed)
    times = run_in_virtual_time(attempts(Backoff(1.0, 8.0), 7))
    assert times[0] == 0.0
    bounds = [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert all(after - before <= bound + 0.01 for (before, after), bound in zip(pairwise(times), bounds, strict=True))


def test_clients_that_fail_together_do_not_retry_together() -> None:
    random.seed(1)
    seconds = [run_in_virtual_time(attempts(Backoff(1.0, 8.0), 5))[-1] for _ in range(200)]
    assert min(seconds) < 4 < 9 < max(seconds)


def test_pauses_are_short_again_after_a_success() -> None:
    async def pauses() -> float:
        backoff = Backoff(0.1, 100.0)
        for _ in range(20):
            backoff.reset()
            await backoff.pause()
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(pauses()) <= 2.1
