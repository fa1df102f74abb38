"""`Swarm`: nested parameters of any array library go out, and come back in new containers of the same kind."""

from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from support.callbacks import Log
from support.fake_sl import HANG_UP, FakeSL, Reply, plus
from swarmlearning import Swarm, SwarmError
from swarmlearning.channel.messages import Close, Evaluated, FromML, Kill, Open, OuterOptimizer, Sync


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SWARM_LOOPBACK", raising=False)
    monkeypatch.setenv("SWARM_RECONNECT_SECONDS", "0")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the address of the SL node."""
    return lambda sl: monkeypatch.setenv("SWARM_CHANNEL", str(sl.path))


class Layer(NamedTuple):
    weights: Any
    bias: Any


def nested() -> dict[Any, Any]:
    return {
        "layers": [Layer(np.ones((2, 3), np.float32), None), Layer(np.zeros(3, np.float16), np.float64(1))],
        "named": OrderedDict(b=np.array(5), a=np.ones(2, ">f4")),
        "pair": (1.5, 2),
        3: np.array([True, False]),
    }


def test_nested_parameters_keep_their_containers_names_and_dtypes(tmp_path: Path, at: Any, log: Log) -> None:
    given = nested()
    with FakeSL(tmp_path) as sl:
        at(sl)
        with Swarm(given, sync_frequency=1, min_peers=2, logger=log.logger) as swarm:
            merged = swarm.parameters
        [opened] = sl.of(Open)
    assert {spec.name: (spec.dtype, spec.shape) for spec in opened.structure} == {
        "layers.0.weights": ("F32", (2, 3)),
        "layers.1.weights": ("F16", (3,)),
        "layers.1.bias": ("F64", ()),
        "named.a": ("F32", (2,)),
        "named.b": ("I64", ()),
        "pair.0": ("F64", ()),
        "pair.1": ("I64", ()),
        "3": ("BOOL", (2,)),
    }
    assert merged is not given
    assert [type(part) for part in merged.values()] == [list, OrderedDict, tuple, np.ndarray]
    first, second = merged["layers"]
    assert (type(first), first.bias, type(second.bias), second.weights.dtype) == (Layer, None, np.float64, np.float16)
    assert first.weights is not given["layers"][0].weights
    assert np.array_equal(first.weights, given["layers"][0].weights)
    assert list(merged["named"]) == ["b", "a"]
    assert merged["named"]["a"].dtype == np.dtype(">f4")
    assert merged["named"]["a"].tolist() == [1, 1]
    assert [type(number) for number in merged["pair"]] == [float, int]
    assert merged["pair"] == (1.5, 2)
    assert merged[3].tolist() == [True, False]


def test_an_outer_optimizer_is_stated_with_the_check_in_mode_that_goes_with_it(
    tmp_path: Path, at: Any, log: Log
) -> None:
    with FakeSL(tmp_path) as sl:
        at(sl)
        with Swarm(
            [np.zeros(2)],
            sync_frequency=200,
            min_peers=1,
            outer_optimizer="nesterov",
            outer_learning_rate=0.5,
            logger=log.logger,
        ):
            pass
        [opened] = sl.of(Open)
    assert opened.outer == OuterOptimizer("nesterov", "0.5", "0.9")
    assert opened.checkin_model_on_train_end == "inactive"


def test_step_returns_the_parameters_to_continue_from(tmp_path: Path, at: Any, log: Log) -> None:
    with FakeSL(tmp_path, merge=plus(10)) as sl:
        at(sl)
        seen = []
        with Swarm(
            np.zeros(2),
            sync_frequency=2,
            min_peers=1,
            total_epochs=3,
            node_weightage=4,
            training_samples=50,
            logger=log.logger,
        ) as swarm:
            parameters = swarm.parameters
            for _ in range(3):
                given = parameters + 1
                parameters = swarm.step(given)
                seen.append((float(parameters[0]), parameters is given))
            swarm.end_epoch()
        assert seen == [(11, True), (22, False), (23, True)]
        assert swarm.parameters.tolist() == [33, 33]
        assert [list(model) for model in sl.models] == [["parameters"]] * 3
        assert [message.epochs for message in sl.of(Evaluated)] == [0, 0, 1]
        [opened] = sl.of(Open)
        assert (opened.sync_frequency, opened.min_peers, opened.total_epochs, opened.node_weightage) == (2, 1, 3, 4)
        assert opened.training_samples == 50
        assert (opened.ml_platform, opened.training_contract) == ("PLAIN", "defaultbb.cqdb.sml.hpe")


@pytest.mark.parametrize(
    ("result", "expected"), [(0.5, (0.5, None)), ((np.float32(2), 0.25), (2.0, 0.25)), ((None, 1), (None, 1.0))]
)
def test_evaluate_is_called_with_the_merged_parameters(
    tmp_path: Path, at: Any, log: Log, result: Any, expected: Any
) -> None:
    seen: list[float] = []

    def evaluate(parameters: list[Any]) -> Any:
        seen.append(float(parameters[0]))
        return result

    with FakeSL(tmp_path, merge=plus(10)) as sl:
        at(sl)
        with Swarm(
            [0.0], sync_frequency=1, min_peers=1, evaluate=evaluate, use_adaptive_sync=True, logger=log.logger
        ) as swarm:
            swarm.step([1.0])
        assert [(message.loss, message.metric) for message in sl.of(Evaluated)] == [expected] * 3
        assert sl.of(Open)[0].use_adaptive_sync
    assert seen == [10, 11, 21]


def test_an_evaluate_function_that_returns_no_number_is_an_error(tmp_path: Path, at: Any, log: Log) -> None:
    def words(_: Any) -> Any:
        return "good"

    with FakeSL(tmp_path) as sl:
        at(sl)
        with (
            pytest.raises(SwarmError, match=r"evaluate has to return a number or two; it returned a str"),
            Swarm([0.0], sync_frequency=1, min_peers=1, evaluate=words, logger=log.logger),
        ):
            pass


def test_an_exception_in_the_loop_leaves_the_swarm_without_a_last_merge(tmp_path: Path, at: Any, log: Log) -> None:
    with FakeSL(tmp_path) as sl:
        at(sl)
        with (
            pytest.raises(ZeroDivisionError),
            Swarm([0.0], sync_frequency=1, min_peers=1, logger=log.logger) as swarm,
        ):
            swarm.step([1 / 0])
        sl.wait_until_left()
        assert sl.received[-1] == Kill("session-1", False, "ZeroDivisionError: division by zero")
        assert sl.of(Close) == []


def test_an_error_of_an_exchange_is_raised_and_not_logged_as_well(tmp_path: Path, at: Any, log: Log) -> None:
    def answers(message: FromML) -> list[Reply] | None:
        return [HANG_UP] if isinstance(message, Sync) and message.sequence == 2 else None

    with FakeSL(tmp_path, answers=answers) as sl:
        at(sl)
        with (
            pytest.raises(SwarmError, match="went away"),
            Swarm([0.0], sync_frequency=1, min_peers=1, logger=log.logger) as swarm,
        ):
            swarm.step([1.0])
    assert log.texts("ERROR") == []
    assert len(log.texts("WARNING")) == 0


def test_the_loop_can_end_when_swarm_training_is_over(tmp_path: Path, at: Any, log: Log) -> None:
    with FakeSL(tmp_path, over_at=2, merge=plus(10)) as sl:
        at(sl)
        steps = 0
        with Swarm([0.0], sync_frequency=1, min_peers=1, logger=log.logger) as swarm:
            while not swarm.training_over:
                swarm.step(swarm.parameters)
                steps += 1
        assert steps == 1
    assert swarm.parameters == [20.0]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"parameters": {"a": "text"}}, "model entry 'a' of type str cannot be merged: .*dtype <U4 cannot be stored"),
    ({"parameters": {"a": object()}}, "model entry 'a' of type object cannot be merged"),
    ({"parameters": {"a.b": 1.0, "a": {"b": 2.0}}}, "two of the parameters have the name 'a.b'; use keys without dots"),
    ({"parameters": {}}, "the model has no parameters to merge"),
    ({"use_adaptive_sync": True}, "use_adaptive_sync needs evaluate"),
    ({"sync_frequency": 0}, "syncFrequency has to be a positive integer"),
    ({"merge_method": "average"}, "Invalid value mergeMethod: average"),
]


@pytest.mark.parametrize(("keywords", "text"), WRONG, ids=[text for _, text in WRONG])
def test_invalid_arguments_of_swarm_are_refused(
    tmp_path: Path, at: Any, log: Log, keywords: dict[str, Any], text: str
) -> None:
    arguments: dict[str, Any] = {"parameters": [0.0], "sync_frequency": 1, "min_peers": 1, "logger": log.logger}
    with FakeSL(tmp_path) as sl:
        at(sl)
        with pytest.raises(SwarmError, match=text):
            Swarm(**arguments | keywords)


@pytest.mark.usefixtures("loopback")
def test_the_same_loop_runs_without_a_swarm_and_evaluates_nothing(log: Log) -> None:
    def evaluate(_: float) -> float:
        raise AssertionError("nothing is evaluated")

    with Swarm(1.0, sync_frequency=1, min_peers=2, evaluate=evaluate, logger=log.logger) as swarm:
        assert swarm.step(swarm.parameters + 1) == 2.0
        swarm.end_epoch()
    assert swarm.parameters == 2.0
    with (
        pytest.raises(ZeroDivisionError),
        Swarm(1.0, sync_frequency=1, min_peers=2, logger=log.logger) as swarm,
    ):
        swarm.step(1 / 0)


@pytest.mark.usefixtures("loopback")
@pytest.mark.parametrize("method", ["step", "end_epoch"])
def test_a_session_that_is_used_outside_of_its_block_is_refused_with_what_to_write(method: str, log: Log) -> None:
    swarm = Swarm(1.0, sync_frequency=1, min_peers=2, logger=log.logger)
    with pytest.raises(SwarmError, match=rf"^{method}\(\) was called outside the block of `with Swarm"):
        swarm.step(2.0) if method == "step" else swarm.end_epoch()
