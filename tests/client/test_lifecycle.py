"""The hooks of a training against a fake SL: when they sync, what they hand over and load, and what they log."""

import itertools
from typing import Any

import numpy as np
import pytest

from support.callbacks import Join, Log, array_model
from support.fake_sl import SESSION, FakeSL, Reply, plus
from swarmlearning.channel.messages import (
    SPARE_FILE,
    Close,
    Evaluated,
    FromML,
    Open,
    Progress,
    Sync,
    TensorSpec,
    Waiting,
)


@pytest.mark.parametrize(
    ("frequency", "intervals", "expected"),
    [
        (1, [], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]),
        (4, [], [4, 8, 12]),
        (13, [], [13]),
        (14, [], []),
        (4, [2, 5, 1, 1, 3, 9], [2, 7, 8, 9, 12]),  # the first is the answer to the sync at the beginning
        (1, [100], []),
    ],
)
def test_a_sync_follows_every_interval_of_batches_that_the_sl_sets(
    tmp_path: Any, join: Join, frequency: int, intervals: list[int], expected: list[int]
) -> None:
    with FakeSL(tmp_path, intervals=intervals) as sl:
        callback = join.arrays(sl, syncFrequency=frequency, model=array_model())
        assert sl.of(Sync) == []
        callback.on_train_begin()
        assert len(sl.of(Sync)) == 1
        synced_at = []
        for batch in range(1, 14):
            before = len(sl.of(Sync))
            callback.on_batch_end()
            if len(sl.of(Sync)) > before:
                synced_at.append(batch)
        assert synced_at == expected
        callback.on_train_end()


def test_hooks_accept_the_arguments_that_training_loops_pass(tmp_path: Any, join: Join) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, syncFrequency=2, model=array_model())
        callback.on_train_begin({})
        callback.on_batch_end(0, {"loss": 1.0})
        callback.on_batch_end(batch=1, logs=None)
        callback.on_epoch_end(0)
        callback.on_epoch_end(epoch=1, logs={})
        callback.on_train_end(logs={})
        assert [message.epochs for message in sl.of(Evaluated)] == [0, 0, 2]


def test_progress_is_reported_once_a_second_at_most(tmp_path: Any, join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((49.9, 50.0, 50.4, 50.99, 51.0, 51.5, 52.2, 52.3, 53.2, 53.3))
    monkeypatch.setattr("swarmlearning.client.session.monotonic", lambda: next(times))
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, syncFrequency=100, model=array_model())
        callback.on_train_begin()
        for _ in range(6):
            callback.on_batch_end()
        callback.on_epoch_end()
        for _ in range(3):
            callback.on_batch_end()
        callback.on_train_end()  # by its answer all earlier messages have been read
        assert [(message.steps, message.epochs) for message in sl.of(Progress)] == [(1, 0), (4, 0), (6, 0), (8, 1)]
        assert all(message.batches_per_second > 0 for message in sl.of(Progress))


def test_opening_a_session_sends_all_parameters_and_the_structure_of_the_model(tmp_path: Any, join: Join) -> None:
    with FakeSL(tmp_path) as sl:
        join.arrays(
            sl,
            syncFrequency=8,
            minPeers=3,
            trainingContract="mine",
            totalEpochs=6,
            checkinModelOnTrainEnd="active",
            nodeWeightage=7,
            trainingSamples=900,
            mergeMethod="GEOMEDIAN",
            useAdaptiveSync=True,
            adsValData=[1],
            model=array_model(shape=(2, 3)) | {"a": np.zeros(0, bool)},
        )
        assert sl.received == [
            Open(
                training_contract="mine",
                sync_frequency=8,
                min_peers=3,
                merge_method="geomedian",
                checkin_model_on_train_end="active",
                node_weightage=7,
                use_adaptive_sync=True,
                total_epochs=6,
                ml_platform="ARRAYS",
                training_samples=900,
                structure=(
                    TensorSpec("a", "BOOL", (0,)),
                    TensorSpec("n", "I64", ()),
                    TensorSpec("w", "F32", (2, 3)),
                ),
            )
        ]


