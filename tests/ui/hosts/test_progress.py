"""Work on many hosts: bounded, told of, and ended on request."""

import asyncio
from collections.abc import Callable

import pytest

from support.virtual_time import run_in_virtual_time
from swarmlearning.errors import UserError
from swarmlearning.ui.hosts.progress import SILENT_SECONDS, Board, Event, HostsJob, Tell, Work


async def ends(job: HostsJob) -> dict[str, Event]:
    """The last event of each host."""
    return {event.host: event async for event in job.events() if not event.step}


def instant(result: str) -> Work:
    async def work(tell: Tell) -> str:
        tell("copy", "done")
        return result

    return work


def failing(error: Exception) -> Work:
    async def work(tell: Tell) -> str:
        raise error

    return work


async def test_a_host_that_fails_stops_no_other() -> None:
    found = await ends(HostsJob({"a": instant("fine"), "b": failing(UserError("no disk")), "c": instant("")}))
    assert [(event.state, event.detail) for event in found.values()] == [
        ("done", "fine"),
        ("failed", "no disk"),
        ("done", ""),
    ]


async def test_no_more_hosts_than_allowed_are_worked_on_at_once() -> None:
    at_work, most, full = 0, 0, asyncio.Event()

    async def work(tell: Tell) -> str:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        if at_work == 3:
            full.set()
        await full.wait()
        at_work -= 1
        return ""

    found = await ends(HostsJob({str(number): work for number in range(10)}, at_once=3))
    assert {event.state for event in found.values()} == {"done"}
    assert most == 3


async def test_cancelling_ends_what_runs_and_what_waits_and_says_so() -> None:
    cleaned: list[str] = []

    async def work(tell: Tell) -> str:
        tell("copy", "running", "", 1, 2)
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("yes")
        return ""

    job = HostsJob({"a": work, "b": work, "c": work}, at_once=2)
    states: dict[str, str] = {}
    async for event in job.events():
        if event.step == "copy" and event.host == "b":
            job.cancel()
        if not event.step:
            states[event.host] = event.state
    assert states == dict.fromkeys("abc", "cancelled")
    assert cleaned == ["yes", "yes"]


def test_work_of_which_nothing_is_heard_is_ended_and_says_so() -> None:
    cleaned: list[str] = []

    async def silent(tell: Tell) -> str:
        tell("copy", "running", "", 1, 2)
        try:
            await asyncio.Event().wait()
        finally:
            tell("back", "running")
            cleaned.append("yes")
        return ""

    async def slow(tell: Tell) -> str:
        for sent in range(100):
            tell("copy", "running", "", sent, 100)
            await asyncio.sleep(SILENT_SECONDS - 1)
        return "all of it"

    async def waiting(tell: Tell) -> str:
        tell("start", "waiting", "SL-1 waits for SN-1")
        await asyncio.sleep(100 * SILENT_SECONDS)
        tell("start", "running")
        return "it runs"

    found = run_in_virtual_time(ends(HostsJob({"a": silent, "b": slow, "c": waiting})))
    assert [event.state for event in found.values()] == ["failed", "done", "done"]
    assert "nothing has been heard of this host for 30 minutes" in found["a"].detail
    assert cleaned == ["yes"]


def test_a_time_limit_of_the_work_itself_is_no_silence() -> None:
    async def work(tell: Tell) -> str:
        async with asyncio.timeout(1):
            await asyncio.Event().wait()
        return ""

    with pytest.raises(TimeoutError):
        run_in_virtual_time(ends(HostsJob({"a": work})))


async def test_a_job_that_was_cancelled_before_it_began_does_nothing() -> None:
    job = HostsJob({"a": instant("never")})
    job.cancel()
    assert [event.state for event in (await ends(job)).values()] == ["cancelled"]


async def test_who_stops_reading_ends_it_all() -> None:
    ended = asyncio.Event()

    async def work(tell: Tell) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    events = HostsJob({"a": work}).events()
    await anext(events)
    await events.aclose()  # type: ignore[attr-defined]  # an async generator
    assert ended.is_set()


@pytest.mark.parametrize("wrapped", [lambda error: error, lambda error: ExceptionGroup("", [error])])
async def test_a_defect_is_raised_once_all_have_ended(wrapped: Callable[[Exception], Exception]) -> None:
    seen: list[Event] = []

    async def read() -> None:
        async for event in HostsJob({"a": failing(wrapped(KeyError("secret"))), "b": instant("fine")}).events():
            seen.append(event)

    with pytest.raises((KeyError, ExceptionGroup)):
        await read()
    last = {event.host: event for event in seen if not event.step}
    assert (last["a"].state, last["b"].state) == ("failed", "done")
    assert "secret" not in last["a"].detail


async def test_a_group_of_one_fault_is_that_fault() -> None:
    found = await ends(HostsJob({"a": failing(ExceptionGroup("", [UserError("no disk")]))}))
    assert (found["a"].state, found["a"].detail) == ("failed", "no disk")


async def test_a_slow_reader_gets_the_newest_of_each_step() -> None:
    board = Board()
    tell = board.tell("a")
    for sent in range(100_000):
        tell("copy", "running", "", sent, 100_000)
    tell("install", "running")
    tell("copy", "done")
    assert [(event.step, event.state) for event in await board.read()] == [("install", "running"), ("copy", "done")]
