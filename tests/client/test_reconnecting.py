"""The SL node goes away and comes back: the training process goes on as if nothing had happened."""

import itertools
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.callbacks import ArrayCallback, Join, Log
from support.fake_sl import HANG_UP, Answers, FakeSL, Reply, plus
from swarmlearning.channel.messages import Close, Evaluated, Failed, FromML, Open, Progress, Sync
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.pace import Pace
from swarmlearning.client.session import Evaluation, Session
from swarmlearning.tensors import file as tensor_file
from swarmlearning.tensors.file import Tensor

OPEN = Open(
    training_contract="contract",
    sync_frequency=1,
    min_peers=1,
    merge_method="mean",
    checkin_model_on_train_end="snapshot",
    node_weightage=1,
    use_adaptive_sync=False,
    total_epochs=0,
    ml_platform="PLAIN",
    structure=(),
)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARM_RECONNECT_SECONDS", "60")


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is reported after every batch."""
    monkeypatch.setattr("swarmlearning.client.session.PROGRESS_INTERVAL", 0.0)


def model(value: float = 0.0) -> dict[str, Any]:
    return {"w": np.full(6, value, np.float32)}


def once(kind: type[Any], *replies: Reply) -> Answers:
    """These replies to the first message of that kind; the usual ones to all others."""
    left = iter([list(replies)])
    return lambda message: next(left, None) if isinstance(message, kind) else None


@pytest.mark.parametrize("kind", [Open, Sync, Evaluated, Close])
def test_the_request_that_an_sl_left_unanswered_is_repeated_byte_for_byte(
    tmp_path: Path, join: Join, log: Log, kind: type[Any]
) -> None:
    with FakeSL(tmp_path, merge=plus(1), merges=2, returns=1, answers=once(kind, HANG_UP)) as sl:
        callback = join.arrays(sl, syncFrequency=1, model=model(3))
        callback.on_train_begin()
        callback.model["w"] *= 10
        callback.on_train_end()
        sl.wait_until_left()
        assert len(sl.of(Open)) == 2
        # a merged model that was loaded before the SL went away is not what is handed over again
        assert {tuple(arrays["w"]) for arrays in sl.models} == {(3,) * 6, (40,) * 6}
        assert (callback.model["w"] == 41).all()
        assert [path.name for path in tmp_path.iterdir()] == [sl.path.name]
    logged = [text for text in log.texts("INFO") if text.startswith("The SL node")]
    assert logged == [
        "The SL node went away (it closed the connection). Waiting at most 60 s for its return",
        "The SL node is back",
    ]


def test_a_training_survives_any_number_of_restarts_of_its_sl(tmp_path: Path, join: Join) -> None:
    goings = itertools.count(1)

    def answers(message: FromML) -> list[Reply] | None:
        return [HANG_UP] if isinstance(message, Sync) and next(goings) % 4 else None

    with FakeSL(tmp_path, merge=plus(1), returns=6, answers=answers) as sl:
        callback = join.arrays(sl, syncFrequency=1, model=model())
        callback.on_train_begin()
        callback.on_batch_end()
        callback.on_train_end()
        assert len(sl.of(Open)) == 7
        assert (callback.model["w"] == 3).all()


def test_training_does_not_wait_for_an_sl_that_restarts_between_two_requests(
    tmp_path: Path, join: Join, log: Log, eager: None
) -> None:
    with FakeSL(tmp_path, returns=1, answers=once(Progress, HANG_UP)) as sl:
        callback = join.arrays(sl, syncFrequency=1_000_000, model=model())
        callback.on_train_begin()
        while len(sl.of(Progress)) < 2:  # the second reaches the SL that came back
            callback.on_batch_end()
        assert len(sl.of(Open)) == 2
        assert log.texts("INFO")[-1].startswith("Merge Done")  # nothing was waited for
        callback.on_train_end()


def test_a_reopened_session_names_the_merged_model_that_it_trains_from(tmp_path: Path, join: Join) -> None:
    """Not one that it has only loaded: an exchange without an answer begins again with what it has trained."""
    goings = {2: Sync, 3: Evaluated}  # at the second sync, and in its repetition

    def answers(message: FromML) -> list[Reply] | None:
        return [HANG_UP] if isinstance(message, goings.get(len(sl.of(type(message))), ())) else None

    with FakeSL(tmp_path, returns=2, answers=answers) as sl:
        callback = join.arrays(sl, syncFrequency=1, model=model())
        for step in (callback.on_train_begin, callback.on_batch_end, callback.on_batch_end):
            step()
        assert [message.holds for message in sl.of(Open)] == ["", "merged-0", "merged-1"]
        callback.on_train_end()


class Slow(ArrayCallback):
    """Comes to loading a merged model only once the SL node has gone away."""

    sl: FakeSL

    def _accept(self, path: Path) -> Evaluation:
        assert self.sl.hung_up.wait(60)
        return super()._accept(path)


def test_a_merged_model_that_was_lost_with_the_sl_is_requested_again(tmp_path: Path, join: Join) -> None:
    """A restarted SL node removes the files it finds."""

    def answers(message: FromML) -> list[Reply] | None:
        if not isinstance(message, Sync) or len(sl.of(Sync)) > 1:
            return None
        replies = list(sl.usual(message))
        sl.merged_path.unlink()
        return [*replies, HANG_UP]

    with FakeSL(tmp_path, returns=1, answers=answers) as sl:
        callback = join(sl, Slow, model=model(3))
        callback.sl = sl
        callback.on_train_begin()
        assert len(sl.of(Sync)) == 2
        callback.on_train_end()


def test_parameters_written_while_the_sl_restarts_are_sent_to_the_new_one(
    tmp_path: Path, eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It removes the files it finds, and it is missed between two requests."""
    waited_for = threading.Event()

    def answers(message: FromML) -> list[Reply] | None:
        if not isinstance(message, Progress):
            return None
        sl.leave()
        assert waited_for.wait(60)
        return [HANG_UP]

    with FakeSL(tmp_path, merge=plus(1), returns=1, answers=answers) as sl:
        session = Session(sl.path, OPEN, lambda text: waited_for.set(), reconnect_seconds=60)
        pace = Pace(total_epochs=0)
        while session._connection is not None:
            session.progress(pace)
        tensors = {"w": Tensor.of(model(3)["w"], "w")}
        assert session.sync(tensors, lambda path: Evaluation(None, None, 0, 0)) == (1, False)
        session.kill(True, "the test has ended")
    assert [tuple(arrays["w"]) for arrays in sl.models] == [(3,) * 6]


