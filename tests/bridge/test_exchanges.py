"""The exchanges of a client of the original with the bridge: sessions, syncs, and the end of training."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from support.bridging import Loading, Stand, beside, model, opened
from support.fake_sl import SESSION, Arrays, FakeSL, Reply
from support.original_client import SwarmError
from swarmlearning.channel.messages import (
    SPARE_FILE,
    Close,
    Closed,
    Evaluated,
    FromML,
    Kill,
    Open,
    Sync,
    TensorSpec,
    Waiting,
)

DIALECTS = pytest.mark.parametrize("in_message", [False, True], ids=["in files", "in messages"])


def doubled(arrays: Arrays) -> Arrays:
    return {name: array * 2 for name, array in arrays.items()}


@DIALECTS
async def test_a_client_of_the_original_trains_from_its_first_message_to_its_last(
    stand: Stand, tmp_path: Path, in_message: bool
) -> None:
    load = Loading()

    def train() -> list[tuple[int, bool]]:
        client = stand.client(in_message)
        client.open(interval=4, peers=3, adaptive=True, checkin="active", weightage=7, contract="c", method="geomedian")
        answers = [client.sync(model(1), load, weightage=7), client.sync(model(3), load, weightage=7)]
        client.close(model(5), load, weightage=0)
        client.leave()
        return answers

    with FakeSL(tmp_path / "sl", merge=doubled, intervals=[9]) as sl:
        async with stand.bridge(sl):
            assert await beside(train) == [(9, False), (4, False)]
            await beside(sl.wait_until_left)
    assert load.values == [2, 6, 10]
    for shown in load.seen:
        assert {name: (array.dtype, array.shape) for name, array in shown.items()} == {
            name: (np.dtype(np.float64) if name == "steps" else array.dtype, array.shape)
            for name, array in model().items()
        }
        assert list(shown) == (sorted(model()) if in_message else list(model()))
    opened, *rest = sl.received
    assert isinstance(opened, Open)
    structure = [
        TensorSpec("z.weight", "F32", (3, 2)),
        TensorSpec("a.bias", "F64", (4,)),
        TensorSpec("steps", "I64", ()),
    ]
    assert sorted(opened.structure, key=lambda spec: spec.name) == sorted(structure, key=lambda spec: spec.name)
    assert (opened.sync_frequency, opened.min_peers, opened.use_adaptive_sync) == (4, 3, True)
    assert (opened.checkin_model_on_train_end, opened.node_weightage) == ("active", 7)
    assert (opened.training_contract, opened.merge_method, opened.holds) == ("c", "geomedian", "")
    assert [type(message) for message in rest] == [Sync, Evaluated, Sync, Evaluated, Close, Evaluated]
    assert sl.of(Evaluated)[0] == Evaluated(SESSION, 1, 0.5, 0.25, 2, 5)
    assert not (stand.state / "session.json").exists()


@DIALECTS
async def test_weights_larger_than_a_pipe_are_exchanged(stand: Stand, tmp_path: Path, in_message: bool) -> None:
    load = Loading()
    large = {"a.bias": np.arange(1_000_000.0), "b": np.asfortranarray(np.arange(600_000, dtype=">f4").reshape(2, -1))}
    with FakeSL(tmp_path / "sl") as sl:
        async with stand.bridge(sl):
            await beside(lambda: opened(stand, in_message).sync(large, load))
    for name, array in large.items():
        np.testing.assert_array_equal(load.seen[0][name], array)


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ((0.0, 0.0), (None, None)),
        ((0.0, 0.5), (0.0, 0.5)),
        ((float("nan"), 0.5), (None, 0.5)),
        ((1.5, 0.0), (1.5, 0.0)),
    ],
)
async def test_loss_and_metric_of_a_client_reach_the_sl(
    stand: Stand, tmp_path: Path, figures: tuple[float, float], told: tuple[float | None, float | None]
) -> None:
    with FakeSL(tmp_path / "sl") as sl:
        async with stand.bridge(sl):
            await beside(lambda: opened(stand).sync(model(), Loading(*figures)))
    (answer,) = sl.of(Evaluated)
    assert (answer.loss, answer.metric) == told


@DIALECTS
async def test_a_client_that_is_shown_nothing_new_at_the_end_sees_the_last_model_again(
    stand: Stand, tmp_path: Path, in_message: bool
) -> None:
    load = Loading()

    def train() -> None:
        client = opened(stand, in_message)
        client.sync(model(1), load)
        client.close(model(7), load)

    with FakeSL(tmp_path / "sl", merges_at_close=0, merge=doubled, answers=closes_at_once) as sl:
        async with stand.bridge(sl):
            await beside(train)
    assert load.values == [2, 2]
    assert len(sl.of(Evaluated)) == 1  # the SL has not requested it again


async def test_a_client_that_cannot_use_the_last_model_shown_again_ends_its_session(
    stand: Stand, tmp_path: Path
) -> None:
    def fail(merged: Arrays) -> tuple[float, float, int, int]:
        raise ValueError("no such layer")

    def train() -> None:
        client = opened(stand)
        client.sync(model(1), Loading())
        with pytest.raises(SwarmError, match="no such layer"):
            client.close(model(7), fail)

    with FakeSL(tmp_path / "sl", answers=closes_at_once) as sl:
        async with stand.bridge(sl):
            await beside(train)
            await beside(sl.wait_until_left)


def closes_at_once(message: FromML) -> Iterable[Reply] | None:
    return [Closed(SESSION, message.sequence)] if isinstance(message, Close) else None


async def test_training_that_is_over_elsewhere_ends_with_a_kill_that_has_no_answer(
    stand: Stand, tmp_path: Path
) -> None:
    def train() -> tuple[int, bool]:
        client = opened(stand)
        answer = client.sync(model(), Loading())
        client.kill()
        return answer

    with FakeSL(tmp_path / "sl", over_at=1) as sl:
        async with stand.bridge(sl):
            assert await beside(train) == (4, True)
            await beside(sl.wait_until_left)
    assert sl.received[-1] == Kill(SESSION, True, "Swarm training is over before local training. Exit gracefully.")


async def test_lines_for_the_training_log_do_not_disturb_an_exchange(stand: Stand, tmp_path: Path) -> None:
    sl = FakeSL(tmp_path / "sl", answers=lambda message: [Waiting("for others"), *sl.usual(message)])
    with sl:
        async with stand.bridge(sl):
            assert await beside(lambda: opened(stand).sync(model(), Loading())) == (4, False)


async def test_the_bridge_writes_into_the_sl_s_spare_file(stand: Stand, tmp_path: Path) -> None:
    sl = FakeSL(tmp_path / "sl")
    spare = sl.path.with_name(SPARE_FILE)
    spare.write_bytes(b"x" * 10_000)
    os.link(spare, tmp_path / "the same")
    with sl:
        async with stand.bridge(sl):
            await beside(lambda: opened(stand).sync(model(1), Loading()))
    assert not spare.exists()
    assert (tmp_path / "the same").stat().st_size < 10_000
