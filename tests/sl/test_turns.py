"""Turns: how many have theirs at a time, who comes next, and what becomes of one that is not wanted any more."""

import asyncio
from collections.abc import Sequence

import pytest

from swarmlearning.sl.turns import Turns


class Visits:
    """Visitors of one place, each of whom stays until it is let go."""

    def __init__(self, at_once: int) -> None:
        self.turns = Turns(at_once)
        self.inside: list[str] = []
        self.served: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, order: float = 0.0) -> None:
        self._leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._visit(name, order))
        await settled()

    async def leave(self, *names: str) -> None:
        for name in names:
            self.let_go(name)
        await settled()

    def let_go(self, name: str) -> None:
        self._leave[name].set()

    async def _visit(self, name: str, order: float) -> None:
        async with self.turns.turn(order):
            self.inside.append(name)
            self.served.append(name)
            try:
                await self._leave[name].wait()
            finally:
                self.inside.remove(name)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_so_many_at_once_and_the_others_as_they_have_come() -> None:
    visits = Visits(2)
    for name in "abcd":
        await visits.come(name)
    assert visits.inside == ["a", "b"]
    await visits.leave("b")
    assert visits.inside == ["a", "c"]
    await visits.leave("a", "c", "d")
    assert visits.served == list("abcd")


@pytest.mark.parametrize(
    ("orders", "served"), [([3.0, 1.0, 2.0], "acdb"), ([1.0, 1.0, 0.0], "adbc"), ([0.0, 2.0, 1.0], "abdc")]
)
async def test_of_those_that_wait_the_one_with_the_lowest_order_is_next(orders: Sequence[float], served: str) -> None:
    visits = Visits(1)
    await visits.come("a", 9.0)
    for name, order in zip("bcd", orders, strict=True):
        await visits.come(name, order)
    for name in served:
        await visits.leave(name)
    assert visits.served == list(served)


async def test_who_is_cancelled_while_it_waits_takes_nobody_elses_turn() -> None:
    visits = Visits(1)
    for name in "abc":
        await visits.come(name)
    visits.tasks["b"].cancel()
    await visits.leave("a")
    assert visits.inside == ["c"]
    await visits.leave("c")
    await visits.come("d")
    assert visits.inside == ["d"]
    await visits.leave("d")


async def test_who_is_cancelled_as_it_is_called_gives_its_turn_on() -> None:
    visits = Visits(1)
    for name in "abc":
        await visits.come(name)
    visits.let_go("a")
    await asyncio.sleep(0)  # a has gone, and called b, which does not know it yet
    visits.tasks["b"].cancel()
    await settled()
    assert visits.served == ["a", "c"]
    await visits.leave("c")


async def test_a_turn_ends_with_whatever_fails_in_it() -> None:
    turns = Turns(1)
    with pytest.raises(OSError, match="broken"):
        async with turns.turn():
            raise OSError("broken")
    async with asyncio.timeout(5), turns.turn():
        pass
