"""Outer steps of an SL with a real store: what it makes, what it fetches instead, and whom it does not believe."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import starmap
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from support.play import Play
from swarmlearning.ledger.contracts.training.outer import OuterOptimizer, Step, TakenStep
from swarmlearning.ledger.contracts.training.state import Terms, Training
from swarmlearning.merge import selfcheck
from swarmlearning.merge.selfcheck import Vector
from swarmlearning.models.pins import Pin
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import TransferError
from swarmlearning.rounds.events import Dropped, Event
from swarmlearning.sl.outersteps import DifferentStep, OuterSteps, Stepped
from swarmlearning.tensors.file import Tensor, write
from swarmlearning.tensors.structure import structure_digest

SPECS = [("b", "F32", (3,)), ("w", "F32", (3,))]
NESTEROV = OuterOptimizer("nesterov", "0.7", "0.9")


@dataclass
class Site:
    """A store, its outer steps, and another site's store that it fetches from."""

    store: TensorStore
    other: TensorStore
    events: list[Event] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    known: frozenset[str] = frozenset({"w"})

    def __post_init__(self) -> None:
        self.steps = OuterSteps(self.store, self.events.append, lambda structure: self.known, lambda size: None)

    async def get(self, digest: str, size: int | None) -> None:
        if self.store.has(digest):
            return
        if not self.other.has(digest):
            raise TransferError("nobody has it")
        self.fetched.append(digest)
        copy = self.store.temporary()
        copy.write_bytes(self.other.path(digest).read_bytes())
        assert size in (None, copy.stat().st_size), "the size of a momentum is known before it comes"
        await self.store.adopt(copy)

    async def make(self, value: float, where: TensorStore | None = None) -> str:
        """A model of this value."""
        store = where or self.store
        path = store.temporary()
        write(path, {name: Tensor.of(np.full(3, value, np.float32), name) for name in ("b", "w")})
        return (await store.adopt(path)).root


def site(folder: Path) -> Site:
    return Site(TensorStore(folder / "own"), TensorStore(folder / "other"))


def training(
    base: str, result: str = "", step: Step | None = None, known: Mapping[str, Step] | None = None
) -> Training:
    """The state after round 1 has led from `base` to `result`; `known`: the steps of other models."""
    play = Play("a", "b")
    play.complete_round("a", "b")
    play.complete_round("a", "b")
    assert play.state.result is not None
    closed = msgspec.structs.replace(play.state.result.closed, base=base)
    return msgspec.structs.replace(
        play.state,
        terms=Terms("mean", 2, structure_digest(SPECS), outer=NESTEROV),
        result=msgspec.structs.replace(play.state.result, digest=result, closed=closed),
        taken=tuple(starmap(TakenStep, {**(known or {}), **({result: step} if step else {})}.items())),
    )


def run(work: Any) -> Any:
    return asyncio.run(work)


async def stepped_elsewhere(here: Site, base: float, merged: float) -> tuple[str, Stepped]:
    """The base, held by both, and what the other site has made of its merge."""
    known = await here.make(base)
    other = Site(here.other, here.store)
    await other.make(base)
    target = await other.make(merged)
    with here.other.pinned() as pin:
        return known, await other.steps.take(training(known), known, target, pin)


async def obtain(here: Site, state: Training, result: str) -> None:
    with here.store.pinned(result) as pin:
        await here.steps.obtain(state, result, here.get, pin)


def test_who_has_the_base_fetches_what_was_merged_and_makes_the_rest(tmp_path: Path) -> None:
    async def scenario() -> None:
        here = site(tmp_path)
        base, made = await stepped_elsewhere(here, 1.0, 2.0)
        assert made.step is not None
        await obtain(here, training(base, made.result, made.step), made.result)
        assert here.fetched == [made.step.merged]
        assert here.store.has(made.result)
        assert here.store.has(made.step.momentum)

    run(scenario())


