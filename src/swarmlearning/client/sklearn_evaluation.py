"""Loss and metric of a scikit-learn estimator by the functions of `sklearn.metrics`."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sklearn import metrics

from swarmlearning.client.errors import SwarmError

PROBABILITIES = frozenset({"y_proba", "y_prob"})
SCORES = frozenset({"y_score", "pred_decision"})
PROBABILITY_LOSSES = frozenset({"log_loss"})  # they call their probabilities `y_pred`


@dataclass(frozen=True)
class Function:
    """A function of `sklearn.metrics`, and the name of its second parameter, which is the kind of value it needs."""

    call: Callable[..., Any]
    second: str
    weighted: bool
    names_labels: bool

    @classmethod
    def of(cls, parameter: str, options: Mapping[str, Any]) -> "Function | None":
        """Returns the function in `options[parameter]`, with `options[parameter + "Args"]`. Raises `SwarmError`."""
        name, arguments = options.get(parameter), options.get(f"{parameter}Args") or {}
        if name is None:
            return None
        function = getattr(metrics, name, None) if isinstance(name, str) else None
        if not inspect.isfunction(function):
            raise SwarmError(
                f"Invalid value {parameter}: {name}. It has to be the name of a function in sklearn.metrics"
            )
        known = list(inspect.signature(function).parameters)
        if not isinstance(arguments, Mapping) or not set(arguments) <= set(known[2:]):
            raise SwarmError(f"Invalid value {parameter}Args for {name}: {arguments}. Allowed: {known[2:]}")
        second = "y_proba" if name in PROBABILITY_LOSSES else known[1]
        return cls(
            partial(function, **arguments),
            second,
            "sample_weight" in known and "sample_weight" not in arguments,
            second == "y_proba" and "labels" in known and "labels" not in arguments,
        )

    def evaluate(self, model: Any, x: Any, y: Any, weights: Any) -> float:
        """Returns its value for the estimator. Raises `SwarmError` if the estimator cannot compute what it needs."""
        more: dict[str, Any] = {"sample_weight": weights} if self.weighted and weights is not None else {}
        if self.names_labels:
            more["labels"] = model.classes_  # the validation data may lack some
        return float(self.call(y, self._predicted(model, x), **more))

    def _predicted(self, model: Any, x: Any) -> Any:
        if self.second in SCORES and hasattr(model, "decision_function"):
            return model.decision_function(x)
        if self.second in PROBABILITIES | SCORES:
            if not hasattr(model, "predict_proba"):
                raise SwarmError(f"{type(model).__name__} has no predict_proba, which this function needs")
            probabilities = model.predict_proba(x)
            return probabilities if self.names_labels or probabilities.shape[1] != 2 else probabilities[:, 1]
        return model.predict(x)


@dataclass(frozen=True)
class Validation:
    """Validation data with a loss and a metric; either may be None."""

    x: Any
    y: Any
    weights: Any
    loss: Function | None
    metric: Function | None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Validation | None":
        """Makes it from the documented keyword arguments; None without data. Raises `SwarmError`."""
        data = options.get("adsValData")
        loss, metric = Function.of("lossFunction", options), Function.of("metricFunction", options)
        if data is None:
            return None
        if not isinstance(data, tuple) or not 2 <= len(data) <= 3:
            raise SwarmError(f"adsValData type passed is {type(data)}. It has to be (X, y) or (X, y, sample_weight)")
        x, y, weights = (*data, None)[:3]
        if not len(np.asarray(y)):
            raise SwarmError("adsValData has no samples")
        return cls(x, y, weights, loss, metric)

    def evaluate(self, model: Any) -> tuple[float | None, float | None]:
        """Returns loss and metric; None where no function was given."""
        values = (
            None if function is None else function.evaluate(model, self.x, self.y, self.weights)
            for function in (self.loss, self.metric)
        )
        loss, metric = values
        return loss, metric
