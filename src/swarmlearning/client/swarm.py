"""The base class and names that callbacks for other platforms, written for the original product, are made from.

Such a class calls `SwarmCallbackBase.__init__` with its keyword arguments as a dict, sets up its platform in
`_verifyAndSetPlatformContext`, joins with `_swarmInitialize`, and has its hooks call `_swarmOnTrainBegin` and so on. It
writes `_saveModelWeightsToDict`, `_loadModelWeightsFromDict` and, for monitoring, `_calculateLocalLossAndMetrics`. New
classes have less to write with `swarmlearning.client.base`: see `docs/extending.md`.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NoReturn

import msgspec

from swarmlearning.client import base
from swarmlearning.client.arrays import tensor_of
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.parameters import COMMON_KEYWORDS, DEFAULT_CONTRACT, OTHER_SPELLINGS
from swarmlearning.tensors.file import Array, Tensor

__all__ = [
    "MAX_PEERS",
    "NUMBER_OF_NODES",
    "CheckinModel",
    "HFMode",
    "SLMergeMethod",
    "SLPlatforms",
    "SwarmCallbackBase",
    "SwarmError",
]

NUMBER_OF_NODES = 1
MAX_PEERS = 0

CheckinModel = IntEnum("CheckinModel", ["inactive", "active", "snapshot"])
SLPlatforms = IntEnum("SLPlatforms", ["TF", "KERAS", "PYTORCH", "HF_TRANSFORMER", "SKLEARN"])
SLMergeMethod = IntEnum("SLMergeMethod", ["mean", "coordmedian", "geomedian"])
HFMode = IntEnum("HFMode", ["full", "peft"])

UNDERSTOOD = (COMMON_KEYWORDS | OTHER_SPELLINGS.keys()) - {"ml_platform", "mlPlatform"}


class SwarmCallbackBase(base.SwarmCallbackBase):
    """The original's base class, by the names of its methods; the life cycle is that of `client.base`.

    Keyword arguments that it does not know are the subclass's own; so is the check of the platform.
    """

    ml_platforms = ("OTHER",)

    def __init__(
        self,
        syncFrequency: Any = None,
        minPeers: Any = None,
        trainingContract: Any = DEFAULT_CONTRACT,
        params: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> None:
        given = {**(params or {}), **keywords}
        common = {name: value for name, value in given.items() if name in UNDERSTOOD}
        options = self._configure(syncFrequency, minPeers, trainingContract, common)
        self.mlPlatform: Any = None
        self.hfMode = options.get("hfMode")
        self.valData = options.get("adsValData")
        self.valBatchSize = options.get("adsValBatchSize")
        unpacked: tuple[Any, ...] = (None,) * 5
        if self.valData is not None:
            unpacked = self._getValidationDataForAdaptiveSync(self.valData, self.valBatchSize)
        self.valGen, self.validationSteps, self.valX, self.valY, self.valSampleWeight = unpacked

    # --- what a subclass calls

    def _swarmInitialize(self) -> None:
        if self.mlPlatform is not None:
            name = getattr(self.mlPlatform, "name", str(self.mlPlatform))
            self._parameters = msgspec.structs.replace(self._parameters, ml_platform=name)
        self._join()

    def _swarmOnTrainBegin(self) -> None:
        base.SwarmCallbackBase.on_train_begin(self)

    def _swarmOnBatchEnd(self) -> None:
        base.SwarmCallbackBase.on_batch_end(self)

    def _swarmOnEpochEnd(self) -> None:
        base.SwarmCallbackBase.on_epoch_end(self)

    def _swarmOnTrainEnd(self) -> None:
        base.SwarmCallbackBase.on_train_end(self)

    def _logAndRaiseError(self, message: str) -> NoReturn:
        raise SwarmError(message)  # and no line in the log: an error is reported once

    @property
    def isSwarmTrainingOver(self) -> bool:
        """As `training_over`."""
        return self.training_over

    @property
    def stepsBeforeNextSync(self) -> int:
        """Batches until the next sync."""
        return self._interval - self._since_sync

    @property
    def userMergeDone(self) -> bool:
        """True if there was a merge after the one at the beginning."""
        return self._merged_while_training

    # --- what a subclass writes

    def _verifyAndSetPlatformContext(self, params: Mapping[str, Any]) -> None:
        raise NotImplementedError("a subclass checks its platform in _verifyAndSetPlatformContext")

    def _getValidationDataForAdaptiveSync(self, valData: Any, valBatchSize: Any) -> tuple[Any, ...]:
        """Generator, steps, x, y and sample weights, each None where it is not used."""
        return None, None, None, None, None

    def _saveModelWeightsToDict(self) -> Mapping[str, Any]:
        raise NotImplementedError("a subclass returns its parameters in _saveModelWeightsToDict")

    def _loadModelWeightsFromDict(self, inDict: dict[str, Array]) -> None:
        raise NotImplementedError("a subclass loads merged parameters in _loadModelWeightsFromDict")

    def _calculateLocalLossAndMetrics(self) -> tuple[Any, Any]:
        return self._calculateLocalLoss(), 0

    def _calculateLocalLoss(self) -> Any:
        return 0

    # --- the life cycle's own names for it

    def _prepare(self, options: Mapping[str, Any]) -> None:
        """Does nothing: a subclass does this in its constructor."""

    def _model_tensors(self) -> dict[str, Tensor]:
        return {name: tensor_of(value, name) for name, value in self._saveModelWeightsToDict().items()}

    def _load_tensors(self, arrays: Mapping[str, Array]) -> None:
        self._loadModelWeightsFromDict({name: array.copy() for name, array in arrays.items()})

    def _evaluate(self) -> tuple[float | None, float | None]:
        loss, metric = (float(value) for value in self._calculateLocalLossAndMetrics())
        if self.valData is None and not loss and not metric:  # how the original's classes report that there is none
            return None, None
        return loss, metric