@pytest.mark.parametrize("lost", ["base", "result"])
def test_who_lacks_the_base_or_only_the_momentum_fetches_what_it_lacks(tmp_path: Path, lost: str) -> None:
    async def scenario() -> None:
        here = site(tmp_path)
        base, made = await stepped_elsewhere(here, 1.0, 2.0)
        assert made.step is not None
        if lost == "base":
            here.store.forget(base)
            expected = [made.result, made.step.momentum]
        else:
            await here.get(made.result, None)
            here.fetched.clear()
            expected = [made.step.momentum]
        await obtain(here, training(base, made.result, made.step), made.result)
        assert here.fetched == expected

    run(scenario())


def test_where_nobody_has_what_was_merged_any_more_the_result_is_fetched(tmp_path: Path) -> None:
    async def scenario() -> None:
        here = site(tmp_path)
        base, made = await stepped_elsewhere(here, 1.0, 2.0)
        assert made.step is not None
        here.other.forget(made.step.merged)
        await obtain(here, training(base, made.result, made.step), made.result)
        assert here.fetched == [made.result, made.step.momentum]

    run(scenario())


def test_a_result_that_is_another_step_is_not_used(tmp_path: Path) -> None:
    async def scenario() -> None:
        here = site(tmp_path)
        base, made = await stepped_elsewhere(here, 1.0, 2.0)
        false = await here.make(9.0, here.other)
        assert made.step is not None
        with pytest.raises(DifferentStep, match="The golden vectors are right here") as raised:
            await obtain(here, training(base, false, made.step), false)
        assert not raised.value.own
        assert not here.store.has(false)
        assert not here.store.has(made.result)

    run(scenario())


def test_a_site_that_computes_wrongly_learns_that_it_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        here = site(tmp_path)
        base, made = await stepped_elsewhere(here, 1.0, 2.0)
        false = await here.make(9.0, here.other)
        wrong = Vector("a sum", lambda: b"\x01", "02")
        monkeypatch.setattr(selfcheck.differences, "__defaults__", ((wrong,),))
        with pytest.raises(DifferentStep, match="This node computes wrongly: a sum") as raised:
            await obtain(here, training(base, false, made.step), false)
        assert raised.value.own

    run(scenario())


def test_a_damaged_base_is_found_and_the_result_is_fetched(tmp_path: Path) -> None:
    async def scenario() -> None:
        here = site(tmp_path)
        base, made = await stepped_elsewhere(here, 1.0, 2.0)
        assert made.step is not None
        with here.store.path(base).open("r+b") as file:
            file.seek(-2, 2)
            file.write(b"\x41\x41")  # as after a loss of power
        await obtain(here, training(base, made.result, made.step), made.result)
        assert here.fetched == [made.step.merged, made.result, made.step.momentum]
        assert here.events == [Dropped(base)]

    run(scenario())


def test_a_second_step_goes_on_from_the_momentum_of_the_first(tmp_path: Path) -> None:
    async def scenario() -> None:
        here = site(tmp_path)
        base, first = await here.make(0.0), await here.make(1.0)
        pin: Pin
        with here.store.pinned() as pin:
            one = await here.steps.take(training(base), base, first, pin)
            assert one.step is not None
            state = training(one.result, known={one.result: one.step})
            two = await here.steps.take(state, one.result, one.result, pin)
            alone = await here.steps.take(training(one.result), one.result, one.result, pin)
        assert two.result not in (one.result, base)
        assert alone == Stepped(one.result, one.size, None), "without momentum nothing moves it: it is the base"

    run(scenario())


def test_a_step_that_is_not_finite_leaves_the_merge_and_no_momentum(tmp_path: Path) -> None:
    async def scenario() -> None:
        here = site(tmp_path)
        base, merged = await here.make(-3e38), await here.make(3e38)
        with here.store.pinned() as pin:
            made = await here.steps.take(training(base), base, merged, pin)
        assert made.result == merged
        assert made.step == Step(merged, fault="'w'")
        assert not list((tmp_path / "own").glob("*.tmp"))

    run(scenario())
