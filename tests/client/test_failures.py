"""A session that cannot be opened, a request that fails, an SL that leaves: one clear error, and nobody waits on."""

import itertools
import threading
from pathlib import Path

import pytest

from support.callbacks import ArrayCallback, Join, Log, array_model
from support.fake_sl import HANG_UP, SESSION, FakeSL, Reply, replying
from swarmlearning.channel.messages import Close, Closed, Failed, FromML, Merged, Open, Opened, Progress, Sync, Synced
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.session import Session

INIT = "the swarm session cannot be opened: "
SYNC = "the merge failed: "
END = "training could not end with the swarm's model: "
WENT_AWAY = "went away: it closed the connection"
LOG = (
    "Its log has the reason: under `swarm run` in the run folder (runs/latest), otherwise where `swarm sl` was started"
)


def test_without_a_channel_the_error_explains_how_to_start_a_script(monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    monkeypatch.delenv("SWARM_CHANNEL", raising=False)
    monkeypatch.delenv("SWARM_LOOPBACK", raising=False)
    with pytest.raises(SwarmError) as caught:
        ArrayCallback(1, 2, model=array_model(), logger=log.logger)
    for part in (
        "SWARM_CHANNEL is not set",
        "`swarm run -n N -- python train.py`",
        "`swarm sl ... -- python train.py`",
        "SWARM_LOOPBACK=True",
    ):
        assert part in str(caught.value)
    assert str(caught.value).startswith(INIT)
    assert log.texts("ERROR") == []  # raised: not reported a second time


def test_a_channel_at_which_no_sl_answers_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.delenv("SWARM_LOOPBACK", raising=False)
    monkeypatch.setenv("SWARM_CHANNEL", str(tmp_path / "nobody.sock"))
    with pytest.raises(SwarmError, match=r"no SL node answers at SWARM_CHANNEL=.*nobody\.sock: .*No such file"):
        ArrayCallback(1, 2, model=array_model(), logger=log.logger)


def test_a_callback_made_after_the_sl_has_ended_is_an_error_that_explains_it(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join.arrays(sl, model=array_model())
        callback.on_train_begin()
        callback.on_train_end()
    with pytest.raises(SwarmError, match=r"the SL node at SWARM_CHANNEL=.* has ended\. .*do all epochs in it"):
        join.arrays(sl, model=array_model())


def test_a_training_works_over_a_channel_with_a_very_long_path(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path / ("a" * 100) / ("b" * 100)) as sl:
        callback = join.arrays(sl, model=array_model())
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
def test_a_session_that_cannot_be_opened_raises_the_reason_once(
    tmp_path: Path, join: Join, log: Log, replies: tuple[Reply, ...], text: str
) -> None:
    with FakeSL(tmp_path, answers=replying(Open, *replies)) as sl:
        with pytest.raises(SwarmError) as caught:
            join.arrays(sl, model=array_model())
        assert text in str(caught.value)
        assert str(caught.value).startswith(INIT)
        assert log.texts("ERROR") == []  # raised: not reported a second time
        sl.wait_until_left()


def test_an_error_at_the_end_of_the_training_is_raised_once(tmp_path: Path, join: Join, log: Log) -> None:
    with FakeSL(tmp_path, answers=replying(Close, Failed("the disk is full"))) as sl:
        callback = join.arrays(sl, model=array_model())
        callback.on_train_begin()
        with pytest.raises(SwarmError) as caught:
            callback.on_train_end()
    assert str(caught.value) == f"{END}SL error: the disk is full"
    assert log.texts("ERROR") == []  # raised: not reported a second time


def test_a_model_without_parameters_is_refused(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path) as sl, pytest.raises(SwarmError, match="the model has no parameters to merge"):
        join.arrays(sl, model={})


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
        ((Synced(SESSION, 1, 0, False),), "set the next sync after 0 batches"),
    ],
    ids=str,
)
def test_a_sync_that_fails_ends_the_session_and_leaves_the_model_unchanged(
    tmp_path: Path, join: Join, log: Log, replies: tuple[Reply, ...], text: str
) -> None:
    with FakeSL(tmp_path, answers=replying(Sync, *replies)) as sl:
        callback = join.arrays(sl, syncFrequency=1, model=array_model(3))
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


def test_when_the_sl_dies_the_error_names_the_log_to_read(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path, answers=replying(Sync, HANG_UP)) as sl:
        callback = join.arrays(sl, model=array_model())
        with pytest.raises(SwarmError) as caught:
            callback.on_train_begin()
        assert str(caught.value) == f"{SYNC}the SL node at {sl.path} {WENT_AWAY}. {LOG}"


def test_the_error_that_an_sl_sent_before_it_ended_is_raised_at_the_next_batch(
    tmp_path: Path, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmlearning.client.session.monotonic", itertools.count(0, 2).__next__)
    with FakeSL(tmp_path, answers=replying(Progress, Failed("the chain is broken at block 7"), HANG_UP)) as sl:
        callback = join.arrays(sl, syncFrequency=3, model=array_model())
        callback.on_train_begin()
        callback.on_batch_end()
        sl.wait_until_left()
        with pytest.raises(SwarmError, match="SL error: the chain is broken at block 7"):
            callback.on_batch_end()  # long before the next sync


def test_without_reconnecting_a_script_notices_the_end_of_its_sl_although_no_sync_is_due(
    tmp_path: Path, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmlearning.client.session.monotonic", itertools.count(0, 2).__next__)
    monkeypatch.setenv("SWARM_RECONNECT_SECONDS", "0")
    with FakeSL(tmp_path, answers=replying(Progress, HANG_UP)) as sl:
        callback = join.arrays(sl, syncFrequency=1_000_000, model=array_model())
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
        callback = join.arrays(sl, syncFrequency=1_000_000, model=array_model())
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