def test_an_sl_that_is_started_after_its_script_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "channel.sock"
    with pytest.raises(SwarmError, match="no SL node answers"):
        Session(path, OPEN, print)
    with ExitStack() as started:
        sls: list[FakeSL] = []

        def start() -> None:
            if not sls:
                sls.append(started.enter_context(FakeSL(tmp_path)))

        Session(path, OPEN, print, on_idle=start, start_seconds=60).kill(True, "the test has ended")
        assert sls


def test_a_parameter_file_that_is_removed_while_it_is_written_is_written_again(
    tmp_path: Path, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An SL node that comes back removes the files it finds, unfinished ones too."""
    write, removed = tensor_file.write, list[Path]()

    def write_and_lose(path: Path, tensors: Any) -> None:
        write(path, tensors)
        if not removed:
            removed.append(path)
            path.unlink()

    with FakeSL(tmp_path, merge=plus(1)) as sl:
        callback = join.arrays(sl, syncFrequency=1, model=model(3))
        monkeypatch.setattr("swarmlearning.client.handover.tensor_file.write", write_and_lose)
        callback.on_train_begin()
        monkeypatch.undo()
        callback.on_train_end()
    assert len(removed) == 1
    assert [tuple(arrays["w"]) for arrays in sl.models] == [(3,) * 6, (4,) * 6]


def test_an_sl_that_stays_away_is_given_up_with_an_error(
    tmp_path: Path, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARM_RECONNECT_SECONDS", "0.2")

    def answers(message: FromML) -> list[Reply] | None:
        if not isinstance(message, Sync):
            return None
        sl.path.unlink()
        return [HANG_UP]

    with FakeSL(tmp_path, answers=answers) as sl:
        callback = join.arrays(sl, model=model())
        with pytest.raises(SwarmError, match=r"the SL node at .* went away: it closed the connection\. Its log"):
            callback.on_train_begin()


def test_an_sl_that_dies_again_and_again_before_it_opens_the_session_is_given_up(
    tmp_path: Path, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWARM_RECONNECT_SECONDS", "0.3")
    opened = itertools.count()

    def answers(message: FromML) -> list[Reply] | None:
        return [HANG_UP] if isinstance(message, Sync) or (isinstance(message, Open) and next(opened)) else None

    with FakeSL(tmp_path, returns=1000, answers=answers) as sl:
        callback = join.arrays(sl, model=model())
        with pytest.raises(SwarmError, match="went away"):
            callback.on_train_begin()


def test_an_error_that_a_restarted_sl_sends_is_raised(tmp_path: Path, join: Join) -> None:
    opened = itertools.count()

    def answers(message: FromML) -> list[Reply] | None:
        if isinstance(message, Sync):
            return [HANG_UP]
        return [Failed("training is over")] if isinstance(message, Open) and next(opened) else None

    with FakeSL(tmp_path, returns=1, answers=answers) as sl:
        callback = join.arrays(sl, model=model())
        with pytest.raises(SwarmError, match="SL error: training is over"):
            callback.on_train_begin()


@pytest.mark.parametrize("given", ["soon", "-1", "nan", "inf"])
def test_swarm_reconnect_seconds_has_to_be_a_number_of_seconds(
    tmp_path: Path, join: Join, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("SWARM_RECONNECT_SECONDS", given)
    with (
        FakeSL(tmp_path) as sl,
        pytest.raises(SwarmError, match=f"SWARM_RECONNECT_SECONDS has to be .* it is '{given}'"),
    ):
        join.arrays(sl, model=model())
