"""Documented names, defaults and error texts, through the constructor as users meet them."""

import logging
from typing import Any

import numpy as np
import pytest

from support.callbacks import ArrayCallback, Log
from support.documented import ADAPTIVE, of_platforms
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.parameters import Parameters, check, known

pytestmark = pytest.mark.usefixtures("loopback")


def make(log: Log, **keywords: Any) -> ArrayCallback:
    defaults = {"syncFrequency": 4, "minPeers": 2, "model": {"w": np.zeros(2)}, "logger": log.logger}
    return ArrayCallback(**defaults | keywords)


WRONG: list[tuple[dict[str, Any], str]] = [
    *of_platforms("ARRAYS", "NUMPY"),
    *(({"useAdaptiveSync": True, "adsValData": [1], "adsValBatchSize": x}, ADAPTIVE) for x in (0, -2, "all")),
]


@pytest.mark.parametrize(("keywords", "text"), WRONG, ids=str)
def test_invalid_arguments_raise_the_documented_errors(log: Log, keywords: dict[str, Any], text: str) -> None:
    with pytest.raises(SwarmError) as caught:
        make(log, **keywords)
    assert str(caught.value) == text
    assert log.texts("ERROR") == []  # raised: not reported a second time


def test_an_unknown_keyword_is_an_error_that_lists_all_known_ones(log: Log) -> None:
    known = r"Known parameters: adsValBatchSize, .*evaluate, .*minPeers, .*syncFrequency, .*trainingContract"
    with pytest.raises(SwarmError, match=rf"Unknown parameter zzz\. {known}"):
        make(log, zzz=1)


def test_a_transfer_is_no_parameter_and_the_error_says_where_it_is_laid_down(log: Log) -> None:
    with pytest.raises(
        SwarmError, match=r"Unknown parameter transfer\..*swarm contract create CONTRACT --transfer int8"
    ):
        make(log, transfer="int8")


def test_a_misspelt_required_parameter_is_an_error_that_suggests_the_right_name(log: Log) -> None:
    with pytest.raises(SwarmError, match=r"Unknown parameter sync_frequency\. Did you mean syncFrequency"):
        ArrayCallback(sync_frequency=4, minPeers=2, model={"w": np.zeros(2)}, logger=log.logger)
    with pytest.raises(SwarmError, match="minPeers have to be a positive integer"):
        ArrayCallback(4, model={"w": np.zeros(2)}, logger=log.logger)


def test_a_logger_of_the_wrong_type_is_refused(log: Log) -> None:
    with pytest.raises(SwarmError, match=r"logger has to be a logging\.Logger; it is a str"):
        make(log, logger="train.log")


def test_arguments_are_checked_in_the_documented_order(log: Log) -> None:
    wrong: dict[str, Any] = {
        "syncFrequency": 0,
        "minPeers": 0,
        "trainingContract": None,
        "totalEpochs": 0,
        "checkinModelOnTrainEnd": "x",
        "nodeWeightage": 0,
        "mergeMethod": "x",
        "useAdaptiveSync": True,
    }
    right = {
        "syncFrequency": 1,
        "minPeers": 1,
        "trainingContract": "c",
        "totalEpochs": 1,
        "checkinModelOnTrainEnd": "active",
        "nodeWeightage": 1,
        "mergeMethod": "mean",
        "useAdaptiveSync": False,
    }
    starts = ["syncF", "minP", "Invalid T", "totalE", "Invalid value ch", "Node w", "Invalid value m", "For ad"]
    for name, start in zip(wrong, starts, strict=True):
        with pytest.raises(SwarmError, match=f"^{start}"):
            make(log, **wrong)
        wrong[name] = right[name]
    make(log, **wrong)


def parameters(callback: ArrayCallback) -> dict[str, Any]:
    known = callback._parameters
    return {name: getattr(known, name) for name in known.__struct_fields__}


def test_omitted_arguments_have_the_documented_defaults(log: Log) -> None:
    assert parameters(make(log)) == {
        "sync_frequency": 4,
        "min_peers": 2,
        "training_contract": "defaultbb.cqdb.sml.hpe",
        "total_epochs": 0,
        "checkin_model_on_train_end": "snapshot",
        "node_weightage": 1,
        "merge_method": "mean",
        "use_adaptive_sync": False,
        "ml_platform": "ARRAYS",
        "training_samples": 0,
        "outer": None,
    }


