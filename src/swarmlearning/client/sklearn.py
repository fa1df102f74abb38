"""The callback for scikit-learn: the fitted attributes of a `partial_fit` estimator as named tensors, and back."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from swarmlearning.channel.messages import Fixed
from swarmlearning.client.base import SwarmCallbackBase
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.fixed import labels_digest
from swarmlearning.client.sklearn_evaluation import Validation
from swarmlearning.tensors.file import Array, Tensor
from swarmlearning.tensors.structure import Roles

# Attributes that are merged, by the name of the estimator's class or of a base class.
ATTRIBUTES = {
    "SGDClassifier": ("coef_", "intercept_"),
    "SGDRegressor": ("coef_", "intercept_"),
    "SGDOneClassSVM": ("coef_", "offset_"),
    "Perceptron": ("coef_", "intercept_"),
    "PassiveAggressiveClassifier": ("coef_", "intercept_"),
    "PassiveAggressiveRegressor": ("coef_", "intercept_"),
    "MLPClassifier": ("coefs_", "intercepts_"),
    "MLPRegressor": ("coefs_", "intercepts_"),
    "MiniBatchKMeans": ("cluster_centers_",),
}
# With average=True, linear estimators train the first two of these; `coef_` is another name of one of the four.
TRAINED = ("_standard_coef", "_standard_intercept")
AVERAGED = (*TRAINED, "_average_coef", "_average_intercept")


class SwarmCallback(SwarmCallbackBase):
    """Swarm learning with estimators that have `partial_fit`.

        callback = SwarmCallback(syncFrequency=10, minPeers=2, model=model, initData=(x[:5], y[:5]), classes=classes)
        callback.on_train_begin()
        for epoch in range(epochs):
            for x, y in batches:
                model.partial_fit(x, y)
                callback.on_batch_end()
            callback.on_epoch_end(epoch)
        callback.on_train_end()

    Parameters beside those of all platforms (see `swarmlearning.pyt`):
        model: an SGD*, Perceptron, PassiveAggressive*, MLP* or MiniBatchKMeans estimator, or any with `weight_attrs`.
        initData: a few samples (X, y), or (X,) for clustering; `partial_fit` on them makes the attributes of an
            estimator that was never fitted. It sets the first cluster centers: start all sites from the same ones.
        classes: all labels, for classifiers, whichever labels a site has. Sites with other labels, or in another order,
            are refused; so are sites whose features have other names (`feature_names_in_`).
        weight_attrs: names of the attributes to merge: arrays, or lists of arrays (merged as `coefs__0`, …).
        weight_attrs_is_list: accepted for compatibility; lists are recognised.
        adsValData: validation data (X, y), or (X, y, sample_weight).
        lossFunction, lossFunctionArgs: name of a function in `sklearn.metrics` whose value is smaller for better
            models, and a dict of its arguments. It gets what it needs: labels, probabilities or decisions.
        metricFunction, metricFunctionArgs: the same for the metric.
        ml_platform (or mlPlatform): "SKLEARN".

    Values are copied in place. What else an estimator keeps (counts of samples, moments of an optimizer) stays local.
    """

    ml_platforms = ("SKLEARN",)
    platform_keywords = frozenset(
        {
            "classes",
            "initData",
            "lossFunction",
            "lossFunctionArgs",
            "metricFunction",
            "metricFunctionArgs",
            "model",
            "weight_attrs",
            "weight_attrs_is_list",
        }
    )

    def _prepare(self, options: Mapping[str, Any]) -> None:
        model = options.get("model")
        if model is None:
            raise SwarmError("no model is given: pass the estimator that is trained, model=...")
        if not hasattr(model, "partial_fit"):
            raise SwarmError(f"model has to be an estimator with partial_fit; {type(model).__name__} has none")
        if options.get("useAdaptiveSync") and options.get("lossFunction") is None:
            raise SwarmError("For adaptive sync, lossFunction is mandatory: the mean loss decides the interval")
        self._model = model
        self._attributes = _attributes(model, options.get("weight_attrs"))
        self._validation = Validation.of(options)
        if not all(hasattr(model, name) for name in self._attributes):
            _fit_first(model, options.get("initData"), options.get("classes"))
        for name in self._attributes:
            if not hasattr(model, name):
                raise SwarmError(f"weight_attrs: after partial_fit, {type(model).__name__} has no attribute {name}")

    @property
    def model(self) -> Any:
        """The estimator."""
        return self._model

    def _model_tensors(self) -> dict[str, Tensor]:
        return {name: Tensor.of(array, name) for name, array in self._arrays()}

    def _load_tensors(self, arrays: Mapping[str, Array]) -> None:
        # In place and in this order: the averages of linear estimators come last, and `coef_` is one of them.
        for name, array in self._arrays():
            array[...] = arrays[name]

    def _evaluate(self) -> tuple[float | None, float | None]:
        return (None, None) if self._validation is None else self._validation.evaluate(self._model)

    def _roles(self) -> Roles:
        """Averages over steps are no parameters: an outer step would part them from what they are averages of."""
        averaged = AVERAGED[0] in self._attributes
        return {name: "buffer" if averaged and name not in TRAINED else "parameter" for name, _ in self._arrays()}

    def _fixed(self) -> Fixed:
        return Fixed(
            classes=labels_digest(getattr(self._model, "classes_", None)),
            features=labels_digest(getattr(self._model, "feature_names_in_", None)),
        )

    def _arrays(self) -> Iterator[tuple[str, Array]]:
        """The model's own arrays; numbers and read-only arrays are first put into arrays that can be written."""
        for name in self._attributes:
            value = getattr(self._model, name)
            if isinstance(value, list):
                for index, part in enumerate(value):
                    value[index] = _writable(part)
                    yield f"{name}_{index}", value[index]
            else:
                array = _writable(value)
                if array is not value:
                    setattr(self._model, name, array)
                yield name, array


def _attributes(model: Any, given: Any) -> tuple[str, ...]:
    if given is not None:
        if isinstance(given, str) or not all(isinstance(name, str) for name in given) or not given:
            raise SwarmError(f"weight_attrs has to be a list of names of attributes; it is {given!r}")
        return tuple(given)
    known = next((ATTRIBUTES[base.__name__] for base in type(model).__mro__ if base.__name__ in ATTRIBUTES), None)
    if known is None:
        raise SwarmError(
            f"it is not known which attributes of {type(model).__name__} hold what it has learned: "
            "name them in weight_attrs"
        )
    return (*known[1:], *AVERAGED) if getattr(model, "average", False) else known


def _fit_first(model: Any, samples: Any, classes: Any) -> None:
    """Makes the fitted attributes."""
    if samples is None:
        raise SwarmError(
            "the model was never fitted, so it has nothing to merge yet: pass initData, a few samples (X, y), "
            "and for a classifier classes, all labels there are"
        )
    if not isinstance(samples, tuple | list) or not 1 <= len(samples) <= 2:
        raise SwarmError(f"initData has to be samples (X, y); it is a {type(samples).__name__}")
    try:
        model.partial_fit(*samples, **({} if classes is None else {"classes": classes}))
    except (TypeError, ValueError) as error:
        raise SwarmError(f"partial_fit of {type(model).__name__} with initData and classes failed: {error}") from error


def _writable(value: Any) -> Array:
    array = np.asarray(value)
    return array if array.flags.writeable else array.copy()
