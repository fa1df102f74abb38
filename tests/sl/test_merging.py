"""A merge that nobody wants any more."""

import asyncio
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

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
