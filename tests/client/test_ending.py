"""The end of a training: what the last merge gets, what the model holds afterwards, and what is reported."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from support.callbacks import Join, Log, array_model, run_alone
from support.fake_sl import SESSION, FakeSL, Reply, plus
from swarmlearning.channel.messages import Close, FromML, Kill, Sync, Synced
from swarmlearning.client.errors import SwarmError


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
def test_the_check_in_mode_decides_which_parameters_the_last_merge_gets(
    tmp_path: Any, join: Join, mode: str, batches: int, sent: int
) -> None:
    with FakeSL(tmp_path, merge=plus(10)) as sl:
        mine = array_model(1)
        callback = join.arrays(sl, syncFrequency=2, checkinModelOnTrainEnd=mode, model=mine)
        callback.on_train_begin()
        for _ in range(batches):
            mine["w"] += 1
            callback.on_batch_end()
        callback.on_train_end()
        assert len(sl.of(Close)) == 1
        assert {float(x) for x in sl.models[-1]["w"].flat} == {sent}
        assert mine["w"][0] == sent + 10  # whatever was sent, the final model is loaded


@pytest.mark.parametrize(
    ("mode", "merges", "warned"), [("snapshot", 3, 1), ("snapshot", 9, 1), ("snapshot", 2, 0), ("inactive", 9, 0)]
)
def test_a_site_whose_last_parameters_count_in_later_merges_is_warned_once(
    tmp_path: Any, join: Join, log: Log, mode: str, merges: int, warned: int
) -> None:
    with FakeSL(tmp_path, merges_at_close=merges) as sl:
        callback = join.arrays(sl, syncFrequency=1, checkinModelOnTrainEnd=mode, model=array_model(), totalEpochs=1)
        callback.on_train_begin()
        callback.on_batch_end()
        callback.on_train_end()
    texts = log.texts("WARNING")
    assert len(texts) == warned
    assert all("still count in each of their merges" in text and "'inactive'" in text for text in texts)


def test_when_the_swarm_ends_first_later_batches_are_not_merged_and_the_last_merged_model_is_loaded(
    tmp_path: Any, join: Join, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count()
    monkeypatch.setattr("swarmlearning.client.pace.monotonic", lambda: float(next(seconds)))
    with FakeSL(tmp_path, over_at=2, merge=plus(10)) as sl:
        mine = array_model(1)
        callback = join.arrays(sl, syncFrequency=2, totalEpochs=1, model=mine)
        callback.on_train_begin()
        assert not callback.training_over
        log.lines.clear()
        for batch in range(1, 8):
            mine["w"] += 1
            callback.on_batch_end()
            assert callback.training_over is (batch >= 2)
        assert len(sl.of(Sync)) == 2
        assert mine["w"][0] == 23 + 5
        callback.on_train_end()
        assert mine["w"][0] == 23  # the last merged model, not what was trained since
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
        mine = array_model(1)
        callback = join.arrays(sl, syncFrequency=1, model=mine)
        callback.on_train_begin()
        mine["w"] += 1
        callback.on_batch_end()
        sl.wait_until_left()
        callback.on_train_end()
        assert mine["w"][0] == 11
    assert any("the SL node was not informed that training ended here" in text for text in log.texts("WARNING"))
    assert log.texts("ERROR") == []


def test_closing_without_another_merge_loads_the_last_merged_model(tmp_path: Any, join: Join) -> None:
    with FakeSL(tmp_path, merge=plus(10), merges_at_close=0) as sl:
        mine = array_model(1)
        callback = join.arrays(sl, model=mine)
        callback.on_train_begin()
        mine["w"] += 1
        callback.on_batch_end()
        callback.on_train_end()
        assert mine["w"][0] == 11


def test_the_last_merged_model_is_loaded_at_the_end_although_no_batch_followed_it(tmp_path: Any, join: Join) -> None:
    """Between the last batch and the end, trainers restore the best model they have seen."""
    with FakeSL(tmp_path, merge=plus(10), merges_at_close=0) as sl:
        mine = array_model()
        callback = join.arrays(sl, syncFrequency=1, model=mine)
        callback.on_train_begin()
        callback.on_batch_end()
        mine["w"][...] = 5
        callback.on_train_end()
    assert (mine["w"] == 20).all()


@pytest.mark.parametrize("over_at", [None, 1])
def test_a_training_in_which_nothing_was_merged_ends_with_an_error(
    tmp_path: Any, join: Join, log: Log, over_at: int | None
) -> None:
    with FakeSL(tmp_path, merges=0, merges_at_close=0, over_at=over_at) as sl:
        callback = join.arrays(sl, model=array_model())
        callback.on_train_begin()
        with pytest.raises(SwarmError, match=r"training could not end .* never sent a merged model"):
            callback.on_train_end()
    assert not any("Final Swarm model was loaded" in text for text in log.texts("INFO"))


def test_a_callback_cannot_be_used_after_the_end_of_its_training(tmp_path: Any, join: Join) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, syncFrequency=1, model=array_model())
        callback.on_train_begin()
        callback.on_train_end()
        for hook in (callback.on_train_begin, callback.on_batch_end, callback.on_train_end):
            with pytest.raises(SwarmError, match="serve one training: do all epochs in it, or restart the script"):
                hook()


@pytest.mark.parametrize("hook", ["on_batch_end", "on_train_end"])
def test_a_hook_called_before_on_train_begin_is_an_error_that_names_it(tmp_path: Any, join: Join, hook: str) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, model=array_model())
        with pytest.raises(SwarmError, match=rf"{hook}\(\) was called before on_train_begin\(\)"):
            getattr(callback, hook)()


@pytest.mark.parametrize("calls_it", [True, False])
def test_a_script_that_does_not_call_on_train_end_prints_one_warning(tmp_path: Path, calls_it: bool) -> None:
    """Once: neither a process forked from it nor the end of the callback in a function prints another."""
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
    warning = " : WARNING : on_train_end() was not called: the swarm considers this site's training interrupted"
    assert run.stdout.count(warning) == (0 if calls_it else 1)
    assert run.stderr == ""