def test_documented_values_of_arguments_are_accepted(log: Log) -> None:
    callback = make(
        log,
        syncFrequency="16",
        minPeers=3.0,
        trainingContract="mine",
        totalEpochs=np.int64(5),
        checkinModelOnTrainEnd="inactive",
        nodeWeightage=100,
        trainingSamples="1200",
        mergeMethod="CoordMedian",
        useAdaptiveSync=True,
        adsValData=[1],
        adsValBatch_size=8,
        mlPlatform="NUMPY",
    )
    assert parameters(callback) == {
        "sync_frequency": 16,
        "min_peers": 3,
        "training_contract": "mine",
        "total_epochs": 5,
        "checkin_model_on_train_end": "inactive",
        "node_weightage": 100,
        "merge_method": "coordmedian",
        "use_adaptive_sync": True,
        "ml_platform": "NUMPY",
        "training_samples": 1200,
        "outer": None,
    }
    assert callback.prepared["adsValBatchSize"] == 8


def test_arguments_can_be_given_by_position_as_documented(log: Log) -> None:
    callback = ArrayCallback(7, 2, "mine", model={}, logger=log.logger)
    known = parameters(callback)
    assert (known["sync_frequency"], known["min_peers"], known["training_contract"]) == (7, 2, "mine")


def test_a_missing_total_epochs_logs_a_box_of_four_lines(log: Log) -> None:
    make(log)
    box = [text for text in log.texts("INFO") if text.startswith("***")]
    assert "WARNING: totalEpochs is not given" in box[1]
    assert len(box) == 4 + 3  # and the banner of SWARM_LOOPBACK
    log.lines.clear()
    make(log, totalEpochs=5)
    assert not any("totalEpochs is not given" in text for text in log.texts("INFO"))


def test_parameters_are_logged_under_their_documented_names(log: Log) -> None:
    make(log, totalEpochs=3)
    line = next(text for text in log.texts("INFO") if text.startswith("Swarm parameters: "))
    for part in (
        "syncFrequency=4",
        "minPeers=2",
        "totalEpochs=3",
        "mergeMethod=mean",
        "mlPlatform=ARRAYS",
        "outerOptimizer=none",
    ):
        assert part in line
    log.lines.clear()
    make(log, totalEpochs=3, outerOptimizer="nesterov")
    assert any("outerOptimizer=nesterov (0.7, 0.9)" in text for text in log.texts("INFO"))


def test_hf_mode_given_to_another_platform_is_logged_as_unused(log: Log) -> None:
    make(log, hfMode="peft")
    assert any("hfMode" in text for text in log.texts("INFO"))


def test_a_maximum_number_of_peers_is_ignored_with_a_warning(log: Log) -> None:
    make(log, maxPeers=7)
    assert log.texts("WARNING") == ["maxPeers is not used: there is no limit to the number of peers"]
    make(log, maxPeers=0)  # as the original has it
    assert len(log.texts("WARNING")) == 1


def test_a_logger_adapter_is_accepted_as_a_logger(log: Log) -> None:
    make(log, logger=logging.LoggerAdapter(log.logger, {}), totalEpochs=1)
    assert log.texts("INFO")


def checked(**options: Any) -> Parameters:
    return check(8, 2, "contract", known(options, frozenset()), ("PYTORCH",))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"outerOptimizer": "nesterov"}, ("nesterov", "0.7", "0.9")),
        ({"outerOptimizer": "Adam", "outerLearningRate": 0.1}, ("adam", "0.1", "0.9")),
        ({"outerOptimizer": "nesterov", "outerLearningRate": 1.0, "outerMomentum": "0.50"}, ("nesterov", "1", "0.5")),
    ],
)
def test_an_outer_optimizer_has_decimals_and_ends_inactive(options: dict[str, Any], expected: tuple[str, ...]) -> None:
    found = checked(**options)
    assert found.outer is not None
    assert (found.outer.method, found.outer.rate, found.outer.momentum) == expected
    assert found.checkin_model_on_train_end == "inactive"
    assert checked().outer is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"outerOptimizer": "sgd"},
            r"Invalid value outerOptimizer: sgd. Allowed values: \['none', 'nesterov', 'adam'\]",
        ),
        ({"outerMomentum": 0.9}, "outerMomentum need an outerOptimizer"),
        ({"outerOptimizer": "nesterov", "outerLearningRate": 0}, "outerLearningRate has to be a decimal above 0"),
        ({"outerOptimizer": "nesterov", "outerMomentum": 1}, "outerMomentum has to be a decimal from 0 to below 1"),
        ({"outerOptimizer": "nesterov", "outerMomentum": 1e-7}, "with 6 places at most"),
        ({"outerOptimizer": "adam", "useAdaptiveSync": True, "adsValData": 1}, "Use a fixed syncFrequency"),
        ({"outerOptimizer": "adam", "checkinModelOnTrainEnd": "snapshot"}, "Use inactive or active"),
    ],
)
def test_an_outer_optimizer_that_is_not_sound_is_an_error_with_the_remedy(options: dict[str, Any], text: str) -> None:
    with pytest.raises(SwarmError, match=text):
        checked(**options)
