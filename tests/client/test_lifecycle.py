"""What the hooks do, when, with what: the base class against a fake SL."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.callbacks import ArrayCallback, Join, Log
from support.fake_sl import SESSION, Arrays, FakeSL, Reply
from swarmlearning.channel.messages import (
    SPARE,
    Close,
    Evaluated,
    FromML,
    Kill,
    Open,
    Progress,
    Sync,
    Synced,
    TensorSpec,
    Waiting,
)
from swarmlearning.client.errors import SwarmError


def model(value: float = 0.0) -> dict[str, Any]:
    return {"w": np.full((2, 3), value, np.float32), "steps": np.array(0, np.int64)}


def plus(number: float) -> Callable[[Arrays], Arrays]:
    """A merge after which every entry is larger by `number`."""
    return lambda arrays: {name: array + array.dtype.type(number) for name, array in arrays.items()}


def run_alone(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script in a Python of its own, which has to end well."""
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
        env={"PYTHONPATH": ":".join(sys.path), **environment},
    )


# --- when a sync happens


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
def test_syncs_come_after_every_so_many_batches(
    tmp_path: Any, join: Join, frequency: int, intervals: list[int], expected: list[int]
) -> None:
    with FakeSL(tmp_path, intervals=intervals) as sl:
        callback = join.arrays(sl, syncFrequency=frequency, model=model())
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


def test_hooks_take_what_training_loops_give_them(tmp_path: Any, join: Join) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, syncFrequency=2, model=model())
        callback.on_train_begin({})
        callback.on_batch_end(0, {"loss": 1.0})
        callback.on_batch_end(batch=1, logs=None)
        callback.on_epoch_end(0)
        callback.on_epoch_end(epoch=1, logs={})
        callback.on_train_end(logs={})
        assert [message.epochs for message in sl.of(Evaluated)] == [0, 0, 2]


def test_progress_is_reported_once_a_second_at_most(tmp_path: Any, join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((50.0, 50.4, 50.99, 51.0, 51.5, 52.2, 52.3, 53.2, 53.3))
    monkeypatch.setattr("swarmlearning.client.session.monotonic", lambda: next(times))
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, syncFrequency=100, model=model())
        callback.on_train_begin()
        for _ in range(6):
            callback.on_batch_end()
        callback.on_epoch_end()
        for _ in range(3):
            callback.on_batch_end()
        callback.on_train_end()  # by its answer all earlier messages have been read
        assert [(said.steps, said.epochs) for said in sl.of(Progress)] == [(1, 0), (4, 0), (6, 0), (8, 1)]
        assert all(said.batches_per_second > 0 for said in sl.of(Progress))


# --- what is said


def test_what_the_session_is_opened_with(tmp_path: Any, join: Join) -> None:
    with FakeSL(tmp_path) as sl:
        join.arrays(
            sl,
            syncFrequency=8,
            minPeers=3,
            trainingContract="mine",
            totalEpochs=6,
            checkinModelOnTrainEnd="active",
            nodeWeightage=7,
            mergeMethod="GEOMEDIAN",
            useAdaptiveSync=True,
            adsValData=[1],
            model=model() | {"a": np.zeros(0, bool)},
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
                structure=(
                    TensorSpec("a", "BOOL", (0,)),
                    TensorSpec("steps", "I64", ()),
                    TensorSpec("w", "F32", (2, 3)),
                ),
            )
        ]


def test_parameters_go_out_and_merged_ones_come_in(tmp_path: Any, join: Join) -> None:
    losses = iter([(1.5, 0.25), (None, None), (float("nan"), float("inf")), (np.float32(0.5), 2)])
    with FakeSL(tmp_path, merge=plus(10)) as sl:
        mine = model(1)
        weights = mine["w"]
        callback = join.arrays(
            sl, syncFrequency=1, nodeWeightage=5, totalEpochs=9, model=mine, evaluate=lambda _: next(losses)
        )
        callback.on_train_begin()
        assert mine["w"].tolist() == [[11.0] * 3] * 2
        for _ in range(2):
            weights += 1  # in place: the model's own memory
            mine["steps"] += 1
            callback.on_batch_end()
            callback.on_epoch_end()
        callback.on_train_end()
        assert [float(sent["w"][0, 0]) for sent in sl.models] == [1, 12, 23, 33]
        assert [int(sent["steps"]) for sent in sl.models] == [0, 11, 22, 32]
        assert (weights == 43).all()
        assert mine["steps"] == 42
        assert [m.sequence for m in sl.of(Sync) + sl.of(Close)] == [1, 2, 3, 4]
        assert len({m.file for m in sl.of(Sync) + sl.of(Close)}) == 4
        assert sl.of(Evaluated) == [
            Evaluated(SESSION, 1, 1.5, 0.25, 0, 9),
            Evaluated(SESSION, 2, None, None, 0, 9),
            Evaluated(SESSION, 3, None, None, 1, 9),
            Evaluated(SESSION, 4, 0.5, 2.0, 2, 9),
        ]
    assert [path.name for path in tmp_path.iterdir()] == [sl.path.name]  # nothing is left behind


