"""What an SN carries to nodes and back: to whom, within which bounds, and what it forgets."""

import asyncio

import pytest

from swarmlearning.sn import carrying
from swarmlearning.sn.carrying import BusyError, Carrier, NotConnectedError


async def poll(carrier: Carrier, node: str) -> "asyncio.Task[str]":
    """A poll under way."""
    task = asyncio.create_task(carrier.next(node))
    await asyncio.sleep(0)
    return task


async def test_a_request_reaches_its_node_and_the_answer_whoever_has_asked() -> None:
    carrier = Carrier()
    polling, other = await poll(carrier, "a"), await poll(carrier, "b")
    asking = asyncio.create_task(carrier.ask("a", "org", "1", "jws"))
    assert await polling == "jws"
    assert not other.done()
    assert not carrier.deliver("1", ("b",), "forged")
    assert not carrier.deliver("2", ("a",), "to nobody")
    assert carrier.deliver("1", ("a",), "answer")
    assert not carrier.deliver("1", ("a",), "a second one")
    assert await asking == "answer"
    other.cancel()


async def test_a_node_is_connected_while_it_polls_and_for_a_moment_after() -> None:
    now = [0.0]
    carrier = Carrier(lambda: now[0])
    with pytest.raises(NotConnectedError):
        await carrier.ask("a", "org", "1", "jws")
    assert await carrier.next("a", 0.0) == ""
    asking = asyncio.create_task(carrier.ask("a", "org", "1", "jws"))
    await asyncio.sleep(0)
    assert await carrier.next("a", 0.0) == "jws"
    now[0] = carrying.GAP_SECONDS
    with pytest.raises(NotConnectedError):
        await carrier.ask("a", "org", "2", "jws")
    asking.cancel()


async def test_what_nobody_waits_for_any_more_is_not_carried() -> None:
    carrier = Carrier()
    await carrier.next("a", 0.0)
    asking = asyncio.create_task(carrier.ask("a", "org", "1", "first"))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    second = asyncio.create_task(carrier.ask("a", "org", "2", "second"))
    await asyncio.sleep(0)
    assert await carrier.next("a") == "second"
    second.cancel()


async def test_a_node_that_does_not_answer_is_waited_for_no_longer_than_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(carrying, "ANSWER_SECONDS", 0.0)
    carrier = Carrier()
    await carrier.next("a", 0.0)
    with pytest.raises(TimeoutError):
        await carrier.ask("a", "org", "1", "jws")


@pytest.mark.parametrize("bound", ["MOST_AT_ONCE", "MOST_OF_ONE", "MOST_FOR_NODE"])
async def test_what_is_under_way_is_bounded(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(carrying, bound, 2)
    carrier = Carrier()
    await carrier.next("a", 0.0)
    asking = [asyncio.create_task(carrier.ask("a", "org", str(number), "jws")) for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError, match="as many requests"):
        await carrier.ask("a", "org", "2", "jws")
    with pytest.raises(BusyError, match="under way already"):
        await carrier.ask("a", "org", "1", "jws")
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    monkeypatch.undo()
    again = asyncio.create_task(carrier.ask("a", "other", "3", "jws"))
    await asyncio.sleep(0)
    assert await carrier.next("a") == "jws"
    again.cancel()
