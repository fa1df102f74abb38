"""A part of a result is merged again, from real bytes: what is right, what is not, and what cannot be told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarmlearning.ledger.contracts.training.slices import UNITS, Contributor, Recipe
from swarmlearning.merge.merging import Source as MergeSource
from swarmlearning.merge.merging import merge
from swarmlearning.models.connections import Source
from swarmlearning.models.store import TensorStore
from swarmlearning.models.transfer import TransferError
from swarmlearning.rounds.checks import Piece, Recheck, Rechecked, Uncheckable
from swarmlearning.rounds.events import Dropped, Event
from swarmlearning.sl.links import Links
from swarmlearning.sl.recomputing import Recomputing
from swarmlearning.sl.slices import SliceWork
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.tensors.file import Tensor, read, write

VALUES = 2**18
"""Of 4 bytes: four chunks."""
PIECES = tuple(Piece(index, UNITS * index // 4, UNITS * (index + 1) // 4) for index in range(4))


class Nowhere:
    """Nobody serves anything."""

    async def fetch_part(self, *given: object, **named: object) -> None:
        raise TransferError("no route", "unreachable")


class Site:
    """A store with the models of two contributors, and the recipe of their merge."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store, self.events = TensorStore(folder / "models"), list[Event]()
        nowhere: Any = Nowhere()
        slices = SliceWork(
            self.store, nowhere, self.events.append, lambda uids: {}, _measured, _count, lambda: 0, lambda: ""
        )
        self._work = Recomputing(self.store, slices, self.events.append, _count)

    async def add(self, name: str, values: np.ndarray[Any, Any]) -> str:
        write(self.folder / name, {"w": Tensor.of(values.astype(np.float32), "w")})
        return (await self.store.adopt(self.folder / name, format=2)).root

    async def merged(self, method: str, digests: Mapping[str, str]) -> np.ndarray[Any, Any]:
        sources = [MergeSource(uid, 1, self.store.path(digest)) for uid, digest in digests.items()]
        merge(method, sources, None, self.folder / "merged", minimum=2)
        return read(self.folder / "merged")["w"].copy()

    async def check(self, result: str, method: str, digests: Mapping[str, str], *pieces: Piece) -> list[Event]:
        contributors = tuple(Contributor(uid, digest, 1) for uid, digest in digests.items())
        recipe = Recipe("n", "c", 1, 0, method, "", contributors)  # type: ignore[arg-type]
        await self._work.recheck(Recheck(result, recipe, pieces, 10.0), ())
        return self.events


def _count(size: int) -> None:
    """Of no interest."""


def _measured(uids: Mapping[Source, str]) -> Links:
    return Links(Stopwatch(), uids, _count)


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def two(site: Site) -> dict[str, str]:
    dice = np.random.default_rng(1)
    return {uid: await site.add(uid, dice.normal(size=VALUES)) for uid in ("a", "b")}


@pytest.mark.parametrize("method", ["mean", "coordmedian"])
async def test_what_was_merged_rightly_is_right(site: Site, method: str) -> None:
    models = await two(site)
    result = await site.add("result", await site.merged(method, models))
    assert await site.check(result, method, models, *PIECES) == [Rechecked(result, ())]
    assert not list((site.folder / "models").glob("*.tmp"))


async def test_a_slice_with_one_other_value_is_found_and_only_by_whoever_checks_it(site: Site) -> None:
    models = await two(site)
    values = await site.merged("mean", models)
    values[VALUES // 2] = np.nextafter(values[VALUES // 2], np.float32(9))
    result = await site.add("result", values)
    assert await site.check(result, "mean", models, *PIECES) == [Rechecked(result, (2,))]
    site.events.clear()
    assert await site.check(result, "mean", models, PIECES[0], PIECES[3]) == [Rechecked(result, ())]


async def test_a_result_that_hides_a_model_s_nan_is_wrong_in_that_slice_alone(site: Site) -> None:
    models = await two(site)
    honest = await site.merged("mean", models)
    spoiled = np.zeros(VALUES)
    spoiled[0] = np.nan
    result = await site.add("result", honest)
    found = await site.check(result, "mean", {**models, "c": await site.add("c", spoiled)}, PIECES[0])
    assert found == [Rechecked(result, (0,))]


async def test_without_a_contribution_nothing_is_said_about_the_result(site: Site) -> None:
    models = await two(site)
    result = await site.add("result", await site.merged("mean", models))
    found = await site.check(result, "mean", {**models, "c": "c" * 64}, *PIECES)
    assert found == [Uncheckable(result, "the model of c: unreachable")]


async def test_a_result_that_is_not_here_any_more_is_fetched_again_first(site: Site) -> None:
    models, gone = await two(site), "9" * 64
    dropped, failed = await site.check(gone, "mean", models, *PIECES)
    assert dropped == Dropped(gone)
    assert isinstance(failed, Uncheckable)