def test_several_merged_models_in_one_exchange(tmp_path: Any, join: Join) -> None:
    count = itertools.count(1)
    with FakeSL(tmp_path, merges=2, merges_at_close=3, merge=lambda arrays: plus(next(count))(dict(arrays))) as sl:
        mine = model()
        callback = join.arrays(sl, model=mine)
        callback.on_train_begin()
        assert mine["steps"] == 2
        callback.on_train_end()
        assert mine["steps"] == 2 + 5  # each merge here starts from what was handed over
        assert [m.sequence for m in sl.of(Evaluated)] == [1, 1, 2, 2, 2]


def test_the_log_of_a_training(tmp_path: Any, join: Join, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    half_seconds = itertools.count()
    monkeypatch.setattr("swarmlearning.client.pace.monotonic", lambda: next(half_seconds) / 2)

    def answers(message: FromML) -> list[Reply] | None:
        if isinstance(message, Sync) and message.sequence == 2:
            return [Waiting("waiting for 1 of 3 peers (site-b) since 12:00:00"), *sl.usual(message)]
        return None

    with FakeSL(tmp_path, intervals=[2, 3], answers=answers) as sl:
        callback = join.arrays(sl, totalEpochs=1, model=model())
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


def test_a_warning_when_nothing_was_merged_during_training(tmp_path: Any, join: Join, log: Log) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, syncFrequency=3, totalEpochs=1, model=model())
        callback.on_train_begin()
        callback.on_batch_end()
        callback.on_train_end()
    assert log.texts("WARNING") == ["No user merge done during swarm training. syncFrequency=3 may be high."]


# --- the end


@pytest.mark.parametrize(
    ("mode", "batches", "sent"),
    [
        # The parameters are 1, merged 11, trained 12 and 13, merged 23, trained 24.
        ("snapshot", 3, 24),
        ("active", 3, 23),
        ("inactive", 3, 24),
        ("active", 0, 11),  # the merge at the beginning
        ("active", 1, 11),
        ("snapshot", 1, 12),
    ],
)
def test_check_in_modes(tmp_path: Any, join: Join, mode: str, batches: int, sent: int) -> None:
    with FakeSL(tmp_path, merge=plus(10)) as sl:
        mine = model(1)
        callback = join.arrays(sl, syncFrequency=2, checkinModelOnTrainEnd=mode, model=mine)
        callback.on_train_begin()
        for _ in range(batches):
            mine["w"] += 1
            callback.on_batch_end()
        callback.on_train_end()
        assert len(sl.of(Close)) == 1
        assert {float(x) for x in sl.models[-1]["w"].flat} == {sent}
        assert mine["w"][0, 0] == sent + 10  # whatever was sent, the final model is loaded


@pytest.mark.parametrize(
    ("mode", "merges", "warned"), [("snapshot", 3, 1), ("snapshot", 9, 1), ("snapshot", 2, 0), ("inactive", 9, 0)]
)
def test_a_site_whose_last_parameters_go_on_counting_while_others_train_is_warned_once(
    tmp_path: Any, join: Join, log: Log, mode: str, merges: int, warned: int
) -> None:
    with FakeSL(tmp_path, merges_at_close=merges) as sl:
        callback = join.arrays(sl, syncFrequency=1, checkinModelOnTrainEnd=mode, model=model(), totalEpochs=1)
        callback.on_train_begin()
        callback.on_batch_end()
        callback.on_train_end()
    texts = log.texts("WARNING")
    assert len(texts) == warned
    assert all("go on counting in each of their merges" in text and "'inactive'" in text for text in texts)


