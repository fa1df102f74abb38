"""Leases of the `local` engine, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from support.virtual_time import run_in_virtual_time
from swarmlearning.ordering.local import LocalPresence
from swarmlearning.ordering.protocols import Lease

LIFETIME = 2.5

States = list[tuple[float, dict[str, int]]]
"""The times and states that an observer has received: the incarnation of every node that is present."""


class Observer:
    """The states that an observer has received, each with its time."""

    def __init__(self, presence: LocalPresence) -> None:
        self.seen: States = []
        self._states = presence.observe()
        self._task = asyncio.ensure_future(self._follow(self._states))

    async def _follow(self, states: AsyncIterator[dict[str, Lease]]) -> None:
        async for leases in states:
            incarnations = {uid: lease.incarnation for uid, lease in leases.items()}
            self.seen.append((round(asyncio.get_running_loop().time(), 3), incarnations))

    def stop(self) -> None:
        self._task.cancel()


def observed(act: Callable[[LocalPresence], Awaitable[None]], until: float = 20.0) -> States:
    """Everything an observer receives up to the time `until`, when `act` happens at time 0."""

    async def scenario() -> States:
        presence = LocalPresence(LIFETIME)
        observer = Observer(presence)
        await asyncio.sleep(0)
        await act(presence)
        await asyncio.sleep(until - asyncio.get_running_loop().time())
        observer.stop()
        return observer.seen

    return run_in_virtual_time(scenario())


def lease(uid: str, incarnation: int = 1, steps: int = 0) -> Lease:
    return Lease(uid, incarnation, steps, 0)


def test_a_lease_that_is_not_renewed_expires() -> None:
    async def act(presence: LocalPresence) -> None:
        await presence.announce(lease("a"))

    assert observed(act) == [(0.0, {}), (0.0, {"a": 1}), (LIFETIME, {})]


def test_renewing_a_lease_keeps_it_and_notifies_no_observer() -> None:
    async def act(presence: LocalPresence) -> None:
        for steps in range(5):
            await presence.announce(lease("a", steps=steps))
            await asyncio.sleep(2.0)

    assert observed(act) == [(0.0, {}), (0.0, {"a": 1}), (8.0 + LIFETIME, {})]


def test_each_node_has_a_lease_of_its_own() -> None:
    async def act(presence: LocalPresence) -> None:
        await presence.announce(lease("a"))
        await asyncio.sleep(1.0)
        await presence.announce(lease("b"))

    assert observed(act) == [
        (0.0, {}),
        (0.0, {"a": 1}),
        (1.0, {"a": 1, "b": 1}),
        (LIFETIME, {"b": 1}),
        (1.0 + LIFETIME, {}),
    ]


def test_the_lease_of_a_newer_start_replaces_the_older_one_which_cannot_be_renewed_any_more() -> None:
    async def act(presence: LocalPresence) -> None:
        await presence.announce(lease("a", 1))
        await asyncio.sleep(1.0)
        await presence.announce(lease("a", 2))
        await asyncio.sleep(1.0)
        await presence.announce(lease("a", 1))  # the zombie's heartbeat: neither replaces nor renews

    assert observed(act) == [(0.0, {}), (0.0, {"a": 1}), (1.0, {"a": 2}), (1.0 + LIFETIME, {})]


@pytest.mark.parametrize(("uid", "incarnation", "left"), [("a", 2, {}), ("a", 1, {"a": 2}), ("b", 2, {"a": 2})])
def test_a_lease_can_be_ended_only_by_the_same_start_of_the_same_node(
    uid: str, incarnation: int, left: dict[str, int]
) -> None:
    async def act(presence: LocalPresence) -> None:
        await presence.announce(lease("a", 2))
        await presence.leave(uid, incarnation)

    assert observed(act, until=1.0)[-1] == (0.0, left)


def test_a_lease_taken_after_leaving_lasts_its_whole_time() -> None:
    async def act(presence: LocalPresence) -> None:
        await presence.announce(lease("a"))
        await asyncio.sleep(2.0)
        await presence.leave("a", 1)
        await presence.announce(lease("a"))

    assert observed(act)[-2:] == [(2.0, {"a": 1}), (2.0 + LIFETIME, {})]


def test_a_slow_observer_of_leases_gets_the_newest_state_and_the_last_progress() -> None:
    async def scenario() -> dict[str, Lease]:
        presence = LocalPresence(LIFETIME)
        states = presence.observe()
        assert await anext(states) == {}
        for steps in range(3):
            await presence.announce(lease("a", steps=steps))
        await presence.announce(lease("b"))
        return await anext(states)

    assert run_in_virtual_time(scenario()) == {"a": lease("a", steps=2), "b": lease("b")}


def test_every_observer_of_leases_is_notified() -> None:
    async def scenario() -> None:
        presence = LocalPresence(LIFETIME)
        observers = [Observer(presence), Observer(presence)]
        await asyncio.sleep(0)
        await presence.announce(lease("a"))
        await asyncio.sleep(10.0)
        for observer in observers:
            observer.stop()
            assert observer.seen == [(0.0, {}), (0.0, {"a": 1}), (LIFETIME, {})]

    run_in_virtual_time(scenario())
