"""Parameters that cannot be handed over, and merged models that cannot be loaded, leave the model as it was."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.callbacks import Join, Log, array_model
from support.fake_sl import HANG_UP, SESSION, Arrays, FakeSL, Reply, replying
from swarmlearning.channel.messages import Evaluated, EvaluationFailed, Failed, FromML, Merged, Open, Sync
from swarmlearning.client.errors import SwarmError

SYNC = "the merge failed: "
WENT_AWAY = "went away: it closed the connection"


def test_a_full_disk_harms_neither_model_nor_session(
    tmp_path: Path, join: Join, largest_file: Callable[[int], AbstractContextManager[None]]
) -> None:
    with FakeSL(tmp_path, merge=lambda arrays: {"w": arrays["w"] + 1, "n": arrays["n"]}) as sl:
        callback = join.arrays(sl, syncFrequency=1, model=array_model(3, shape=100_000))
        callback.on_train_begin()
        with largest_file(50_000), pytest.raises(SwarmError) as caught:
            callback.on_batch_end()
        assert f"cannot write the parameters to {tmp_path}/trained-" in str(caught.value)
        assert "File too large" in str(caught.value)
        assert (callback.model["w"] == 4).all()
        assert [path.name for path in tmp_path.iterdir()] == [sl.path.name]
        callback.on_batch_end()  # there is room again: the sync that is overdue
        assert (callback.model["w"] == 5).all()
        assert len(sl.of(Sync)) == 2
        callback.on_train_end()


def test_a_channel_directory_that_was_removed_is_named_in_the_error(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path / "channel") as sl:
        callback = join.arrays(sl, model=array_model())
        sl.path.unlink()
        sl.path.parent.rmdir()
        with pytest.raises(SwarmError, match=r"cannot write the parameters to .*channel/trained-.*No such file"):
            callback.on_train_begin()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda model: model.update(extra=np.zeros(1)), "'extra' is extra"),
        (lambda model: model.pop("n"), "'n' is missing"),
        (lambda model: model.update(w=np.zeros(7, np.float32)), "'w' has shape [7], expected [6]"),
        (lambda model: model.update(w=np.zeros(6, np.float64)), "'w' has dtype F64, expected F32"),
    ],
)
def test_a_model_whose_structure_changed_during_training_is_an_error_that_names_the_change(
    tmp_path: Path, join: Join, change: Callable[[dict[str, Any]], Any], text: str
) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, syncFrequency=1, model=array_model())
        callback.on_train_begin()
        change(callback.model)
        with pytest.raises(SwarmError) as caught:
            callback.on_batch_end()
        assert str(caught.value).startswith(f"{SYNC}the model changed after the callback was made: {text}. ")
        assert "run one batch through it before" in str(caught.value)


def without_n(arrays: Arrays) -> Arrays:
    return {"w": arrays["w"]}


@pytest.mark.parametrize(
    ("merge", "text"),
    [
        (without_n, "it does not fit the model: 'n' is missing"),
        (lambda arrays: {**arrays, "w": arrays["w"][:5]}, "'w' has shape [5], expected [6]"),
        (lambda arrays: {**arrays, "n": arrays["n"].reshape(1)}, "'n' has shape [1], expected []"),
    ],
)
def test_a_merged_model_that_does_not_fit_is_not_loaded(
    tmp_path: Path, join: Join, log: Log, merge: Callable[[Arrays], Arrays], text: str
) -> None:
    with FakeSL(tmp_path, merge=merge) as sl:
        callback = join.arrays(sl, model=array_model(3))
        with pytest.raises(SwarmError) as caught:
            callback.on_train_begin()
        sl.wait_until_left()
        assert text in str(caught.value)
        assert log.texts("ERROR") == []  # raised: not reported a second time
        [failed] = sl.of(EvaluationFailed)
        assert text in failed.message
        assert (failed.session, failed.sequence) == (SESSION, 1)
        assert sl.of(Evaluated) == []
        assert (callback.model["w"] == 3).all()


def test_a_merged_model_of_another_dtype_is_not_loaded(tmp_path: Path, join: Join) -> None:
    def answers(message: FromML) -> list[Reply] | None:
        if not isinstance(message, Sync):
            return None
        entries = (entry._replace(dtype="I32") if entry.name == "w" else entry for entry in sl.headers[-1].entries)
        sl.headers[-1] = replace(sl.headers[-1], entries=tuple(entries))
        return list(sl.usual(message))

    with FakeSL(tmp_path, answers=answers) as sl:
        callback = join.arrays(sl, model=array_model(3))
        with pytest.raises(SwarmError, match="'w' has dtype I32, expected F32"):
            callback.on_train_begin()
        assert (callback.model["w"] == 3).all()


def spoil(path: Path, how: str) -> None:
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "garbage":
        path.write_bytes(b"\xff" * 100)
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["cut", "empty", "garbage", "gone"])
def test_a_damaged_merged_model_is_not_loaded(tmp_path: Path, join: Join, how: str) -> None:
    def answers(message: FromML) -> list[Reply] | None:
        if not isinstance(message, Sync):
            return None
        replies = list(sl.usual(message))
        spoil(sl.merged_path, how)
        return replies

    with FakeSL(tmp_path, answers=answers) as sl:
        callback = join.arrays(sl, model=array_model(3))
        with pytest.raises(SwarmError, match=r"merged model merged\.safetensors could not be loaded and evaluated: "):
            callback.on_train_begin()
        sl.wait_until_left()
        assert len(sl.of(EvaluationFailed)) == 1
        assert (callback.model["w"] == 3).all()


@pytest.mark.parametrize("name", ["../merged.safetensors", "/etc/passwd", "", ".", "a/b", "a\0b"])
def test_a_merged_models_name_that_leads_out_of_the_directory_is_refused(tmp_path: Path, join: Join, name: str) -> None:
    with FakeSL(tmp_path, answers=replying(Sync, Merged(SESSION, 1, name))) as sl:
        callback = join.arrays(sl, model=array_model())
        with pytest.raises(SwarmError, match="a name that is not plain: "):
            callback.on_train_begin()


def test_an_exception_of_the_evaluation_is_raised_and_sent_to_the_sl(tmp_path: Path, join: Join) -> None:
    def evaluate(model: Any) -> tuple[float, float]:
        raise ZeroDivisionError("no samples")

    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, model=array_model(), evaluate=evaluate)
        with pytest.raises(
            SwarmError, match="could not be loaded and evaluated: on the validation data, ZeroDivisionError: no samples"
        ) as caught:
            callback.on_train_begin()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)  # with the traceback of the user's code
        sl.wait_until_left()
        error = "SwarmError: on the validation data, ZeroDivisionError: no samples"
        assert sl.of(EvaluationFailed) == [EvaluationFailed(SESSION, 1, error)]


@pytest.mark.parametrize("loss", ["low", np.zeros(2)])
def test_a_loss_that_is_not_a_number_is_refused(tmp_path: Path, join: Join, loss: Any) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, model=array_model(), evaluate=lambda model: (loss, None))
        with pytest.raises(SwarmError, match="could not be loaded and evaluated"):
            callback.on_train_begin()
        sl.wait_until_left()
        assert len(sl.of(EvaluationFailed)) == 1


@pytest.mark.parametrize(("sent", "text"), [([], WENT_AWAY), ([Failed("disk full")], "SL error: disk full")])
def test_an_sl_that_ends_during_the_evaluation_is_an_error(
    tmp_path: Path, join: Join, sent: list[Reply], text: str
) -> None:
    def answers(message: FromML) -> list[Reply] | None:
        return [*sl.usual(message), *sent, HANG_UP] if isinstance(message, Sync) else None

    def evaluate(model: Any) -> tuple[None, None]:
        sl.wait_until_left()
        return None, None

    with FakeSL(tmp_path, answers=answers) as sl:
        callback = join.arrays(sl, model=array_model(), evaluate=evaluate)
        with pytest.raises(SwarmError, match=text):
            callback.on_train_begin()


def test_an_interrupt_ends_the_session_and_the_log_explains_how_to_continue(
    tmp_path: Path, join: Join, log: Log
) -> None:
    def evaluate(model: Any) -> tuple[None, None]:
        raise KeyboardInterrupt

    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, model=array_model(), evaluate=evaluate)
        with pytest.raises(KeyboardInterrupt):
            callback.on_train_begin()
        sl.wait_until_left()
        assert sl.of(EvaluationFailed) == []
        assert "Make a new SwarmCallback to continue" in log.texts("INFO")[-1]
        with pytest.raises(SwarmError, match="this training session is over: it was interrupted in the middle of an"):
            callback.on_train_begin()


def test_a_new_callback_continues_the_training_after_an_interrupt(tmp_path: Path, join: Join) -> None:
    interrupts = iter([True])

    def evaluate(model: Any) -> tuple[None, None]:
        if next(interrupts, False):
            raise KeyboardInterrupt
        return None, None

    with FakeSL(tmp_path, returns=1, keeps=True) as sl:
        with pytest.raises(KeyboardInterrupt):
            join.arrays(sl, model=array_model(), evaluate=evaluate).on_train_begin()
        again = join.arrays(sl, model=array_model(), evaluate=evaluate)
        again.on_train_begin()
        again.on_train_end()
        assert len(sl.of(Open)) == 2
