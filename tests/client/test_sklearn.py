"""The fitted attributes of scikit-learn estimators are merged, and training continues from the result."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics
from sklearn.base import is_classifier
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import (
    PassiveAggressiveClassifier,
    PassiveAggressiveRegressor,
    Perceptron,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier, MLPRegressor

from support.callbacks import Join, Log, fixed_terms
from support.documented import of_platforms
from support.fake_sl import FakeSL, plus
from swarmlearning.channel.messages import Evaluated, Fixed, Open
from swarmlearning.sklearn import SwarmCallback, SwarmError

pytestmark = pytest.mark.filterwarnings("ignore:Class PassiveAggressive:FutureWarning")

X = np.random.default_rng(0).normal(size=(40, 3))
Y = np.arange(40) % 3
INIT = (X[:5], Y[:5])
AVERAGES = ["_average_coef", "_average_intercept", "_standard_coef", "_standard_intercept"]

ESTIMATORS: list[tuple[Any, dict[str, Any]]] = [
    (lambda: SGDClassifier(), {"coef_": (3, 3), "intercept_": (3,)}),
    (lambda: SGDRegressor(), {"coef_": (3,), "intercept_": (1,)}),
    (lambda: SGDOneClassSVM(), {"coef_": (3,), "offset_": (1,)}),
    (lambda: Perceptron(), {"coef_": (3, 3), "intercept_": (3,)}),
    (lambda: PassiveAggressiveClassifier(), {"coef_": (3, 3), "intercept_": (3,)}),
    (lambda: PassiveAggressiveRegressor(), {"coef_": (3,), "intercept_": (1,)}),
    (
        lambda: MLPClassifier((4, 2), random_state=0),
        {
            "coefs__0": (3, 4),
            "coefs__1": (4, 2),
            "coefs__2": (2, 3),
            "intercepts__0": (4,),
            "intercepts__1": (2,),
            "intercepts__2": (3,),
        },
    ),
    (
        lambda: MLPRegressor(hidden_layer_sizes=(4,), random_state=0),
        {"coefs__0": (3, 4), "coefs__1": (4, 1), "intercepts__0": (4,), "intercepts__1": (1,)},
    ),
    (lambda: MiniBatchKMeans(2, n_init=1, random_state=0), {"cluster_centers_": (2, 3)}),
    (
        lambda: SGDClassifier(average=True),
        {"intercept_": (3,)} | {name: (3, 3) if name.endswith("coef") else (3,) for name in AVERAGES},
    ),
    (
        lambda: SGDRegressor(average=3),
        {"intercept_": (1,)} | {name: (3,) if name.endswith("coef") else (1,) for name in AVERAGES},
    ),
]


stated = partial(fixed_terms, SwarmCallback)


@pytest.mark.parametrize("make", [SGDClassifier, Perceptron, MLPClassifier])
def test_sites_with_different_classes_send_different_digests(tmp_path: Path, join: Join, make: Any) -> None:
    def classes(first: Any, second: Any) -> str:
        labels = np.array([first, second] * 3)
        digest = stated(tmp_path, join, make(), initData=(X[:6], labels), classes=np.unique(labels)).classes
        assert isinstance(digest, str)
        return digest

    assert len(classes("sick", "well")) == 64
    assert classes("sick", "well") == classes("well", "sick")  # in the order of the estimator's own list
    assert len({classes("sick", "well"), classes("gesund", "krank"), classes(0, 1), classes(1, 2)}) == 4
    assert classes(0, 1) == classes(np.int32(0), np.int32(1)) == classes(0.0, 1.0)


def test_the_classes_of_an_estimator_fitted_before_are_in_its_digest(tmp_path: Path, join: Join) -> None:
    models = [GaussianNB().partial_fit(X, Y, classes=classes) for classes in ([0, 1, 2], [0, 1, 2, 3], [0, 1, 2])]
    digests = [stated(tmp_path, join, model, weight_attrs=["theta_"]).classes for model in models]
    assert digests[0] == digests[2] != digests[1]


def test_sites_with_features_in_another_order_send_different_digests(tmp_path: Path, join: Join) -> None:
    def features(names: list[str] | None) -> str:
        model = SGDRegressor().partial_fit(X, Y)
        if names is not None:
            model.feature_names_in_ = np.array(names, object)  # as after a DataFrame
        digest = stated(tmp_path, join, model).features
        assert isinstance(digest, str)
        return digest

    assert features(None) == ""
    assert features(["age", "dose", "sex"]) == features(["age", "dose", "sex"]) != features(["dose", "age", "sex"])


def test_a_regressor_without_feature_names_sends_no_digests(tmp_path: Path, join: Join) -> None:
    assert stated(tmp_path, join, SGDRegressor().partial_fit(X, Y)) == Fixed()


def classes_of(model: Any) -> dict[str, Any]:
    return {"classes": [0, 1, 2]} if is_classifier(model) else {}


@pytest.mark.parametrize(("make", "expected"), ESTIMATORS)
def test_all_that_an_estimator_has_learned_is_sent_and_replaced_by_the_merged_arrays(
    tmp_path: Path, join: Join, make: Any, expected: dict[str, tuple[int, ...]]
) -> None:
    model = make()
    with FakeSL(tmp_path, merge=plus(1)) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=2, model=model, initData=INIT, **classes_of(model))
        before = {name: np.copy(array) for name, array in callback._arrays()}
        callback.on_train_begin()
        assert {name: array.shape for name, array in sl.models[0].items()} == expected
        assert {array.dtype for array in sl.models[0].values()} == {np.dtype(np.float64)}
        assert {name: array.tolist() for name, array in callback._arrays()} == {
            name: (array + 1).tolist() for name, array in before.items()
        }
        model.predict(X)
        for _ in range(2):
            model.partial_fit(X, Y)
            callback.on_batch_end()
        assert any((sl.models[1][name] != sl.models[0][name] + 1).any() for name in expected)
        callback.on_train_end()
        assert {name: array.tolist() for name, array in callback._arrays()} == {
            name: (array + 1).tolist() for name, array in sl.models[-1].items()
        }


def test_a_scikit_learn_optimizer_continues_from_the_merged_parameters(tmp_path: Path, join: Join) -> None:
    """An optimizer that had remembered other arrays would train those."""
    model = MLPRegressor(hidden_layer_sizes=(4,), random_state=0, learning_rate_init=1e-9)
    with FakeSL(tmp_path, merge=lambda arrays: {name: array * 0 + 5 for name, array in arrays.items()}) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1, model=model, initData=(X, X[:, 0]))
        callback.on_train_begin()
        step = model._optimizer.t
        model.partial_fit(X, X[:, 0])
        assert model._optimizer.t == step + 1  # the optimizer is the same, with its own state
        callback.on_batch_end()
        assert model.coefs_[0].ravel().tolist() == [5.0] * 12
        assert 0 < np.max(abs(sl.models[1]["coefs__0"] - 5)) < 1e-6


@pytest.mark.parametrize("average", [True, 1000])
def test_the_averages_of_a_linear_model_stay_the_same_arrays_after_a_merge(
    tmp_path: Path, join: Join, average: Any
) -> None:
    """`coef_` is the average, or what is trained until there are enough samples for an average."""
    model = SGDRegressor(average=average).partial_fit(X, Y)
    kept = "_average_coef" if average is True else "_standard_coef"
    with FakeSL(tmp_path, merge=plus(1)) as sl:
        callback = join(sl, SwarmCallback, model=model)
        callback.on_train_begin()
        assert model.coef_ is getattr(model, kept)
        assert model.coef_.tolist() == (sl.models[0][kept] + 1).tolist()
        assert model.intercept_.tolist() == getattr(model, kept.replace("coef", "intercept")).tolist()


def test_an_estimator_that_is_already_fitted_is_not_fitted_with_init_data(tmp_path: Path, join: Join) -> None:
    model = SGDClassifier().partial_fit(X, Y, classes=[0, 1, 2])
    before = model.t_
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, model=model, initData=INIT)
        callback.on_train_begin()
    assert model.t_ == before


def test_the_named_attributes_of_a_users_own_estimator_are_merged(tmp_path: Path, join: Join) -> None:
    class Mean:
        """Its attributes: an array that is read-only, a number, and a list."""

        def partial_fit(self, x: Any) -> None:
            self.mean_ = np.broadcast_to(x.mean(), (2,))
            self.count_ = float(len(x))
            self.parts_ = [x[0], x[1]]

    model = Mean()
    names = ["mean_", "count_", "parts_"]
    with FakeSL(tmp_path, merge=plus(1)) as sl:
        callback = join(sl, SwarmCallback, model=model, initData=(np.ones((4, 2)),), weight_attrs=names)
        callback.on_train_begin()
        assert sorted(sl.models[0]) == ["count_", "mean_", "parts__0", "parts__1"]
    assert (model.mean_.tolist(), float(model.count_)) == ([2, 2], 5)
    assert [part.tolist() for part in model.parts_] == [[2, 2], [2, 2]]


# --- loss and metric


def fitted(kind: Any, y: Any = Y, **keywords: Any) -> Any:
    model = kind(random_state=0, **keywords)
    return model.partial_fit(X, y, **({"classes": sorted(set(y))} if is_classifier(model) else {}))


BINARY = Y % 2
CASES: list[tuple[Any, Any, str, dict[str, Any], Any]] = [
    (fitted(SGDClassifier), Y, "accuracy_score", {}, lambda m, s: s.accuracy_score(Y, m.predict(X))),
    (fitted(SGDClassifier), Y, "hinge_loss", {}, lambda m, s: s.hinge_loss(Y, m.decision_function(X))),
    (
        fitted(SGDClassifier, loss="log_loss"), Y, "log_loss", {},
        lambda m, s: s.log_loss(Y, m.predict_proba(X)),
    ),
    (
        fitted(SGDClassifier, loss="log_loss"), BINARY * 0, "log_loss", {},
        lambda m, s: s.log_loss(BINARY * 0, m.predict_proba(X), labels=[0, 1, 2]),
    ),
    (
        fitted(SGDClassifier, BINARY), BINARY, "roc_auc_score", {},
        lambda m, s: s.roc_auc_score(BINARY, m.decision_function(X)),
    ),
    (
        fitted(MLPClassifier, BINARY), BINARY, "roc_auc_score", {},
        lambda m, s: s.roc_auc_score(BINARY, m.predict_proba(X)[:, 1]),
    ),
    (
        fitted(MLPClassifier, BINARY), BINARY, "brier_score_loss", {},
        lambda m, s: s.brier_score_loss(BINARY, m.predict_proba(X)),
    ),
    (
        fitted(SGDClassifier), Y, "f1_score", {"average": "macro"},
        lambda m, s: s.f1_score(Y, m.predict(X), average="macro"),
    ),
    (fitted(SGDRegressor), Y, "mean_squared_error", {}, lambda m, s: s.mean_squared_error(Y, m.predict(X))),
    (
        fitted(MiniBatchKMeans, n_clusters=3, n_init=1), Y, "adjusted_rand_score", {},
        lambda m, s: s.adjusted_rand_score(Y, m.predict(X)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("model", "y", "name", "arguments", "expected"), CASES, ids=[case[2] for case in CASES])
def test_a_metric_function_gets_the_predictions_scores_or_probabilities_it_needs(
    tmp_path: Path, join: Join, model: Any, y: Any, name: str, arguments: dict[str, Any], expected: Any
) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join(
            sl,
            SwarmCallback,
            model=model,
            adsValData=(X, y),
            lossFunction=name,
            lossFunctionArgs=arguments,
            metricFunction=name,
            metricFunctionArgs=arguments,
        )
        callback.on_train_begin()
        [found] = sl.of(Evaluated)
    assert found.loss == found.metric == pytest.approx(expected(model, metrics), rel=1e-12)


def test_sample_weights_are_passed_to_the_loss_function(tmp_path: Path, join: Join) -> None:
    model, weights = fitted(SGDClassifier), np.zeros(len(X))
    weights[0] = 1
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, model=model, adsValData=(X, Y, weights), lossFunction="zero_one_loss")
        callback.on_train_begin()
        [found] = sl.of(Evaluated)
    assert (found.loss, found.metric) == (float(model.predict(X[:1])[0] != Y[0]), None)


def test_a_loss_function_that_needs_what_the_estimator_cannot_predict_is_an_error(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, model=fitted(SGDClassifier), adsValData=(X, Y), lossFunction="log_loss")
        with pytest.raises(SwarmError, match="SGDClassifier has no predict_proba, which this function needs"):
            callback.on_train_begin()


# --- parameters of this platform

DATA = {"adsValData": (X, Y)}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "no model is given: pass the estimator that is trained, model=..."),
    ({"model": [1]}, "model has to be an estimator with partial_fit; list has none"),
    ({"model": GaussianNB()}, "it is not known which attributes of GaussianNB hold what it has learned"),
    ({"model": SGDClassifier()}, "the model was never fitted, so it has nothing to merge yet: pass initData"),
    ({"model": SGDClassifier(), "initData": X}, "initData has to be samples (X, y); it is a ndarray"),
    ({"model": SGDClassifier(), "initData": INIT}, "partial_fit of SGDClassifier with initData and classes failed:"),
    ({"weight_attrs": "coef_"}, "weight_attrs has to be a list of names of attributes; it is 'coef_'"),
    ({"weight_attrs": []}, "weight_attrs has to be a list of names of attributes; it is []"),
    ({"weight_attrs": ["coef"], "initData": INIT}, "after partial_fit, SGDClassifier has no attribute coef"),
    ({"adsValData": X}, "adsValData type passed is <class 'numpy.ndarray'>. It has to be (X, y)"),
    ({"adsValData": (X[:0], Y[:0])}, "adsValData has no samples"),
    (DATA | {"useAdaptiveSync": True}, "For adaptive sync, lossFunction is mandatory"),
    ({"lossFunction": "hinge"}, "Invalid value lossFunction: hinge. It has to be the name of a function in sklearn.m"),
    ({"metricFunction": len}, "Invalid value metricFunction: <built-in function len>."),
    ({"lossFunction": "hinge_loss", "lossFunctionArgs": {"a": 1}}, "Invalid value lossFunctionArgs for hinge_loss: "),
    ({"initdata": INIT}, "Unknown parameter initdata. Did you mean initData?"),
]  # fmt: skip


@pytest.mark.parametrize(("keywords", "text"), WRONG, ids=[text[:40] for _, text in WRONG])
@pytest.mark.usefixtures("loopback")
def test_invalid_arguments_of_the_scikit_learn_callback_are_refused(
    log: Log, keywords: dict[str, Any], text: str
) -> None:
    fitted_one = SGDClassifier().partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(SwarmError) as caught:
        SwarmCallback(4, 2, logger=log.logger, **{"model": fitted_one} | keywords)
    assert text in str(caught.value)
    assert log.texts("ERROR") == []  # raised: not reported a second time


def test_the_platform_of_a_scikit_learn_session_is_sklearn(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path) as sl:
        join(sl, SwarmCallback, model=SGDRegressor(), initData=INIT)
        assert [message.ml_platform for message in sl.of(Open)] == ["SKLEARN"]


@pytest.mark.parametrize(("keywords", "text"), of_platforms("SKLEARN"), ids=str)
@pytest.mark.usefixtures("loopback")
def test_the_scikit_learn_callback_raises_the_documented_errors(log: Log, keywords: dict[str, Any], text: str) -> None:
    with pytest.raises(SwarmError) as caught:
        SwarmCallback(
            **{"syncFrequency": 4, "minPeers": 2, "logger": log.logger, "model": SGDRegressor(), "initData": INIT}
            | keywords
        )
    assert str(caught.value) == text
    assert log.texts("ERROR") == []  # raised: not reported a second time
