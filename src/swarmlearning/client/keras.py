"""The callback for Keras 3, and for sessions of TensorFlow 1."""

from collections.abc import Mapping
from typing import Any

import keras

from swarmlearning.channel.messages import Fixed
from swarmlearning.client.base import SwarmCallbackBase
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.fixed import tensors_digest
from swarmlearning.client.keras_evaluation import Validation
from swarmlearning.client.keras_proximal import Proximal
from swarmlearning.client.keras_version import FOR_KERAS_2
from swarmlearning.client.keras_weights import KerasWeights, SessionWeights
from swarmlearning.client.log import failing_with
from swarmlearning.client.parameters import proximal_mu
from swarmlearning.tensors.file import Array, Tensor
from swarmlearning.tensors.structure import Roles

BACKENDS = ("tensorflow", "torch")  # with the others, `fit` keeps the weights to itself while it runs


class SwarmCallback(SwarmCallbackBase, keras.callbacks.Callback):  # type: ignore[misc]  # Any where Keras is missing
    """Swarm learning in `fit`:

        model.fit(x, y, callbacks=[SwarmCallback(syncFrequency=128, minPeers=2, totalEpochs=epochs)])

    Put it last: callbacks after it that restore weights when training ends would replace the swarm's model.

    Parameters beside those of all platforms (see `swarmlearning.pyt`):
        adsValData: data for `model.evaluate`: (x, y), (x, y, sample_weight), a dataset, or a generator that ends.
        adsValBatchSize: batch size for the tuples.
        onlyTrainable: leave frozen weights out of merges. Sites whose frozen ones differ are refused, and it is an
            error to freeze or unfreeze others during fit. Default False.
        proximalMu: FedProx: each step pulls the weights back to the merged model that was loaded last, by a gradient of
            mu * (w - w_loaded), before gradients are clipped. Default: not at all.
        ml_platform (or mlPlatform): "KERAS", or "TF" for a session of TensorFlow 1, which needs `tf` and `sess` and has
            its script call the hooks.

    All weights are merged, those of batch normalisation too; the optimizer's stay local. After a merge the loss and the
    first metric that the model was compiled with are computed. When training is over everywhere else, `fit` is stopped.
    """

    ml_platforms = ("KERAS", "TF")
    platform_keywords = frozenset({"onlyTrainable", "proximalMu", "sess", "tf"})

    _weights: KerasWeights | SessionWeights | None  # None until the model is known

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        keras.callbacks.Callback.__init__(self)
        SwarmCallbackBase.__init__(self, *arguments, **keywords)

    def set_model(self, model: Any) -> None:
        """Sets the model; called by Keras when `fit` begins. Raises `SwarmError` for one that is not of Keras 3."""
        with failing_with():
            if not isinstance(model, keras.Model):
                kind = f"{type(model).__module__}.{type(model).__qualname__}"
                raise SwarmError(f"the model has to be a keras.Model; it is a {kind}. {FOR_KERAS_2}")
        super().set_model(model)

    def on_train_begin(self, logs: Any = None) -> None:
        """As for all platforms. The model is known only when `fit` begins, so the session is opened here."""
        if self._weights is None:
            with failing_with():
                if self.model is None:
                    raise SwarmError("the model is not known: outside of fit() call set_model(model) first")
                if not self.model.weights:
                    raise SwarmError(
                        "the model has no weights before its first batch: call model.build(input_shape), or the model "
                        "on some data, before fit()"
                    )
            self._weights = KerasWeights(self.model, self._only_trainable)
            SwarmCallbackBase._join(self)
            self._pull()
            if self._together() > self._parameters.sync_frequency:
                self.logger.warning(
                    "Keras runs steps_per_execution=%d batches at a time: it cannot sync every %d. Compile the model "
                    "with steps_per_execution=%d or less",
                    self._together(),
                    self._parameters.sync_frequency,
                    self._parameters.sync_frequency,
                )
        super().on_train_begin(logs)

    def on_epoch_begin(self, epoch: Any = None, logs: Any = None) -> None:
        """As for all platforms. Keras counts batches from 0 in each epoch."""
        self._done = 0

    def _prepare(self, options: Mapping[str, Any]) -> None:
        self._only_trainable = bool(options.get("onlyTrainable"))
        self._validation = Validation.of(options.get("adsValData"), options.get("adsValBatchSize"))
        self._mu = proximal_mu(options.get("proximalMu"))
        self._proximal: Proximal | None = None
        self._weights = None
        self._done = 0  # batches of this epoch
        if self._parameters.ml_platform == "TF":
            if options.get("tf") is None or options.get("sess") is None:
                raise SwarmError("tf and sess params are must for Tensorflow platform")
            if self._mu:
                raise SwarmError(
                    "proximalMu is not for sessions of TensorFlow 1: add the pull to the script's own loss"
                )
            self._weights = SessionWeights(options["tf"], options["sess"])
        elif keras.backend.backend() not in BACKENDS:
            raise SwarmError(
                f"Keras with the backend {keras.backend.backend()} keeps a model's weights to itself during fit: "
                f"use one of {', '.join(BACKENDS)} (KERAS_BACKEND)"
            )

    def on_train_end(self, logs: Any = None) -> None:
        """As for all platforms."""
        super().on_train_end(logs)
        self._end_pull()

    def abandon(self, reason: str) -> None:
        """As for all platforms."""
        super().abandon(reason)
        self._end_pull()

    def _pull(self) -> None:
        """Sets up FedProx if `proximalMu` is given."""
        if self._mu and isinstance(self._weights, KerasWeights):
            pulled = {name: one for name, one in self._weights.trained().items() if name not in self._local}
            with failing_with():
                self._proximal = Proximal(self._mu, self.model, pulled)

    def _end_pull(self) -> None:
        if self._proximal is not None:
            self._proximal.end()
        self._proximal = None

    def _load(self, merged: Mapping[str, Array]) -> None:
        super()._load(merged)
        if self._proximal is not None:
            self._proximal.load()

    def _together(self) -> int:
        """Returns the number of batches that `fit` does between two calls of the hook."""
        return int(getattr(self.model, "steps_per_execution", 1)) if isinstance(self._weights, KerasWeights) else 1

    def _batches(self, batch: Any) -> int:
        if self._together() == 1 or not isinstance(batch, int):
            return 1
        # `batch` is the index of the last one, or beyond it where the end of an epoch cuts an execution short.
        before, in_epoch = self._done, (self.params or {}).get("steps")
        self._done = min(batch + 1, in_epoch or batch + 1)
        return max(self._done - before, 1)

    def _join(self) -> None:
        if self._weights is not None:
            super()._join()

    def _model_tensors(self) -> dict[str, Tensor]:
        assert self._weights is not None
        return self._weights.tensors()

    def _load_tensors(self, arrays: Mapping[str, Array]) -> None:
        assert self._weights is not None
        self._weights.load(arrays)

    def _roles(self) -> Roles:
        assert self._weights is not None
        return self._weights.roles()

    def _fixed(self) -> Fixed:
        if not isinstance(self._weights, KerasWeights):
            return Fixed()
        return Fixed(frozen=tensors_digest(self._weights.frozen_digests()))

    def _evaluate(self) -> tuple[float | None, float | None]:
        if self._validation is None or not isinstance(self._weights, KerasWeights):
            return None, None
        return self._validation.evaluate(self.model)

    def _on_training_over(self) -> None:
        if isinstance(self._weights, KerasWeights):
            self.model.stop_training = True
            self.logger.info("Swarm training is over. Stopping local training")
        else:
            super()._on_training_over()
