"""A callback written for the original product's base class works as it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.callbacks import ArrayCallback, Join, Log
from support.fake_sl import FakeSL, plus
from swarmlearning.channel.messages import Close, Evaluated, Kill, Open, Sync
from swarmlearning.client import swarm
from swarmlearning.client.swarm import SLPlatforms, SwarmCallbackBase, SwarmError


class Hook:
    """Stands for the callback class of a framework."""


class SwarmCallback(SwarmCallbackBase, Hook):
    """In the shape that such classes have. A model is a dict of arrays."""

    def __init__(self, syncFrequency: Any, minPeers: Any, trainingContract: str = "c", **kwargs: Any) -> None:
        SwarmCallbackBase.__init__(self, syncFrequency, minPeers, trainingContract, kwargs)
        self._verifyAndSetPlatformContext(kwargs)
        self._swarmInitialize()

    def on_train_begin(self, model: Any, **kwargs: Any) -> None:  # type: ignore[override]
        assert model is self.model
        self._swarmOnTrainBegin()

    def on_batch_end(self, batch: Any = None, logs: Any = None) -> None:
        self._swarmOnBatchEnd()

    def on_epoch_end(self, epoch: Any = None, logs: Any = None) -> None:
        self._swarmOnEpochEnd()

    def on_train_end(self, logs: Any = None) -> None:
        self._swarmOnTrainEnd()

    def _verifyAndSetPlatformContext(self, params: Any) -> None:
        platform = params.get("ml_platform", SLPlatforms.PYTORCH.name)
        if platform != SLPlatforms.PYTORCH.name:
            self._logAndRaiseError(f"Invalid ml platform type: {platform}")
        self.mlPlatform = SLPlatforms[platform]
        self.model = params.get("model")
        if self.model is None:
            self._logAndRaiseError("model is None")

    def _getValidationDataForAdaptiveSync(self, valData: Any, valBatchSize: Any) -> tuple[Any, ...]:
        return None, None, valData[0], valData[1], None

    def _saveModelWeightsToDict(self) -> dict[str, Any]:
        self.weightNames = list(self.model)
        return dict(self.model)

    def _loadModelWeightsFromDict(self, inDict: dict[str, Any]) -> None:
        for name in self.weightNames:
            self.model[name] = inDict[name]  # keeps what it is given, and changes it

    def _calculateLocalLossAndMetrics(self) -> tuple[Any, Any]:
        if self.valData is None:
            return 0, 0
        return np.float32(self.valX + self.valY), self.valBatchSize


def model() -> dict[str, Any]:
    return {"w": np.zeros(3, np.float32), "n": np.array(0)}


def test_a_callback_written_for_the_original_trains_from_begin_to_end(tmp_path: Path, join: Join, log: Log) -> None:
    mine = model()
    with FakeSL(tmp_path, merge=plus(10)) as sl:
        callback = join(
            sl,
            SwarmCallback,
            syncFrequency=2,
            model=mine,
            adsValData=(1, 2),
            adsValBatchSize=8,
            ownThing=5,
            totalEpochs=2,
        )
        [opened] = sl.of(Open)
        assert (opened.ml_platform, opened.training_contract, opened.total_epochs) == ("PYTORCH", "c", 2)
        assert opened.specs == [
            ("n", "I64", ()),
            ("w", "F32", (3,)),
        ]
        callback.on_train_begin(mine)
        assert (callback.stepsBeforeNextSync, callback.userMergeDone) == (2, False)
        for _ in range(3):
            mine["w"] += 1
            callback.on_batch_end()
        assert (callback.stepsBeforeNextSync, callback.userMergeDone) == (1, True)
        callback.on_epoch_end()
        callback.on_train_end()
        assert [model["w"][0] for model in sl.models] == [0, 12, 23]
        assert mine["w"].tolist() == [33] * 3
        assert sl.of(Evaluated) == [
            Evaluated("session-1", sequence, 3.0, 8.0, epochs, 2) for sequence, epochs in [(1, 0), (2, 0), (3, 1)]
        ]
        assert len(sl.of(Sync)) == 2
        assert len(sl.of(Close)) == 1
    assert log.texts("INFO")[-1] == "All peers and Swarm training rounds finished. Final Swarm model was loaded."


def test_the_merged_model_is_restored_although_a_callback_of_the_original_changes_the_arrays_it_got(
    tmp_path: Path, join: Join
) -> None:
    mine = model()
    with FakeSL(tmp_path, merge=plus(10), over_at=1) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1, model=mine)
        callback.on_train_begin(mine)
        assert callback.isSwarmTrainingOver
        mine["w"] += 1
        callback.on_batch_end()
        callback.on_train_end()
        assert mine["w"].tolist() == [10] * 3
        sl.wait_until_left()
        assert isinstance(sl.received[-1], Kill)


def test_two_zeros_from_a_callback_of_the_original_without_validation_data_are_no_loss(
    tmp_path: Path, join: Join
) -> None:
    mine = model()
    with FakeSL(tmp_path) as sl:
        join(sl, SwarmCallback, model=mine).on_train_begin(mine)
        [found] = sl.of(Evaluated)
    assert (found.loss, found.metric) == (None, None)


def test_a_callback_of_an_older_original_reports_a_loss_only(tmp_path: Path, join: Join) -> None:
    class Older(SwarmCallback):
        def _calculateLocalLossAndMetrics(self) -> tuple[Any, Any]:
            return SwarmCallbackBase._calculateLocalLossAndMetrics(self)

        def _calculateLocalLoss(self) -> float:
            return 0.5

    mine = model()
    with FakeSL(tmp_path) as sl:
        join(sl, Older, model=mine).on_train_begin(mine)
        [found] = sl.of(Evaluated)
    assert found.loss == 0.5


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"model": None}, "model is None"),
        ({"ml_platform": "MXNET"}, "Invalid ml platform type: MXNET"),
        ({"minPeers": 0}, "minPeers have to be a positive integer"),
        ({"nodeWeightage": 0}, "Node weightage should be a number between 1-100. Provided value: 0"),
    ],
)
@pytest.mark.usefixtures("loopback")
def test_an_error_of_a_callback_of_the_original_is_raised_and_not_logged_as_well(
    log: Log, keywords: dict[str, Any], text: str
) -> None:
    arguments: dict[str, Any] = {"syncFrequency": 1, "minPeers": 2, "model": model(), "logger": log.logger} | keywords
    with pytest.raises(SwarmError) as caught:
        SwarmCallback(**arguments)
    assert str(caught.value) == text
    assert log.texts("ERROR") == []


@pytest.mark.usefixtures("loopback")
def test_a_callback_of_the_original_runs_in_loopback(log: Log) -> None:
    mine = model()
    callback = SwarmCallback(1, 2, model=mine, logger=log.logger)
    callback.on_train_begin(mine)
    callback.on_batch_end()
    callback.on_epoch_end()
    callback.on_train_end()
    assert mine["w"].tolist() == [0] * 3


@pytest.mark.usefixtures("loopback")
def test_a_method_that_a_callback_of_the_original_lacks_is_named_in_the_error(log: Log) -> None:
    with pytest.raises(NotImplementedError, match="_verifyAndSetPlatformContext"):
        SwarmCallbackBase(1, 2, logger=log.logger)._verifyAndSetPlatformContext({})


def test_the_names_and_values_that_callbacks_of_the_original_use_are_unchanged() -> None:
    values = {
        kind.__name__: {member.name: member.value for member in kind}
        for kind in (swarm.CheckinModel, swarm.SLPlatforms, swarm.SLMergeMethod, swarm.HFMode)
    }
    assert values == {
        "CheckinModel": {"inactive": 1, "active": 2, "snapshot": 3},
        "SLPlatforms": {"TF": 1, "KERAS": 2, "PYTORCH": 3, "HF_TRANSFORMER": 4, "SKLEARN": 5},
        "SLMergeMethod": {"mean": 1, "coordmedian": 2, "geomedian": 3},
        "HFMode": {"full": 1, "peft": 2},
    }
    assert (swarm.NUMBER_OF_NODES, swarm.MAX_PEERS) == (1, 0)


@pytest.mark.usefixtures("loopback")
def test_a_subclass_of_another_callback_that_overrides_methods_of_the_original_is_refused(log: Log) -> None:
    class Mine(ArrayCallback):
        def _swarmOnBatchEnd(self) -> None: ...

    text = "Mine has _swarmOnBatchEnd, which nothing calls here: override on_batch_end and the other hooks"
    with pytest.raises(SwarmError, match=text):
        Mine(1, 2, model=model(), logger=log.logger)
    assert log.texts("ERROR") == []
