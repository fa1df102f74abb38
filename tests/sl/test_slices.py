"""An SL's work with slices, where it fails."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from swarmlearning.ledger.contracts.training.slices import UNITS, Contributor, Recipe
from swarmlearning.models.connections import Source
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.rounds.events import Event, LocalFailure
from swarmlearning.rounds.slices import MergeSlice
from swarmlearning.sl.links import Links
from swarmlearning.sl.slices import SliceWork
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.tensors.file import Tensor, write


def count(size: int) -> None:
    """Of no interest."""


def measured(uids: Mapping[Source, str]) -> Links:
    return Links(Stopwatch(), uids, count)


class FullDisk:
    """Fetches nothing: there is no room for it."""

    async def fetch_part(self, *given: object, **named: object) -> None:
        raise StoreError("no room for the model")


async def test_a_disk_without_room_for_others_ranges_fails_the_slice_and_not_the_node(tmp_path: Path) -> None:
    store, events = TensorStore(tmp_path / "models"), list[Event]()
    write(tmp_path / "own", {"w": Tensor.of(np.zeros(2**18, np.float32), "w")})
    own = (await store.adopt(tmp_path / "own", format=2)).root
    recipe = Recipe("n", "c", 1, 0, "mean", "", (Contributor("a", own, 1), Contributor("b", "b" * 64, 1)))
    task = MergeSlice(recipe, 0, 0, UNITS, 10.0)
    full: Any = FullDisk()
    work = SliceWork(store, full, events.append, lambda uids: {}, measured, count, lambda: 0, lambda: own)
    await work.merge(task, ())
    assert events == [LocalFailure(task, "no room for the model")]
