"""Every way an exchange can fail ends in one clear error, and leaves the model and the SL as they should be."""

import itertools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.callbacks import ArrayCallback, Join, Log
from support.fake_sl import HANG_UP, SESSION, Arrays, FakeSL, Reply
from swarmlearning.channel.messages import (
    Close,
    Closed,
    Evaluated,
    EvaluationFailed,
    Failed,
    FromML,
    Merged,
    Open,
    Opened,
    Progress,
    Sync,
    Synced,
)
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.session import Session

Answers = Callable[[FromML], list[Reply] | None]

INIT = "the swarm session cannot be opened: "
SYNC = "the merge failed: "
END = "training could not end with the swarm's model: "
WENT_AWAY = "went away: it closed the connection"
LOG = "Its log says why: under `swarm run` in the run folder (runs/latest), otherwise where `swarm sl` was started"


def model(value: float = 0.0, size: int = 6) -> dict[str, Any]:
    return {"w": np.full(size, value, np.float32), "n": np.array(0, np.int64)}


def to(kind: type[Any], *replies: Reply) -> Answers:
    """These replies to messages of that kind; the usual ones to the others."""
    return lambda message: list(replies) if isinstance(message, kind) else None


# --- opening


def test_without_a_channel_the_error_says_how_to_start(monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    monkeypatch.delenv("SWARM_CHANNEL", raising=False)
    monkeypatch.delenv("SWARM_LOOPBACK", raising=False)
    with pytest.raises(SwarmError) as caught:
        ArrayCallback(1, 2, model=model(), logger=log.logger)
    for part in (
        "SWARM_CHANNEL is not set",
        "`swarm run -n N -- python train.py`",
        "`swarm sl ... -- python train.py`",
        "SWARM_LOOPBACK=True",
    ):
        assert part in str(caught.value)
    assert str(caught.value).startswith(INIT)
    assert log.texts("ERROR") == []  # raised: not reported a second time


def test_nobody_at_the_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    monkeypatch.delenv("SWARM_LOOPBACK", raising=False)
    monkeypatch.setenv("SWARM_CHANNEL", str(tmp_path / "nobody.sock"))
    with pytest.raises(SwarmError, match=r"no SL node answers at SWARM_CHANNEL=.*nobody\.sock: .*No such file"):
        ArrayCallback(1, 2, model=model(), logger=log.logger)


def test_an_sl_that_has_ended_serves_no_second_callback(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, model=model())
        callback.on_train_begin()
        callback.on_train_end()
    with pytest.raises(SwarmError, match=r"the SL node at SWARM_CHANNEL=.* has ended\. .*do all epochs in it"):
        join.arrays(sl, model=model())


def test_a_channel_in_a_long_directory(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path / ("a" * 100) / ("b" * 100)) as sl:
        callback = join.arrays(sl, model=model())
        callback.on_train_begin()
        callback.on_train_end()


@pytest.mark.parametrize(
    ("replies", "text"),
    [
        ((Failed("method is 'mean', the contract's is 'geomedian'"),), "SL error: method is 'mean', the contract's is"),
        ((HANG_UP,), WENT_AWAY),
        ((Synced(SESSION, 0, 1, False),), "the SL node sent Synced, not Opened"),
        ((Merged(SESSION, 0, "m.safetensors"),), "the SL node sent Merged, not Opened"),
        ((Opened("../../etc"),), "a name that is not plain: '../../etc'"),
        ((b"\0\0\0\5hello",), "does not follow the protocol: not a message of local channel version 1"),
        ((b"\xff\xff\xff\xff",), "does not follow the protocol: frame of 4294967295 bytes"),
        ((b'\0\0\0\x12{"type":"Unheard"}', HANG_UP), "does not follow the protocol: not a message"),
        ((b"\0\0\0\5he", HANG_UP), WENT_AWAY),
    ],
    ids=str,
)
def test_a_session_that_cannot_be_opened(
    tmp_path: Path, join: Join, log: Log, replies: tuple[Reply, ...], text: str
) -> None:
    with FakeSL(tmp_path, answers=to(Open, *replies)) as sl:
        with pytest.raises(SwarmError) as caught:
            join.arrays(sl, model=model())
        assert text in str(caught.value)
        assert str(caught.value).startswith(INIT)
        assert log.texts("ERROR") == []  # raised: not reported a second time
        sl.wait_until_left()


def test_an_end_that_fails(tmp_path: Path, join: Join, log: Log) -> None:
    with FakeSL(tmp_path, answers=to(Close, Failed("the disk is full"))) as sl:
        callback = join.arrays(sl, model=model())
        callback.on_train_begin()
        with pytest.raises(SwarmError) as caught:
            callback.on_train_end()
    assert str(caught.value) == f"{END}SL error: the disk is full"
    assert log.texts("ERROR") == []  # raised: not reported a second time


def test_a_model_without_parameters(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path) as sl, pytest.raises(SwarmError, match="the model has no parameters to merge"):
        join.arrays(sl, model={})


# --- a sync


@pytest.mark.parametrize(
    ("replies", "text"),
    [
        ((Failed("below minPeers for good"),), "SL error: below minPeers for good"),
        ((HANG_UP,), WENT_AWAY),
        ((Opened(SESSION),), "the SL node sent Opened, not Synced"),
        ((Closed(SESSION, 1),), "the SL node sent Closed, not Synced"),
        ((Synced(SESSION, 2, 1, False),), "answered request 2 of session session-1; this is request 1 of session"),
        ((Synced("other", 1, 1, False),), "answered request 1 of session other; this is"),
        ((Merged(SESSION, 7, "m.safetensors"),), "answered request 7 of session"),
        ((Synced(SESSION, 1, 0, False),), "asked for the next sync after 0 batches"),
    ],
    ids=str,
)
def test_a_sync_that_fails(tmp_path: Path, join: Join, log: Log, replies: tuple[Reply, ...], text: str) -> None:
    with FakeSL(tmp_path, answers=to(Sync, *replies)) as sl:
        callback = join.arrays(sl, syncFrequency=1, model=model(3))
        with pytest.raises(SwarmError) as caught:
            callback.on_train_begin()
        assert text in str(caught.value)
        assert str(caught.value).startswith(SYNC)
        assert log.texts("ERROR") == []  # raised: not reported a second time
        sl.wait_until_left()  # the SL is not left waiting for a process that gave up
        with pytest.raises(SwarmError, match=r"this training session is over: .*") as again:
            callback.on_batch_end()
        assert text in str(again.value)
        assert (callback.model["w"] == 3).all()


def test_the_sl_dies_and_the_error_says_where_to_look(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path, answers=to(Sync, HANG_UP)) as sl:
        callback = join.arrays(sl, model=model())
        with pytest.raises(SwarmError) as caught:
            callback.on_train_begin()
        assert str(caught.value) == f"{SYNC}the SL node at {sl.path} {WENT_AWAY}. {LOG}"


def test_what_the_sl_said_before_it_left_is_what_the_user_reads(
    tmp_path: Path, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmlearning.client.session.monotonic", itertools.count(0, 2).__next__)
    with FakeSL(tmp_path, answers=to(Progress, Failed("the chain is broken at block 7"), HANG_UP)) as sl:
        callback = join.arrays(sl, syncFrequency=3, model=model())
        callback.on_train_begin()
        callback.on_batch_end()
        sl.wait_until_left()
        with pytest.raises(SwarmError, match="SL error: the chain is broken at block 7"):
            callback.on_batch_end()  # long before the next sync


def test_a_script_that_waits_for_no_other_sl_ends_soon_after_its_own_although_no_sync_is_due(
    tmp_path: Path, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmlearning.client.session.monotonic", itertools.count(0, 2).__next__)
    monkeypatch.setenv("SWARM_RECONNECT_SECONDS", "0")
    with FakeSL(tmp_path, answers=to(Progress, HANG_UP)) as sl:
        callback = join.arrays(sl, syncFrequency=1_000_000, model=model())
        callback.on_train_begin()
        callback.on_batch_end()
        sl.wait_until_left()
        with pytest.raises(
            SwarmError, match=r"training cannot go on in the swarm: the SL node .* went away: .*Its log"
        ):
            callback.on_batch_end()
        with pytest.raises(SwarmError, match=r"this training session is over: the SL node at .* went away"):
            callback.on_train_end()


def test_an_sl_that_stops_reading_ends_training_with_an_error(
    tmp_path: Path, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmlearning.client.session.monotonic", itertools.count(0, 2).__next__)
    monkeypatch.setattr("swarmlearning.client.connection.SEND_TIMEOUT", 0.05)
    deaf = threading.Event()

    def answers(message: FromML) -> list[Reply] | None:
        if isinstance(message, Progress):
            deaf.wait(100)
        return None

    with FakeSL(tmp_path, answers=answers) as sl:
        callback = join.arrays(sl, syncFrequency=1_000_000, model=model())
        callback.on_train_begin()
        assert isinstance(callback._session, Session)
        with pytest.raises(SwarmError, match="progress could not be reported: timed out"):
            train_on(callback)
        with pytest.raises(SwarmError, match="progress could not be reported: timed out"):
            callback.on_train_end()
        deaf.set()


def train_on(callback: ArrayCallback) -> None:
    for _ in range(100_000):
        callback.on_batch_end()


# --- handing over


def test_a_full_disk_harms_neither_model_nor_session(
    tmp_path: Path, join: Join, largest_file: Callable[[int], AbstractContextManager[None]]
) -> None:
    with FakeSL(tmp_path, merge=lambda arrays: {"w": arrays["w"] + 1, "n": arrays["n"]}) as sl:
        callback = join.arrays(sl, syncFrequency=1, model=model(3, size=100_000))
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


def test_a_directory_that_is_gone(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path / "channel") as sl:
        callback = join.arrays(sl, model=model())
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
def test_a_model_that_changed_under_way(
    tmp_path: Path, join: Join, change: Callable[[dict[str, Any]], Any], text: str
) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, syncFrequency=1, model=model())
        callback.on_train_begin()
        change(callback.model)
        with pytest.raises(SwarmError) as caught:
            callback.on_batch_end()
        assert f"{SYNC}the model changed after the callback was made: {text}" == str(caught.value)


# --- the merged model


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
        callback = join.arrays(sl, model=model(3))
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


def test_a_merged_model_of_another_dtype(tmp_path: Path, join: Join) -> None:
    def answers(message: FromML) -> list[Reply] | None:
        if not isinstance(message, Sync):
            return None
        entries = (entry._replace(dtype="I32") if entry.name == "w" else entry for entry in sl.headers[-1].entries)
        sl.headers[-1] = replace(sl.headers[-1], entries=tuple(entries))
        return list(sl.usual(message))

    with FakeSL(tmp_path, answers=answers) as sl:
        callback = join.arrays(sl, model=model(3))
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
        callback = join.arrays(sl, model=model(3))
        with pytest.raises(SwarmError, match=r"merged model merged\.safetensors could not be loaded and evaluated: "):
            callback.on_train_begin()
        sl.wait_until_left()
        assert len(sl.of(EvaluationFailed)) == 1
        assert (callback.model["w"] == 3).all()


@pytest.mark.parametrize("name", ["../merged.safetensors", "/etc/passwd", "", ".", "a/b", "a\0b"])
def test_names_that_lead_out_of_the_directory(tmp_path: Path, join: Join, name: str) -> None:
    with FakeSL(tmp_path, answers=to(Sync, Merged(SESSION, 1, name))) as sl:
        callback = join.arrays(sl, model=model())
        with pytest.raises(SwarmError, match="a name that is not plain: "):
            callback.on_train_begin()


def test_an_evaluation_that_raises(tmp_path: Path, join: Join) -> None:
    def evaluate(model: Any) -> tuple[float, float]:
        raise ZeroDivisionError("no samples")

    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, model=model(), evaluate=evaluate)
        with pytest.raises(
            SwarmError, match="could not be loaded and evaluated: on the validation data, ZeroDivisionError: no samples"
        ) as caught:
            callback.on_train_begin()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)  # with the traceback of the user's code
        sl.wait_until_left()
        told = "SwarmError: on the validation data, ZeroDivisionError: no samples"
        assert sl.of(EvaluationFailed) == [EvaluationFailed(SESSION, 1, told)]


@pytest.mark.parametrize("loss", ["low", np.zeros(2)])
def test_a_loss_that_is_no_number(tmp_path: Path, join: Join, loss: Any) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, model=model(), evaluate=lambda model: (loss, None))
        with pytest.raises(SwarmError, match="could not be loaded and evaluated"):
            callback.on_train_begin()
        sl.wait_until_left()
        assert len(sl.of(EvaluationFailed)) == 1