def test_training_over(tmp_path: Any, join: Join, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count()
    monkeypatch.setattr("swarmlearning.client.pace.monotonic", lambda: float(next(seconds)))
    with FakeSL(tmp_path, over_at=2, merge=plus(10)) as sl:
        mine = model(1)
        callback = join.arrays(sl, syncFrequency=2, totalEpochs=1, model=mine)
        callback.on_train_begin()
        assert not callback.training_over
        log.lines.clear()
        for batch in range(1, 8):
            mine["w"] += 1
            callback.on_batch_end()
            assert callback.training_over is (batch >= 2)
        assert len(sl.of(Sync)) == 2
        assert mine["w"][0, 0] == 23 + 5
        callback.on_train_end()
        assert mine["w"][0, 0] == 23  # the last merged model, not what was trained since
        sl.wait_until_left()
        assert sl.received[-1] == Kill(SESSION, True, "Swarm training is over before local training. Exit gracefully.")
        assert sl.of(Close) == []
    assert log.lines == [
        ("INFO", "Starting Swarm merging round ..."),
        ("INFO", "Merge Done: RVInt [cur: 2 Nxt: 2]"),
        ("INFO", "Local training: epoch 1 of 1, 1.0 batches/s"),
        ("INFO", "Swarm training is over. The batches that follow are not merged any more"),
        ("INFO", "Finished local training !!!"),
        ("INFO", "Swarm training may continue till trainings in min peers are done!"),
        ("WARNING", "Swarm training is over before local training. Exit gracefully."),
        ("INFO", "Loading the last merged swarm model"),
        ("INFO", "Informing SL to shutdown gracefully"),
        ("INFO", "All peers and Swarm training rounds finished. Final Swarm model was loaded."),
    ]


def test_an_sl_that_has_left_after_training_was_over_is_only_a_warning(tmp_path: Any, join: Join, log: Log) -> None:
    def answers(message: FromML) -> list[Reply] | None:
        return [Synced(SESSION, 2, 1, True), None] if isinstance(message, Sync) and message.sequence == 2 else None

    with FakeSL(tmp_path, merge=plus(10), answers=answers) as sl:
        mine = model(1)
        callback = join.arrays(sl, syncFrequency=1, model=mine)
        callback.on_train_begin()
        mine["w"] += 1
        callback.on_batch_end()
        sl.wait_until_left()
        callback.on_train_end()
        assert mine["w"][0, 0] == 11
    assert any("the SL node was not told that training ended here" in text for text in log.texts("WARNING"))
    assert log.texts("ERROR") == []


def test_closing_without_another_merge_leaves_the_last_merged_model(tmp_path: Any, join: Join) -> None:
    with FakeSL(tmp_path, merge=plus(10), merges_at_close=0) as sl:
        mine = model(1)
        callback = join.arrays(sl, model=mine)
        callback.on_train_begin()
        mine["w"] += 1
        callback.on_batch_end()
        callback.on_train_end()
        assert mine["w"][0, 0] == 11


def test_without_a_merge_at_the_end_the_last_one_is_loaded_though_no_batch_came_after_it(
    tmp_path: Any, join: Join
) -> None:
    """Between the last batch and the end, trainers restore the best model they have seen."""
    with FakeSL(tmp_path, merge=plus(10), merges_at_close=0) as sl:
        mine = model()
        callback = join.arrays(sl, syncFrequency=1, model=mine)
        callback.on_train_begin()
        callback.on_batch_end()
        mine["w"][...] = 5
        callback.on_train_end()
    assert (mine["w"] == 20).all()


@pytest.mark.parametrize("over_at", [None, 1])
def test_no_success_is_claimed_where_nothing_was_ever_merged(
    tmp_path: Any, join: Join, log: Log, over_at: int | None
) -> None:
    with FakeSL(tmp_path, merges=0, merges_at_close=0, over_at=over_at) as sl:
        callback = join.arrays(sl, model=model())
        callback.on_train_begin()
        with pytest.raises(SwarmError, match=r"training could not end .* never sent a merged model"):
            callback.on_train_end()
    assert not any("Final Swarm model was loaded" in text for text in log.texts("INFO"))


def test_after_the_end_the_callback_is_used_up(tmp_path: Any, join: Join) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, syncFrequency=1, model=model())
        callback.on_train_begin()
        callback.on_train_end()
        for hook in (callback.on_train_begin, callback.on_batch_end, callback.on_train_end):
            with pytest.raises(SwarmError, match="serve one training: do all epochs in it, or start the script anew"):
                hook()


