"""The exchanges of a client of the original with the bridge: all that is refused, and failures of either side."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from support.bridging import Loading, Stand, beside, model, opened
from support.fake_sl import HANG_UP, Arrays, FakeSL, Reply
from support.original_client import TYPES, SwarmError, data, number, text
from swarmlearning.channel.messages import (
    EvaluationFailed,
    Failed,
    FromML,
    Kill,
    Open,
    Sync,
)


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
        with pytest.raises(SwarmError, match="the SL node has ended this session; its log has the reason"):
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
