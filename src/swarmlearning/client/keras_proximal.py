"""FedProx in Keras: each gradient pulls the weights back to the merged model that was loaded last.

To the gradient of each weight w, mu * (w - w_loaded) is added: the gradient of 0.5 * mu * ||w - w_loaded||^2 (Li et
al., Federated Optimization in Heterogeneous Networks, 2020). Keras has no place for that before gradients are clipped,
which its optimizer does: so the pull goes before the optimizer's `apply` as long as a training lasts.
A gradient that is accumulated over several batches is their mean, so the pull, which is the same for each, is in it
once. A loss scale that the optimizer takes out itself is put in.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from swarmlearning.client.errors import SwarmError


class Proximal:
    """Pulls these weights, by name, with strength `mu`, in each step of the model's optimizer. Raises `SwarmError`."""

    def __init__(self, mu: float, model: Any, weights: Mapping[str, Any]) -> None:
        if model.optimizer is None:
            raise SwarmError("proximalMu needs the optimizer: compile the model with it")
        if getattr(getattr(model, "distribute_strategy", None), "num_replicas_in_sync", 1) > 1:
            raise SwarmError("proximalMu does not work with several replicas of tf.distribute, which sum gradients")
        self._mu, self._model, self._weights = mu, model, list(weights.values())
        self._loaded = {
            id(weight): keras.Variable(keras.ops.copy(weight.value), trainable=False, dtype=weight.dtype)
            for weight in self._weights
        }
        self._optimizer = model.optimizer
        while (inner := getattr(self._optimizer, "inner_optimizer", None)) is not None:
            self._optimizer = inner  # of a LossScaleOptimizer: gives it gradients without their scale
        self._apply = self._optimizer.apply
        self._optimizer.apply = self._pull_and_apply
        model.make_train_function(force=True)  # one that was traced before would not pull

    def load(self) -> None:
        """From here on pulls towards the weights as they are now."""
        for weight in self._weights:
            self._loaded[id(weight)].assign(weight.value)

    def end(self) -> None:
        """Leaves the optimizer as it was."""
        del self._optimizer.apply  # the class has its own
        self._model.train_function = None  # made anew by the next fit

    def _pull_and_apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> Any:
        known = self._optimizer._trainable_variables if trainable_variables is None else list(trainable_variables)
        pulled = [self._pulled(gradient, weight) for gradient, weight in zip(grads, known, strict=True)]
        return self._apply(pulled, trainable_variables)

    def _pulled(self, gradient: Any, weight: Any) -> Any:
        loaded = self._loaded.get(id(weight))
        if gradient is None or loaded is None:
            return gradient
        scale = self._optimizer.loss_scale_factor or 1.0
        pull = (keras.ops.convert_to_tensor(weight) - keras.ops.convert_to_tensor(loaded)) * (self._mu * scale)
        return keras.ops.add(gradient, keras.ops.cast(pull, gradient.dtype))
