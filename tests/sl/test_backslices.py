"""Slices that travel back as coded changes, between real stores: what comes, and whom nobody believes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from merge.model_files import save
from sl.test_slices import count, measured
from swarmlearning.ledger.contracts.training.slices import UNITS, Contributor, Recipe, Slice, change_name
from swarmlearning.models.claims import Holding
from swarmlearning.models.connections import Source
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import Stated, TransferError
from swarmlearning.rounds.checks import Piece, Recheck, Rechecked
from swarmlearning.rounds.events import Event
from swarmlearning.rounds.slices import (
    Assemble,
    Assembled,
    Coded,
    FetchSlice,
    MergeSlice,
    SliceFetched,
    SliceMerged,
    SliceMissing,
)
from swarmlearning.sl.recomputing import Recomputing
from swarmlearning.sl.slices import SliceWork
from swarmlearning.tensors.digest import slice_root

SHAPE = (600, 500)
"""1.2 MB: five chunks."""
CUTS = (0, 1000, 1001, 2600, UNITS)
"""Units between slices; the second one has no chunks."""
SLICES = range(len(CUTS) - 1)


class Site:
    """A store and its work; it fetches parts from the store of another, and notes of which files."""

    def __init__(self, folder: Path) -> None:
        self.store = TensorStore(folder)
        self.other = self.store
        self.events: list[Event] = []
        self.fetched: list[str] = []
        self.unreachable = False
        fetcher: Any = self
        self.own = ""
        self.work = SliceWork(
            self.store, fetcher, self.events.append, sources, measured, count, lambda: 0, lambda: self.own
        )

    async def adopt(self, value: float, seed: int) -> str:
        values = value + 0.1 * np.random.default_rng(seed).standard_normal(SHAPE)
        path = save(self.store.temporary(), {"w": values.astype(np.float32), "b": np.full(3, value, np.float32)})
        return (await self.store.adopt(path, format=2)).root

    async def fetch_part(
        self, name: str, chunks: range, asked: Sequence[Source], *, stated: Stated, **more: Any
    ) -> None:
        if self.unreachable:
            raise TransferError("nobody answers", "too-slow", "unreachable")
        there = self.other.parts(name)
        if there is None or not there.has(chunks) or root_of(there.info, chunks) != stated.root:
            raise TransferError("nobody has it", "unreachable", "not-held")
        assert stated.layout == there.layout
        self.fetched.append(name)
        here, data = self.store.parts(name, there.info), self.other.partial(name).read_bytes()
        assert here is not None
        with here.used():
            here.state(chunks, there.info.chunks[chunks.start : chunks.stop])
            for index in chunks:
                claim, (start, end) = here.claim(Holding(), range(index, index + 1)), there.layout.bounds(index)
                if claim is None:
                    continue  # it is here
                here.write(claim, memoryview(data[start:end]), start)
                here.confirm(claim, there.info.chunks[index])
                here.release(claim)

    async def merge(self, recipe: Recipe) -> list[SliceMerged]:
        for index in SLICES:
            await self.work.merge(MergeSlice(recipe, index, CUTS[index], CUTS[index + 1], 10.0), ())
        done = [event for event in self.events if isinstance(event, SliceMerged)]
        assert len(done) == len(self.events) == len(SLICES)
        return done

    async def fetch(self, done: SliceMerged, base: str, change: str | None = None) -> Event:
        coded = Coded(done.change if change is None else change, base, "int8")
        index = done.slice
        task = FetchSlice(done.recipe, index, CUTS[index], CUTS[index + 1], done.root, ("m",), coded=coded)
        await self.work.fetch(task)
        return self.events[-1]


root_of = slice_root


def sources(uids: Sequence[str]) -> dict[Source, str]:
    return dict.fromkeys([("127.0.0.1", 1)], uids[0])


async def begun(folder: Path) -> tuple[Site, Site, Recipe]:
    """A merger and a site that has the base; the recipe of two models."""
    merger, reader = Site(folder / "merger"), Site(folder / "reader")
    base = await merger.adopt(1.0, 1)
    parts = tuple([Contributor(uid, await merger.adopt(value, 2), 1) for uid, value in (("a", 1.5), ("b", 2.0))])
    merger.own = base
    reader.own = await reader.adopt(1.0, 1)
    reader.other = merger.store
    assert reader.own == base
    return merger, reader, Recipe("n", "c", 1, 1, "mean", base, parts, back="int8")


async def test_who_has_the_base_makes_each_slice_of_its_change(tmp_path: Path) -> None:
    merger, reader, recipe = await begun(tmp_path)
    for done in await merger.merge(recipe):
        assert await reader.fetch(done, recipe.base) == SliceFetched(recipe.name, done.slice, done.root)
    assert set(reader.fetched) == {change_name(recipe.name)}
    assert reader.store.partial(recipe.name).read_bytes() == merger.store.partial(recipe.name).read_bytes()
    change = merger.store.parts(change_name(recipe.name))
    assert change is not None
    assert change.complete
    assert change.layout.size < 0.27 * merger.store.digest_info(recipe.base).size
    again = Site(tmp_path / "again")
    again.other, again.own = reader.store, await again.adopt(1.0, 1)
    for event in merger.events:
        assert isinstance(event, SliceMerged)
        await again.fetch(event, recipe.base)  # of a site that has it from the merger
    assert set(again.fetched) == {change_name(recipe.name)}


@pytest.mark.parametrize("lost", ["base", "change"])
async def test_who_lacks_the_base_or_gets_no_change_fetches_slices(tmp_path: Path, lost: str) -> None:
    merger, reader, recipe = await begun(tmp_path)
    found = await merger.merge(recipe)
    if lost == "base":
        reader.own = await reader.adopt(3.0, 3)
        reader.store.forget(recipe.base)
    else:
        merger.store.forget(change_name(recipe.name))
    for done in found:
        assert await reader.fetch(done, recipe.base) == SliceFetched(recipe.name, done.slice, done.root)
    assert set(reader.fetched) == {recipe.name}


async def test_who_can_reach_nobody_waits_for_the_change_and_does_not_ask_for_the_slice(tmp_path: Path) -> None:
    merger, reader, recipe = await begun(tmp_path)
    first, *_ = await merger.merge(recipe)
    reader.unreachable = True
    assert await reader.fetch(first, recipe.base) == SliceMissing(recipe.name, 0, "nobody answers")
    assert reader.fetched == []
    reader.unreachable = False
    assert await reader.fetch(first, recipe.base) == SliceFetched(recipe.name, 0, first.root)
    assert reader.fetched == [change_name(recipe.name)]


async def test_a_change_that_gives_another_slice_is_not_believed(tmp_path: Path) -> None:
    merger, reader, recipe = await begun(tmp_path)
    first, *_ = await merger.merge(recipe)
    liar = Site(tmp_path / "liar")
    base = await liar.adopt(1.0, 1)
    parts = tuple([Contributor(uid, await liar.adopt(value, 7), 1) for uid, value in (("a", 5.0), ("b", 6.0))])
    liar.own = base
    other = Recipe("n", "c", 1, 1, "mean", base, parts, back="int8")
    lie, *_ = await liar.merge(other)
    source = liar.store.partial(change_name(other.name))
    merger.store.forget(change_name(recipe.name))
    known = liar.store.parts(change_name(other.name))
    assert known is not None
    merger.store.partial(change_name(recipe.name)).write_bytes(source.read_bytes())
    merger.store.write_stated(change_name(recipe.name), known.info)
    merger.store.noted(change_name(recipe.name)).write_bytes(b"\1" * known.layout.count)
    stated = merger.store.parts(change_name(recipe.name), known.info)
    assert stated is not None
    with stated.used():
        assert await reader.fetch(first, recipe.base, lie.change) == SliceFetched(recipe.name, 0, first.root)
    assert reader.fetched == [change_name(recipe.name), recipe.name]
    here = reader.store.parts(recipe.name)
    assert here is not None
    chunks = range(here.layout.count)[: 1 + -(-1000 * (here.layout.count - 1) // UNITS)]
    assert here.has(chunks)
    assert slice_root(here.info, chunks) == first.root


async def test_a_merger_that_is_started_again_states_the_same(tmp_path: Path) -> None:
    merger, _, recipe = await begun(tmp_path)
    before = await merger.merge(recipe)
    again = Site(tmp_path / "merger")
    again.own = recipe.base
    assert await again.merge(recipe) == before
    merger.store.forget(change_name(recipe.name))
    without = Site(tmp_path / "merger")
    without.own = recipe.base
    assert await without.merge(recipe) == before


async def test_a_check_codes_again_and_finds_what_is_wrong(tmp_path: Path) -> None:
    merger, _, recipe = await begun(tmp_path)
    roots = tuple(done.root for done in await merger.merge(recipe))
    slices = [Slice(CUTS[index], CUTS[index + 1], "m") for index in SLICES]
    with merger.store.pinned() as pin:
        made = await merger.work.assemble(Assemble(recipe.name, roots), slices, 0, pin)
        assert isinstance(made, Assembled)
        checking = Recomputing(merger.store, merger.work, merger.events.append, count)
        pieces = tuple(Piece(index, CUTS[index], CUTS[index + 1]) for index in SLICES)
        await checking.recheck(Recheck(made.result, recipe, pieces, 10.0), ())
        plain = Recipe("n", "c", 1, 1, "mean", recipe.base, recipe.contributors)
        await checking.recheck(Recheck(made.result, plain, pieces, 10.0), ())
    assert merger.events[-2:] == [Rechecked(made.result, ()), Rechecked(made.result, (0, 2, 3))]
