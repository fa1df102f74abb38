"""The loop over epochs and batches that scikit-learn does not have, with a callback's hooks in it."""

from typing import Any

import numpy as np

from swarmlearning.client.errors import SwarmError
from swarmlearning.client.parameters import positive
from swarmlearning.client.sklearn import SwarmCallback


class SwarmSklearnTrainer:
    """The whole training in one call:

    SwarmSklearnTrainer(swarmCallback=callback, model=model).fit(x, y, batch_size=32, epochs=10, classes=classes)
    """

    def __init__(self, swarmCallback: SwarmCallback, model: Any) -> None:  # noqa: N803
        """`model` has to be that of the callback. Raises `SwarmError`."""
        if swarmCallback.model is not model:
            raise SwarmError("the trainer's model is not the callback's: pass the same model to both")
        self._callback, self._model = swarmCallback, model

    def fit(self, x: Any, y: Any = None, batch_size: Any = 32, epochs: Any = 1, classes: Any = None) -> Any:
        """Trains on the rows of `x` and `y` in the order they have; returns the model, which is the swarm's then.

        Without `y` for clustering. `classes` are all labels, where the estimator needs them. Raises `SwarmError`.
        """
        size = positive(batch_size, "batch_size has to be a positive integer")
        count = positive(epochs, "epochs has to be a positive integer")
        known = {} if classes is None else {"classes": classes}
        rows = np.shape(x)[0]
        self._callback.on_train_begin()
        for epoch in range(count):
            if self._callback.training_over:
                break
            for start in range(0, rows, size):
                batch = slice(start, start + size)
                self._model.partial_fit(x[batch], None if y is None else y[batch], **known)
                self._callback.on_batch_end(logs={"size": min(size, rows - start)})
            self._callback.on_epoch_end(epoch)
        self._callback.on_train_end()
        return self._model
