"""Sites that survey real models and merge slices of them by the geometric median: what comes of it is what one leader
makes of them."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sl.test_slices import count, measured
from swarmlearning.ledger.contracts.training.recipes import weighed
from swarmlearning.ledger.contracts.training.slices import UNITS, Contributor, Recipe
from swarmlearning.merge.arithmetic import GRID
from swarmlearning.merge.geomedian import begin
from swarmlearning.merge.merging import Source as MergeSource
from swarmlearning.merge.merging import merge
from swarmlearning.models.connections import Source
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import TransferError
from swarmlearning.rounds.events import Event, LocalFailure
from swarmlearning.rounds.slices import (
    FetchSlice,
    MergeSlice,
    SliceFetched,
    SliceMerged,
    SliceMissing,
    SlicesLost,
    SliceUnmergeable,
    Weighed,
    WeighModels,
)
from swarmlearning.sl.layouts import chunks_of
from swarmlearning.sl.slices import SliceWork
from swarmlearning.sl.surveys import MOST_BYTES
from swarmlearning.tensors.digest import slice_root
from swarmlearning.tensors.file import Tensor, write

SITES = ("a", "b", "c", "d", "e")
CUTS = (0, 1500, 1501, 2600, UNITS)
"""Units between four slices; the second one has none of the few chunks."""
VALUES = 3 * 2**16 + 7


def models(kind: str) -> list[np.ndarray[Any, Any]]:
    """One a site; one is far from the others. `near`: so close together that rounding might decide."""
    dice = np.random.default_rng(5)
    base = dice.standard_normal(VALUES)
    apart = [0.1, 0.1, 0.2, 0.1, 5.0] if kind == "apart" else [0.0, 0.0, 1.0, 1.0, 3.0]
    return [(base + far * dice.standard_normal(VALUES)).astype(np.float32) for far in apart]


class Hosts:
    """All sites' work; whoever asks for another's statistics gets them, unless that one is `mute` or says `other`."""

    def __init__(self, folder: Path, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
        self.events: dict[str, list[Event]] = {uid: [] for uid in SITES}
        self.works: dict[str, SliceWork] = {}
        self.stores: dict[str, TensorStore] = {}
        self.mute: set[str] = set()
        self.other: dict[str, bytes] = {}
        self._folder, self._arrays = folder, arrays

    async def start(self) -> tuple[Contributor, ...]:
        found = []
        for uid in SITES:
            store = self.stores[uid] = TensorStore(self._folder / uid)
            for other, array in zip(SITES, self._arrays, strict=True):
                path = self._folder / f"{uid} has {other}"
                write(path, {"w": Tensor.of(array, "w"), "n": Tensor.of(np.arange(3), "n")})
                digest = (await store.adopt(path, format=2)).root
                if uid == SITES[0]:
                    found.append(Contributor(other, digest, 1))
            own = found[0].digest
            fetcher: Any = self
            self.works[uid] = SliceWork(
                store, fetcher, self.events[uid].append, _sources, measured, count, lambda: 0, partial(str, own)
            )
        return tuple(found)

    async def sums(self, kind: str, name: str, index: int, source: Source, most: int, height: int) -> bytes:
        uid = source[0]
        data = self.other[uid] if uid in self.other else self.works[uid].sums(kind, name, index)
        assert most == MOST_BYTES
        if data is None or uid in self.mute:
            raise TransferError("not here")
        return data

    async def survey(self, recipe: Recipe) -> tuple[str, ...]:
        """Each slice is surveyed by another site; returns the digests of their statistics."""
        roots = []
        for index in range(len(CUTS) - 1):
            done = await self.at(SITES[index], MergeSlice(recipe, index, CUTS[index], CUTS[index + 1], 10.0))
            assert isinstance(done, SliceMerged)
            roots.append(done.root)
        return tuple(roots)

    async def gather(self, leader: str, recipe: Recipe, roots: Sequence[str]) -> list[Event]:
        """The leader asks for what it has not surveyed itself."""
        return [
            await self.at(leader, self.fetch(recipe, index, root))
            for index, root in enumerate(roots)
            if SITES[index] != leader
        ]

    def fetch(self, recipe: Recipe, index: int, root: str, *holders: str) -> FetchSlice:
        asked = holders or (SITES[index],)
        return FetchSlice(recipe.name, index, CUTS[index], CUTS[index + 1], root, asked, len(SITES))

    async def at(self, uid: str, task: MergeSlice | FetchSlice | WeighModels) -> Event:
        work = self.works[uid]
        match task:
            case MergeSlice():
                await work.merge(task, ())
            case FetchSlice():
                await work.fetch(task)
            case WeighModels():
                await work.weigh(task)
        return self.events[uid][-1]


def _sources(uids: Sequence[str]) -> Mapping[Source, str]:
    return {(uid, 1): uid for uid in uids}


def first_look(parts: tuple[Contributor, ...]) -> Recipe:
    return Recipe("n", "c", 1, 0, "geomedian", "", parts, survey=1)


def with_shares(recipe: Recipe, found: Weighed) -> Recipe:
    return msgspec.structs.replace(
        recipe,
        contributors=weighed(recipe.contributors, found.coefficients),
        survey=recipe.survey + 1 if found.again else 0,
    )


@pytest.mark.parametrize(("kind", "surveys"), [("apart", 1), ("near", 2)])
async def test_slices_are_the_model_that_one_leader_makes_with_these_coefficients(
    tmp_path: Path, kind: str, surveys: int
) -> None:
    hosts = Hosts(tmp_path, models(kind))
    recipe = first_look(await hosts.start())
    for number in range(1, surveys + 1):
        roots = await hosts.survey(recipe)
        leader = SITES[-1] if number == 1 else SITES[0]
        assert all(isinstance(each, SliceFetched) for each in await hosts.gather(leader, recipe, roots))
        found = await hosts.at(leader, WeighModels(recipe, (1,) * 5, roots))
        assert isinstance(found, Weighed)
        assert found.again == (number < surveys)
        recipe = with_shares(recipe, found)
    shares = [one.coefficient for one in recipe.contributors]
    store = hosts.stores["a"]
    given = [MergeSource(one.uid, 1, store.path(one.digest)) for one in recipe.contributors]
    alone = merge("geomedian", given, None, tmp_path / "alone")
    assert shares == pytest.approx(alone.coefficients, abs=2e-6 * GRID)
    same = [MergeSource(one.uid, share, one.path) for one, share in zip(given, shares, strict=True)]
    merge("mean", same, None, tmp_path / "whole")
    whole = await store.adopt(tmp_path / "whole", format=2)
    for index in range(len(CUTS) - 1):
        task = MergeSlice(recipe, index, CUTS[index], CUTS[index + 1], 10.0)
        done = await hosts.at("a", task)
        assert isinstance(done, SliceMerged)
        parts = store.parts(recipe.name)
        assert parts is not None
        chunks = chunks_of(whole.layout, task.start, task.stop)
        assert done.root == slice_root(parts.info, chunks) == slice_root(whole, chunks)


async def test_a_site_finds_the_same_statistics_after_a_restart(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path, models("apart"))
    recipe = first_look(await hosts.start())
    assert await hosts.survey(recipe) == await hosts.survey(recipe)


async def test_a_leader_takes_only_what_was_stated_and_asks_others_who_have_stated_the_same(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path, models("apart"))
    recipe = first_look(await hosts.start())
    roots = await hosts.survey(recipe)
    hosts.mute.add("b")
    assert isinstance(await hosts.at("e", hosts.fetch(recipe, 1, roots[1])), SliceMissing)
    data = hosts.works["a"].sums("statistics", recipe.name, 0)
    assert data is not None
    for false in (data[:-8] + b"\0" * 8, data + b"\0", b"", data[: len(data) // 2], bytes(len(data))):
        hosts.other["a"] = false
        assert isinstance(await hosts.at("e", hosts.fetch(recipe, 0, roots[0])), SliceMissing)
    assert isinstance(await hosts.at("b", WeighModels(recipe, (1,) * 5, roots)), SlicesLost)
    copy = MergeSlice(recipe, 0, CUTS[0], CUTS[1], 10.0)
    assert await hosts.at("c", copy) == SliceMerged(recipe.name, 0, roots[0])
    assert await hosts.at("e", hosts.fetch(recipe, 0, roots[0], "a", "c")) == SliceFetched(recipe.name, 0, roots[0])


async def test_a_source_that_never_answers_is_waited_for_no_longer_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = Hosts(tmp_path, models("apart"))
    recipe = first_look(await hosts.start())
    monkeypatch.setattr("swarmlearning.sl.surveys.SECONDS", 0.01)
    monkeypatch.setattr(hosts, "sums", lambda *given: asyncio.Event().wait())
    assert isinstance(await hosts.at("a", hosts.fetch(recipe, 1, "0" * 64)), SliceMissing)


async def test_a_model_that_is_not_finite_is_found_by_who_surveys_that_slice(tmp_path: Path) -> None:
    arrays = models("apart")
    arrays[3][VALUES // 8] = np.nan
    hosts = Hosts(tmp_path, arrays)
    recipe = first_look(await hosts.start())
    found = [await hosts.at("a", MergeSlice(recipe, index, CUTS[index], CUTS[index + 1], 10.0)) for index in (0, 3)]
    assert [type(each) for each in found] == [SliceUnmergeable, SliceMerged]
    assert isinstance(found[0], SliceUnmergeable)
    assert (found[0].exclusion.uid, found[0].exclusion.reason) == ("d", "non-finite")


async def test_a_leader_without_any_model_cannot_weigh_others(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path, models("apart"))
    recipe = first_look(await hosts.start())
    for one in recipe.contributors:
        hosts.stores["e"].forget(one.digest)
    task = WeighModels(recipe, (1,) * 5, ("0" * 64,) * 4)
    assert await hosts.at("e", task) == LocalFailure(task, "no model of this training is here yet")


def test_five_models_of_one_weight_have_to_be_surveyed() -> None:
    assert not isinstance(begin((1,) * 5), tuple)
