"""Loss and metric of a Keras model on validation data, without a trace in the training."""

import types
from dataclasses import dataclass
from itertools import islice
from typing import Any

import keras

from swarmlearning.client.errors import SwarmError
from swarmlearning.client.parameters import positive

MOST_BATCHES = 10_000  # of a generator, which is read once and kept; one with more is considered endless


@dataclass(frozen=True)
class Validation:
    """Validation data, as arguments of `model.evaluate`."""

    data: Any
    batch_size: int | None

    @classmethod
    def of(cls, data: Any, batch_size: Any) -> "Validation | None":
        """Makes them from the documented keyword arguments; None without data. Raises `SwarmError`."""
        if data is None:
            return None
        size = None
        if batch_size is not None:
            size = positive(batch_size, "adsValBatchSize has to be a positive integer")
        if isinstance(data, tuple) and not 2 <= len(data) <= 3:
            raise SwarmError(f"adsValData has {len(data)} parts. It has to be (x, y) or (x, y, sample_weight)")
        if isinstance(data, types.GeneratorType):
            batches = list(islice(data, MOST_BATCHES + 1))
            if not 0 < len(batches) <= MOST_BATCHES:
                raise SwarmError(f"adsValData has to generate 1 to {MOST_BATCHES} batches; it generated {len(batches)}")
            return cls(_Batches(batches), None)
        return cls(data, size)

    def evaluate(self, model: Any) -> tuple[float | None, float | None]:
        """Returns the loss that the model was compiled with, and its first metric; None where there is none."""
        # Evaluating begins by resetting the metrics, which hold those of the epoch that is being trained.
        kept = [(variable, variable.numpy()) for variable in model.metrics_variables]
        try:
            scores = dict(self._scores(model))
        finally:
            for variable, value in kept:
                variable.assign(value)
        loss = scores.pop("loss", None)
        return loss, next(iter(scores.values()), None)

    def _scores(self, model: Any) -> Any:
        if isinstance(self.data, tuple):
            x, y, weights = (*self.data, None)[:3]
            return model.evaluate(x, y, batch_size=self.batch_size, sample_weight=weights, verbose=0, return_dict=True)
        return model.evaluate(self.data, verbose=0, return_dict=True)


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Any where Keras is missing
    """The batches of a generator, to be read as often as needed."""

    def __init__(self, batches: list[Any]) -> None:
        super().__init__()
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Any:
        return self._batches[index]