def test_trained_parameters_are_sent_and_replaced_in_place_by_merged_ones(tmp_path: Any, join: Join) -> None:
    losses = iter([(1.5, 0.25), (None, None), (float("nan"), float("inf")), (np.float32(0.5), 2)])
    with FakeSL(tmp_path, merge=plus(10)) as sl:
        mine = array_model(1)
        weights = mine["w"]
        callback = join.arrays(
            sl, syncFrequency=1, nodeWeightage=5, totalEpochs=9, model=mine, evaluate=lambda _: next(losses)
        )
        callback.on_train_begin()
        assert mine["w"].tolist() == [11.0] * 6
        for _ in range(2):
            weights += 1  # in place: the model's own memory
            mine["n"] += 1
            callback.on_batch_end()
            callback.on_epoch_end()
        callback.on_train_end()
        assert [float(sent["w"][0]) for sent in sl.models] == [1, 12, 23, 33]
        assert [int(sent["n"]) for sent in sl.models] == [0, 11, 22, 32]
        assert (weights == 43).all()
        assert mine["n"] == 42
        assert [m.sequence for m in sl.of(Sync) + sl.of(Close)] == [1, 2, 3, 4]
        assert len({m.file for m in sl.of(Sync) + sl.of(Close)}) == 4
        assert sl.of(Evaluated) == [
            Evaluated(SESSION, 1, 1.5, 0.25, 0, 9),
            Evaluated(SESSION, 2, None, None, 0, 9),
            Evaluated(SESSION, 3, None, None, 1, 9),
            Evaluated(SESSION, 4, 0.5, 2.0, 2, 9),
        ]
    assert [path.name for path in tmp_path.iterdir()] == [sl.path.name]  # nothing is left behind


def test_every_merged_model_of_one_exchange_is_loaded_and_evaluated(tmp_path: Any, join: Join) -> None:
    count = itertools.count(1)
    with FakeSL(tmp_path, merges=2, merges_at_close=3, merge=lambda arrays: plus(next(count))(dict(arrays))) as sl:
        mine = array_model()
        callback = join.arrays(sl, model=mine)
        callback.on_train_begin()
        assert mine["n"] == 2
        callback.on_train_end()
        assert mine["n"] == 2 + 5  # each merge here starts from what was handed over
        assert [m.sequence for m in sl.of(Evaluated)] == [1, 1, 2, 2, 2]


def test_a_training_logs_its_merges_its_waiting_and_its_end(
    tmp_path: Any, join: Join, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_seconds = itertools.count()
    monkeypatch.setattr("swarmlearning.client.pace.monotonic", lambda: next(half_seconds) / 2)

    def answers(message: FromML) -> list[Reply] | None:
        if isinstance(message, Sync) and message.sequence == 2:
            return [Waiting("waiting for 1 of 3 peers (site-b) since 12:00:00"), *sl.usual(message)]
        return None

    with FakeSL(tmp_path, intervals=[2, 3], answers=answers) as sl:
        callback = join.arrays(sl, totalEpochs=1, model=array_model())
        log.lines.clear()
        callback.on_train_begin()
        callback.on_batch_end(logs={"size": 32})
        callback.on_batch_end(logs={"size": 32})
        callback.on_train_end()
    assert log.lines == [
        ("INFO", "Starting Swarm merging round ..."),
        ("INFO", "Merge Done: RVInt [cur: 4 Nxt: 2]"),
        ("INFO", "Starting Swarm merging round ..."),
        ("INFO", "waiting for 1 of 3 peers (site-b) since 12:00:00"),
        ("INFO", "Merge Done: RVInt [cur: 2 Nxt: 3]"),
        ("INFO", "Local training: epoch 1 of 1, 64 samples/s"),
        ("INFO", "Finished local training !!!"),
        ("INFO", "Swarm training may continue till trainings in min peers are done!"),
        ("INFO", "Final merging starts at training end. Waiting for other peers to complete ..."),
        ("INFO", "All peers and Swarm training rounds finished. Final Swarm model was loaded."),
    ]


def test_a_training_without_a_merge_between_its_batches_logs_a_warning(tmp_path: Any, join: Join, log: Log) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, syncFrequency=3, totalEpochs=1, model=array_model())
        callback.on_train_begin()
        callback.on_batch_end()
        callback.on_train_end()
    assert log.texts("WARNING") == ["No user merge done during swarm training. syncFrequency=3 may be high."]


def test_the_next_model_is_written_over_a_spare_file(tmp_path: Any, join: Join) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, syncFrequency=1, model=array_model(1))
        spare = tmp_path / SPARE_FILE
        spare.write_bytes(b"x" * 10_000)  # longer than the model
        with spare.open("rb") as same:
            callback.on_train_begin()
            assert not spare.exists()
            content = same.read()
            assert array_model(1)["w"].tobytes() in content
            assert b"x" * 100 not in content
        callback.on_batch_end()  # without a spare
    assert [arrays["w"].tolist() for arrays in sl.models] == [array_model(1)["w"].tolist()] * 2
