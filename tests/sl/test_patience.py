"""A link that is cut for a moment, and a host that answers that nobody listens; in virtual time."""

import asyncio

import pytest

from support.virtual_time import run_in_virtual_time
from swarmlearning.models.transfer import TransferError
from swarmlearning.rounds.settings import QUIET_SECONDS
from swarmlearning.sl import patience
from swarmlearning.sl.patience import PAUSE_SECONDS, patiently

TRY_SECONDS = 10.0


def tried(
    cut: float, monkeypatch: pytest.MonkeyPatch, *, silent: bool = True, brings: int = 0, within: float = 1e6
) -> tuple[float, int]:
    """The seconds until a site whose link is cut for so long has served what is wanted, and how often it was asked.
    -1: it is given up; minus the seconds after which the time `within` which all has to come was over."""

    async def run() -> tuple[float, int]:
        loop, times = asyncio.get_running_loop(), 0
        monkeypatch.setattr(patience, "monotonic", loop.time)
        begun = loop.time()

        async def attempt() -> None:
            nonlocal times
            times += 1
            if loop.time() - begun < cut:
                await asyncio.sleep(TRY_SECONDS)
                raise TransferError("does not answer in time", silent=silent)

        try:
            async with asyncio.timeout(within) as limit:
                await patiently(attempt, lambda: times * brings, limit)
        except TransferError:
            return -1.0, times
        except TimeoutError:
            return begun - loop.time(), times
        return loop.time() - begun, times

    return run_in_virtual_time(run())


def test_a_link_that_is_cut_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tried(20.0, monkeypatch) == (2 * (TRY_SECONDS + PAUSE_SECONDS), 3)


def test_one_that_stays_cut_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tried(2 * QUIET_SECONDS, monkeypatch) == (-1.0, 3)


def test_who_answers_that_it_has_nothing_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tried(20.0, monkeypatch, silent=False) == (-1.0, 1)


def test_one_that_brings_something_each_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, times = tried(10 * QUIET_SECONDS, monkeypatch, brings=1)
    assert (seconds > 10 * QUIET_SECONDS, times) == (True, 29)


def test_what_a_cut_takes_does_not_count_but_no_more_than_a_node_may_be_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tried(20.0, monkeypatch, within=15.0) == (22.0, 3)
    seconds, _ = tried(10 * QUIET_SECONDS, monkeypatch, brings=1, within=15.0)
    assert seconds == -(15.0 + QUIET_SECONDS)