@pytest.mark.parametrize(("said", "text"), [([], WENT_AWAY), ([Failed("disk full")], "SL error: disk full")])
def test_the_sl_leaves_during_the_evaluation(tmp_path: Path, join: Join, said: list[Reply], text: str) -> None:
    def answers(message: FromML) -> list[Reply] | None:
        return [*sl.usual(message), *said, HANG_UP] if isinstance(message, Sync) else None

    def evaluate(model: Any) -> tuple[None, None]:
        sl.wait_until_left()
        return None, None

    with FakeSL(tmp_path, answers=answers) as sl:
        callback = join.arrays(sl, model=model(), evaluate=evaluate)
        with pytest.raises(SwarmError, match=text):
            callback.on_train_begin()


def test_an_interrupt_ends_the_session_and_the_log_says_how_to_go_on(tmp_path: Path, join: Join, log: Log) -> None:
    def evaluate(model: Any) -> tuple[None, None]:
        raise KeyboardInterrupt

    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, model=model(), evaluate=evaluate)
        with pytest.raises(KeyboardInterrupt):
            callback.on_train_begin()
        sl.wait_until_left()
        assert sl.of(EvaluationFailed) == []
        assert "Make a new SwarmCallback to train on" in log.texts("INFO")[-1]
        with pytest.raises(SwarmError, match="this training session is over: it was interrupted in the middle of an"):
            callback.on_train_begin()


def test_a_new_callback_goes_on_after_an_interrupt(tmp_path: Path, join: Join) -> None:
    interrupts = iter([True])

    def evaluate(model: Any) -> tuple[None, None]:
        if next(interrupts, False):
            raise KeyboardInterrupt
        return None, None

    with FakeSL(tmp_path, returns=1, keeps=True) as sl:
        with pytest.raises(KeyboardInterrupt):
            join.arrays(sl, model=model(), evaluate=evaluate).on_train_begin()
        again = join.arrays(sl, model=model(), evaluate=evaluate)
        again.on_train_begin()
        again.on_train_end()
        assert len(sl.of(Open)) == 2
