"""The exchanges: sessions, syncs, the end, and everything that goes wrong and is told."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from support.bridging import Loading, Stand, beside, model
from support.fake_sl import HANG_UP, SESSION, Arrays, FakeSL, Reply
from support.original_client import TYPES, Client, SwarmError, data, number, text
from swarmlearning.channel.messages import (
    SPARE_FILE,
    Close,
    Closed,
    Evaluated,
    EvaluationFailed,
    Failed,
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


def opened(stand: Stand, in_message: bool = False) -> Client:
    client = stand.client(in_message)
    client.open()
    return client


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
    assert len(sl.of(Evaluated)) == 1  # the SL has not asked for it again


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


# --- what is refused


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"interval": 0}, "syncFrequency has to be a positive integer"),
        ({"peers": 0}, "minPeers have to be a positive integer"),
        ({"contract": " "}, "Invalid Training Contract"),
        ({"checkin": "sometimes"}, "Invalid value checkinModelOnTrainEnd: sometimes. Allowed values: "),
        ({"weightage": 101}, "Node weightage should be a number between 1-100. Provided value: 101"),
        ({"method": "average"}, "Invalid value mergeMethod: average. Allowed values: ['mean'"),
    ],
)
async def test_wrong_parameters_of_a_session_are_refused(
    stand: Stand, tmp_path: Path, wrong: dict[str, object], reason: str
) -> None:
    def attempt() -> None:
        client = stand.client()
        with pytest.raises(SwarmError) as caught:
            client.open(**wrong)
        assert f"SL error: {reason}" in str(caught.value)
        assert str(caught.value).endswith("(2)")  # ErrorInUser
        client.open()
        client.sync(model(), Loading())

    with FakeSL(tmp_path / "sl") as sl:
        async with stand.bridge(sl):
            await beside(attempt)


async def test_a_client_is_told_why_its_sl_cannot_keep_its_session(stand: Stand, tmp_path: Path) -> None:
    (stand.state / "session.part").mkdir(parents=True)

    def attempt() -> None:
        with pytest.raises(SwarmError, match=r"SL error: .*session.part.* \(1\)"):
            stand.client().open()

    async with stand.bridge(tmp_path / "nobody"):
        await beside(attempt)


async def test_malformed_requests_leave_the_session_as_it_is(stand: Stand, tmp_path: Path) -> None:
    def attempt() -> list[str]:
        client = opened(stand)
        told: list[str] = []

        def refused(kind: int, body: bytes) -> None:
            client.send(kind, body)
            with pytest.raises(SwarmError) as caught:
                client.receive()
            told.append(str(caught.value))

        refused(42, b"\x08\x01")
        refused(TYPES["synced"], b"\x08\x01")
        refused(TYPES["loss"], text(1, client.session))
        refused(TYPES["sync"], b"\x0a\xff")
        client.version = 1
        refused(TYPES["sync"], b"\x08\x01")
        client.version = 2
        client.sync(model(), Loading())
        return told

    with FakeSL(tmp_path / "sl") as sl:
        async with stand.bridge(sl):
            told = await beside(attempt)
    assert told == [
        "SL error: 2 unsupported message type: 42",
        "SL error: 2 unexpected message type: 7; only an SL sends it",
        "SL error: 2 a LossResponse came where nothing was to be evaluated",
        "SL error: 2 a message ends in the middle of a number, or has one that is too long",
        "SL error: 2 Mismatch in the Swarm API version between ML and SL containers. Expected version 2, but the "
        "version received from the header is 1",
    ]


async def test_a_request_of_an_unknown_session_is_refused(stand: Stand, tmp_path: Path) -> None:
    def attempt() -> None:
        client = stand.client()
        client.session = "elsewhere"
        with pytest.raises(SwarmError, match="SL error: session 'elsewhere' is not open at this SL node"):
            client.sync(model(), Loading())

    async with stand.bridge(tmp_path / "nobody"):
        await beside(attempt)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.rmdir, ("/tmp/hpe-swarm",)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (
            {"w": Harmful()},
            "the weights in trained_weights.pkl cannot be used: it refers to posix.rmdir, which no array",
        ),
        ({}, "there are no weights to merge"),
        ({"w": np.zeros(2, np.complex128)}, "tensor 'w': dtype complex128 cannot be stored"),
    ],
)
async def test_weights_that_cannot_be_used_are_refused_in_an_exchange(
    stand: Stand, tmp_path: Path, weights: Arrays, reason: str
) -> None:
    def attempt() -> None:
        client = opened(stand)
        with pytest.raises(SwarmError) as caught:
            client.sync(dict(weights), Loading())
        assert reason in str(caught.value)
        client.open()
        client.sync(model(), Loading())

    with FakeSL(tmp_path / "sl") as sl:
        async with stand.bridge(sl):
            await beside(attempt)


@pytest.mark.parametrize("kind", ["missing", "link", "pipe", "folder"])
async def test_weights_in_a_file_that_is_no_plain_file_are_refused(stand: Stand, tmp_path: Path, kind: str) -> None:
    def attempt() -> None:
        path = stand.folder / "other.pkl"
        match kind:
            case "link":
                path.symlink_to("trained_weights.pkl")
            case "pipe":
                os.mkfifo(path)
            case "folder":
                path.mkdir()
        client = opened(stand)
        client.ask("sync", b"other.pkl")
        with pytest.raises(SwarmError, match=r"SL error: .*other.pkl: "):
            client.answered("sync", Loading())

    async with stand.bridge(tmp_path / "nobody"):
        await beside(attempt)


@pytest.mark.parametrize("at", [Open, Sync])
async def test_a_refusal_of_the_swarm_ends_the_session_with_its_reason(
    stand: Stand, tmp_path: Path, at: type[FromML]
) -> None:
    def attempt() -> None:
        client = opened(stand)
        with pytest.raises(SwarmError, match=r"SL error: minPeers is 2, this session has 3 \(1\)"):
            client.sync(model(), Loading())

    def answers(message: FromML) -> Iterable[Reply] | None:
        return [Failed("minPeers is 2, this session has 3")] if isinstance(message, at) else None

    with FakeSL(tmp_path / "sl", answers=answers) as sl:
        async with stand.bridge(sl):
            await beside(attempt)


async def test_a_client_is_told_when_its_sl_does_not_answer(stand: Stand, tmp_path: Path) -> None:
    def attempt() -> None:
        with pytest.raises(SwarmError, match=r"SL error: the SL node does not answer at .*ml.sock: .* \(1\)"):
            opened(stand).sync(model(), Loading())

    (tmp_path / "sl").mkdir()
    async with stand.bridge(tmp_path / "sl" / "ml.sock"):
        await beside(attempt)


async def test_a_client_is_told_when_its_sl_ends_the_session(stand: Stand, tmp_path: Path) -> None:
    def attempt() -> None:
        with pytest.raises(SwarmError, match="the SL node has ended this session; its log says why"):
            opened(stand).sync(model(), Loading())

    with FakeSL(tmp_path / "sl", answers=lambda message: [HANG_UP] if isinstance(message, Sync) else None) as sl:
        async with stand.bridge(sl):
            await beside(attempt)


async def test_a_client_that_cannot_use_the_merged_model_ends_its_session(stand: Stand, tmp_path: Path) -> None:
    def fail(merged: Arrays) -> tuple[float, float, int, int]:
        raise ValueError("no such layer")

    def attempt() -> None:
        with pytest.raises(SwarmError, match="no such layer"):
            opened(stand).sync(model(), fail)

    with FakeSL(tmp_path / "sl", returns=1, keeps=True) as sl:
        async with stand.bridge(sl):
            await beside(attempt)
            await beside(lambda: opened(stand).sync(model(), Loading()))
    assert sl.of(EvaluationFailed)[0].message == "Loss computation failed. no such layer"


async def test_an_answer_to_another_request_is_refused(stand: Stand, tmp_path: Path) -> None:
    def attempt() -> None:
        client = opened(stand)
        client.ask("sync", client.weights(model()))
        client.receive()
        client.send(TYPES["loss"], text(1, client.session) + number(2, 1) + number(3, 9) + data(4, text(2, "OK")))
        with pytest.raises(SwarmError, match=r"a LossResponse came for another request than 1.1"):
            client.answered("sync", Loading())

    with FakeSL(tmp_path / "sl") as sl:
        async with stand.bridge(sl):
            await beside(attempt)


async def test_a_kill_without_a_session_is_ignored(stand: Stand, tmp_path: Path) -> None:
    def attempt() -> None:
        client = stand.client()
        client.kill()
        client.open()
        client.sync(model(), Loading())

    with FakeSL(tmp_path / "sl") as sl:
        async with stand.bridge(sl):
            await beside(attempt)
    assert sl.of(Kill) == []
