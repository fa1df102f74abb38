"""A leader's merge: one that nobody wants any more, and one that changes nothing."""

import asyncio
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from swarmlearning.choices import MergeMethod
from swarmlearning.ledger.bodies import Contribution, Exclusion
from swarmlearning.ledger.contracts.training.state import Terms, empty
from swarmlearning.ledger.contracts.training.submissions import Submission
from swarmlearning.merge.streaming import LANES, processors
from swarmlearning.models.store import TensorStore
from swarmlearning.rounds.events import Merge
from swarmlearning.sl.merging import merge_round
from swarmlearning.tensors.file import Tensor, write
from swarmlearning.tensors.structure import structure_digest

VALUES = 2**23
"""Of each model: several blocks a lane."""


async def test_a_merge_ends_soon_after_it_is_cancelled(tmp_path: Path) -> None:
    store = TensorStore(tmp_path / "models")
    submissions = []
    for number in (1, 2):
        path = store.temporary()
        write(path, {"w": Tensor.of(np.full(VALUES, number, np.float32), "w")})
        info = await store.adopt(path)
        submissions.append(Submission(f"sl-{number}", "trained", info.root, info.size, weight=1, at_ms=0))
    reads, reading, goes_on = list[int](), asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def on_read(size: int) -> None:
        reads.append(size)
        loop.call_soon_threadsafe(reading.set)
        goes_on.wait(60)

    terms = Terms("mean", 1, structure_digest([("w", "F32", (VALUES,))]))
    training = msgspec.structs.replace(empty("contract"), terms=terms)
    merging = asyncio.create_task(merge_round(Merge(1, 0, "", tuple(submissions), (), False), training, store, on_read))
    await reading.wait()
    merging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await merging
    goes_on.set()
    await loop.shutdown_default_executor()
    assert len(reads) <= processors() < LANES
    assert list((tmp_path / "models").glob("*.tmp")) == []


@pytest.mark.parametrize(("method", "coefficients"), [("mean", (3, 0, 2)), ("coordmedian", (1, 0, 1))])
async def test_the_previous_result_stands_without_being_read_where_all_give_this_one_or_none(
    tmp_path: Path, method: MergeMethod, coefficients: tuple[int, ...]
) -> None:
    """Its only holder may serve it so slowly that it never comes (seed 93009522)."""
    store, base = TensorStore(tmp_path / "models"), "b" * 64
    submissions = (
        Submission("sl-1", "active", base, 1, weight=3, at_ms=0),
        Submission("sl-2", "inactive", "c" * 64, 1, weight=0, at_ms=0),
        Submission("sl-3", "active", base, 1, weight=2, at_ms=0),
    )
    left_out = (Exclusion("sl-4", "unreachable", "refused"),)
    training = msgspec.structs.replace(empty("contract"), terms=Terms(method, 2, ""))
    done = await merge_round(Merge(4, 1, base, submissions, left_out, False), training, store, lambda size: None)
    assert (done.round, done.term, done.result) == (4, 1, base)
    assert done.receipt.exclusions == left_out
    assert done.receipt.contributions == tuple(
        Contribution(one.uid, one.digest, one.weight, coefficient, distance=0.0 if one.weight else None)
        for one, coefficient in zip(submissions, coefficients, strict=True)
    )