@pytest.mark.parametrize("hook", ["on_batch_end", "on_train_end"])
def test_a_loop_that_forgot_to_begin(tmp_path: Any, join: Join, hook: str) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, model=model())
        with pytest.raises(SwarmError, match=rf"{hook}\(\) was called before on_train_begin\(\)"):
            getattr(callback, hook)()


# --- without a swarm


@pytest.mark.usefixtures("loopback")
def test_loopback_needs_no_node(log: Log) -> None:
    mine = model(3)
    callback = ArrayCallback(1, 2, model=mine, logger=log.logger, totalEpochs=2)
    banner = [text for text in log.texts("INFO") if text.startswith("***")]
    assert len(banner) == 3
    assert "SWARM_LOOPBACK" in banner[1]
    assert len({len(line) for line in banner}) == 1
    log.lines.clear()
    callback.on_train_begin()
    for epoch in range(2):
        callback.on_batch_end()
        callback.on_epoch_end(epoch)
    callback.on_train_end()
    assert not callback.training_over
    assert callback._pace.epochs == 2
    assert {level for level, _ in log.lines} == {"DEBUG"}
    assert (mine["w"] == 3).all()


@pytest.mark.parametrize(
    ("value", "alone"), [("true", True), ("TRUE", True), ("1", False), ("false", False), ("", False)]
)
def test_values_of_swarm_loopback(monkeypatch: pytest.MonkeyPatch, log: Log, value: str, alone: bool) -> None:
    monkeypatch.setenv("SWARM_LOOPBACK", value)
    monkeypatch.delenv("SWARM_CHANNEL", raising=False)
    if alone:
        ArrayCallback(1, 2, model=model(), logger=log.logger)
    else:
        with pytest.raises(SwarmError, match="SWARM_CHANNEL is not set"):
            ArrayCallback(1, 2, model=model(), logger=log.logger)


# --- the logger of its own


def test_the_own_logger_prints_each_line_once_to_stdout() -> None:
    script = """
import logging, os
logging.basicConfig(level=logging.DEBUG)
os.environ["SWARM_LOOPBACK"] = "true"
from support.callbacks import ArrayCallback
for _ in range(3):
    ArrayCallback(1, 2, model={}, totalEpochs=3).logger.info("hello")
"""
    run = run_alone(script)
    hello = [line for line in run.stdout.splitlines() if line.endswith("hello")]
    assert len(hello) == 3
    stamp, *rest = hello[0].split(" : ")
    assert rest == ["SwarmCallback", "INFO", "hello"]
    assert len(stamp) == len("2025-01-01 00:00:00,000")
    assert run.stderr == ""


@pytest.mark.parametrize("calls_it", [True, False])
def test_a_script_that_does_not_call_on_train_end_is_told(tmp_path: Path, calls_it: bool) -> None:
    """Once: neither a process forked from it nor the callback's end in a function has a say of its own."""
    script = f"""
import os, sys
import numpy as np
from support.callbacks import ArrayCallback

def main():
    callback = ArrayCallback(1, 1, model={{"w": np.zeros(2)}}, totalEpochs=3)
    callback.on_train_begin()
    if child := os.fork():
        os.waitpid(child, 0)
    else:
        sys.exit()
    if {calls_it}:
        callback.on_train_end()

main()
"""
    with FakeSL(tmp_path) as sl:
        run = run_alone(script, SWARM_CHANNEL=str(sl.path))
    told = " : WARNING : on_train_end() was not called: the swarm takes this site's training for interrupted"
    assert run.stdout.count(told) == (0 if calls_it else 1)
    assert run.stderr == ""


def test_a_spare_file_takes_the_next_model(tmp_path: Any, join: Join) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, syncFrequency=1, model=model(1))
        spare = tmp_path / SPARE
        spare.write_bytes(b"x" * 10_000)  # longer than the model
        with spare.open("rb") as same:
            callback.on_train_begin()
            assert not spare.exists()
            content = same.read()
            assert model(1)["w"].tobytes() in content
            assert b"x" * 100 not in content
        callback.on_batch_end()  # without a spare
    assert [arrays["w"].tolist() for arrays in sl.models] == [model(1)["w"].tolist()] * 2
