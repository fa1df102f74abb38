"""An SL's work with slices, where it fails."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarmlearning.ledger.contracts.training.slices import UNITS, Contributor, Recipe
from swarmlearning.models.claims import Holding
from swarmlearning.models.connections import Source
from swarmlearning.models.store import StoreError, TensorStore
from swarmlearning.models.transfer import TransferError
from swarmlearning.rounds.events import Event, LocalFailure
from swarmlearning.rounds.slices import MergeSlice, SliceMerged, SliceUnmergeable
from swarmlearning.sl import arrivals
from swarmlearning.sl.arrivals import Arrivals
from swarmlearning.sl.links import Links
from swarmlearning.sl.slices import SliceWork
from swarmlearning.sl.stopwatch import Stopwatch
from swarmlearning.tensors.digest import digest_file
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


class Relay:
    """Fetches nothing, and notes what of a model is here when it is asked to."""

    def __init__(self, store: TensorStore) -> None:
        self.store = store
        self.found: list[bool] = []

    async def fetch_part(self, digest: str, chunks: range, *given: object, **named: object) -> None:
        parts = self.store.parts(digest)
        self.found.append(parts is not None and parts.has(chunks))
        if not self.found[-1]:
            raise TransferError("nobody calls back")


@pytest.mark.parametrize("pushes", [True, False])
async def test_a_model_that_is_pushed_is_waited_for_and_fetched_through_the_relay_where_it_does_not_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pushes: bool
) -> None:
    monkeypatch.setattr(arrivals, "FIRST_SECONDS", 600.0 if pushes else 0.0)
    store, events = TensorStore(tmp_path / "models"), list[Event]()
    for name, value in (("own", 1), ("theirs", 3)):
        write(tmp_path / name, {"w": Tensor.of(np.full(2**18, value, np.float32), "w")})
    theirs, data = digest_file(tmp_path / "theirs", format=2), (tmp_path / "theirs").read_bytes()
    own = (await store.adopt(tmp_path / "own", format=2)).root
    recipe = Recipe("n", "c", 1, 0, "mean", "", (Contributor("a", own, 1), Contributor("b", theirs.root, 1)))
    relay: Any = Relay(store)
    known, waiting, sources = Arrivals(), asyncio.Event(), dict[Source, str]({("relay", 1, "b"): "b"})
    wait = known.wait

    async def waits(*given: Any) -> None:
        asyncio.get_running_loop().call_soon(waiting.set)
        await wait(*given)

    monkeypatch.setattr(known, "wait", waits)
    work = SliceWork(store, relay, events.append, lambda uids: sources, measured, count, lambda: 0, lambda: own, known)
    merging = asyncio.create_task(work.merge(MergeSlice(recipe, 0, 0, UNITS, 600.0), ()))
    if pushes:
        parts = store.parts(theirs.root, theirs)
        assert parts is not None
        with parts.used():
            for index in range(theirs.layout.count):
                await waiting.wait()
                assert relay.found == []
                start, end = theirs.layout.bounds(index)
                claim = parts.claim(Holding(), range(index, index + 1))
                assert claim is not None
                parts.write(claim, memoryview(data[start:end]), start)
                parts.confirm(claim, theirs.chunks[index])
                parts.release(claim)
                known.came(theirs.root, end - start)
    await merging
    assert relay.found == [pushes]
    assert [type(event) for event in events] == [SliceMerged if pushes else SliceUnmergeable]
