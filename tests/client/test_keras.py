"""A Keras model's weights go out and come back in `fit`, and nothing else of the training changes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from support.callbacks import Join, Log
from support.documented import of_platforms
from support.fake_sl import Arrays, FakeSL, plus
from support.tools import require
from swarmlearning.channel.messages import Evaluated, Open

require("keras")

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from support.keras_models import ALL, OPTIMIZERS, X, Y, add_proximal_loss, fit, make_model, with_optimizer  # noqa: E402
from swarmlearning.client.keras_weights import KerasWeights  # noqa: E402
from swarmlearning.tf import SwarmCallback, SwarmError  # noqa: E402


def test_all_weights_of_a_keras_model_are_sent_and_replaced_by_the_merged_ones(tmp_path: Path, join: Join) -> None:
    keras.layers.Dense(1)  # names of layers count up in a process; those of merged entries do not
    model = make_model()
    first = model.get_weights()
    with FakeSL(tmp_path, merge=plus(1)) as sl:
        fit(model, join(sl, SwarmCallback, syncFrequency=2, totalEpochs=2), epochs=2)
        [opened] = sl.of(Open)
        assert [(spec.name, spec.shape) for spec in opened.structure] == ALL
        moving = {"4.moving_mean", "5.moving_variance"}
        assert opened.roles == {name: "buffer" if name in moving else "parameter" for name, _ in ALL}
        assert (opened.ml_platform, opened.total_epochs) == ("KERAS", 2)
        assert [np.array_equal(sent, own) for sent, own in zip(sl.models[0].values(), first, strict=True)] == [True] * 8
        assert len(sl.models) == 1 + 3 + 1  # at the beginning, every two of six batches, at the end
        assert [message.epochs for message in sl.of(Evaluated)] == [0, 0, 1, 1, 2]
        last = [sl.models[-1][name] + 1 for name, _ in ALL]
    assert [np.array_equal(own, sent) for own, sent in zip(model.get_weights(), last, strict=True)] == [True] * 8


def test_a_keras_optimizer_keeps_its_state_through_a_merge(tmp_path: Path, join: Join) -> None:
    model = make_model()
    with FakeSL(tmp_path, merge=lambda arrays: {name: array * 0 for name, array in arrays.items()}) as sl:
        fit(model, join(sl, SwarmCallback, syncFrequency=1))
        assert int(model.optimizer.iterations) == 3
        assert any(np.any(moment.value.numpy()) for moment in model.optimizer.variables[2:])
        assert np.any(sl.models[1]["7.bias"])  # the step moved what was loaded
    assert not np.any(model.get_weights()[-1])


DATASET = tf.data.Dataset.from_tensor_slices((X, Y)).batch(5)
WEIGHTS = np.linspace(0, 1, len(X))


@pytest.mark.parametrize(
    ("data", "batch_size", "expected"),
    [
        (lambda: (X, Y), 5, {}),
        (lambda: (X, Y), None, {}),
        (lambda: (X, Y, WEIGHTS), 7, {"sample_weight": WEIGHTS}),
        (lambda: DATASET, None, {}),
        (lambda: (pair for pair in [(X[:9], Y[:9]), (X[9:], Y[9:])]), None, {}),
    ],
    ids=["pair", "pair-default", "weights", "dataset", "generator"],
)
def test_validation_data_of_every_form_give_the_loss_and_metric_that_keras_computes(
    tmp_path: Path, join: Join, data: Any, batch_size: Any, expected: Any
) -> None:
    model = make_model()
    with FakeSL(tmp_path) as sl:
        fit(model, join(sl, SwarmCallback, syncFrequency=2, adsValData=data(), adsValBatchSize=batch_size))
        found = sl.of(Evaluated)
    assert len(found) == 3
    loss, metric = model.evaluate(X, Y, verbose=0, **expected)
    assert found[-1].loss == pytest.approx(loss, rel=1e-5)
    assert found[-1].metric == pytest.approx(metric, rel=1e-5)
    assert found[0].loss != found[-1].loss


def test_a_keras_model_without_metrics_reports_a_loss_only(tmp_path: Path, join: Join) -> None:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    with FakeSL(tmp_path) as sl:
        fit(model, join(sl, SwarmCallback, adsValData=(X, Y)))
        assert [(message.loss is None, message.metric) for message in sl.of(Evaluated)] == [(False, None)] * 2


def test_evaluating_merged_models_does_not_change_the_training_of_keras(tmp_path: Path, join: Join) -> None:
    weights, logs = [], []
    for name, more in [("without", {}), ("with", {"adsValData": (X, Y), "adsValBatchSize": 3})]:
        model = make_model(dropout=0.5)
        with FakeSL(tmp_path / name) as sl:
            history = fit(model, join(sl, SwarmCallback, syncFrequency=1, **more), epochs=2, validation_data=(X, Y))
        weights.append([array.tobytes() for array in model.get_weights()])
        logs.append(history.history)
    assert weights[0] == weights[1]
    assert logs[0] == logs[1]  # the running means of the epoch too, which evaluating begins by resetting


def test_fit_is_stopped_when_swarm_training_is_over(tmp_path: Path, join: Join, log: Log) -> None:
    model = make_model()
    with FakeSL(tmp_path, merge=plus(1), over_at=2) as sl:
        history = fit(model, join(sl, SwarmCallback, syncFrequency=4), epochs=9)
        merged = [sl.models[-1][name] + 1 for name, _ in ALL]
    assert len(history.epoch) == 2  # stopped within the second: at batch 4 of 27
    assert int(model.optimizer.iterations) == 4
    assert [np.array_equal(own, sent) for own, sent in zip(model.get_weights(), merged, strict=True)] == [True] * 8
    assert "Swarm training is over. Stopping local training" in log.texts("INFO")


def test_with_only_trainable_neither_weights_nor_statistics_of_frozen_layers_are_sent(
    tmp_path: Path, join: Join
) -> None:
    """Transfer learning: of frozen layers neither weights nor statistics are merged; other statistics are."""
    base = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])
    base.trainable = False
    model = keras.Sequential([base, keras.layers.BatchNormalization(), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    frozen = [array.tobytes() for array in base.get_weights()]
    with FakeSL(tmp_path, merge=plus(1)) as sl:
        fit(model, join(sl, SwarmCallback, onlyTrainable=True))
        assert sorted(name.split(".")[1] for name in sl.models[0]) == [
            "beta", "bias", "gamma", "kernel", "moving_mean", "moving_variance",
        ]  # fmt: skip
    assert [array.tobytes() for array in base.get_weights()] == frozen


def test_what_frozen_keras_layers_have_is_frozen_and_other_statistics_are_buffers() -> None:
    model = make_model()
    model.layers[0].trainable = False
    known = {"0.kernel": "frozen", "1.bias": "frozen", "4.moving_mean": "buffer", "5.moving_variance": "buffer"}
    roles = KerasWeights(model, only_trainable=False).roles()
    assert roles == {name: known.get(name, "parameter") for name, _ in ALL}
    model.layers[1].trainable = False  # its statistics stay as they are, too
    roles = KerasWeights(model, only_trainable=False).roles()
    assert [name for name, role in roles.items() if role != "frozen"] == ["6.kernel", "7.bias"]


@pytest.mark.parametrize("layer", [0, 1])
def test_freezing_or_unfreezing_keras_layers_during_a_training_with_only_trainable_is_an_error(
    tmp_path: Path, join: Join, layer: int
) -> None:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    model.layers[0].trainable = False
    model.compile("sgd", "mse")

    class Turning(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 0:
                model.layers[layer].trainable = not model.layers[layer].trainable

    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, onlyTrainable=True)
        kernel = re.escape(f"'{2 * layer}.kernel'")
        with pytest.raises(SwarmError, match=f"weights were frozen or unfrozen after training began: .*{kernel}"):
            model.fit(X, Y, epochs=2, verbose=0, callbacks=[callback, Turning()])


def test_sites_with_different_frozen_keras_weights_send_different_digests(tmp_path: Path, join: Join) -> None:
    def stated(value: float, trainable: bool = False) -> str:
        model = make_model()
        model.layers[0].trainable = trainable
        model.layers[0].set_weights([array * 0 + value for array in model.layers[0].get_weights()])
        with FakeSL(tmp_path) as sl:
            callback = join(sl, SwarmCallback, onlyTrainable=True)
            callback.set_model(model)
            callback.on_train_begin()
            digest = sl.of(Open)[0].fixed.frozen
        sl.path.unlink()
        assert isinstance(digest, str)
        return digest

    assert len(stated(1.0)) == 64
    assert stated(1.0) == stated(1.0) != stated(2.0)
    assert stated(1.0, trainable=True) == ""


@pytest.mark.parametrize(
    ("together", "frequency", "synced_after"),
    [
        (1, 2, [2, 4, 6, 8, 10, 12]),
        (2, 2, [2, 4, 6, 8, 10, 12]),
        (4, 4, [4, 10, 12]),  # the second execution of each epoch of six is cut short
        (3, 5, [6, 12]),  # 5 and 10: the batch beyond the fifth is the first of the next five
        (6, 4, [6, 12]),
        (100, 3, [6, 12]),
    ],
)
def test_batches_are_counted_however_many_keras_runs_in_one_execution(
    tmp_path: Path, join: Join, together: int, frequency: int, synced_after: list[int]
) -> None:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", steps_per_execution=together)
    done = []

    def merge(arrays: Arrays) -> Arrays:
        done.append(int(model.optimizer.iterations))
        return arrays

    with FakeSL(tmp_path, merge=merge) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=frequency, totalEpochs=2)
        model.fit(X[:12], Y[:12], epochs=2, batch_size=2, verbose=0, callbacks=[callback])
    assert done == [0, *synced_after, 12]
    assert callback._pace.steps == 12


def test_a_warning_is_logged_when_keras_runs_more_batches_in_one_execution_than_lie_between_syncs(
    tmp_path: Path, join: Join, log: Log
) -> None:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", steps_per_execution=4)
    with FakeSL(tmp_path) as sl:
        fit(model, join(sl, SwarmCallback, syncFrequency=3))
    assert any("Compile the model with steps_per_execution=3 or less" in text for text in log.texts("WARNING"))


def test_a_model_of_keras_2_is_refused_with_a_hint_at_the_bridge(tmp_path: Path, join: Join) -> None:
    class Sequential:
        """Not one of Keras 3, as those of tf_keras."""

    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback)
        with pytest.raises(SwarmError, match=r"it is a .*Sequential\. Keras 3 is needed .* Keras 2 use the bridge"):
            callback.set_model(Sequential())


def test_bfloat16_weights_of_keras_are_sent_and_loaded_as_they_are(tmp_path: Path, join: Join) -> None:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2, dtype="bfloat16")])
    model.compile("sgd", "mse")
    with FakeSL(tmp_path) as sl:
        fit(model, join(sl, SwarmCallback, syncFrequency=1))
        assert {spec.dtype for spec in sl.of(Open)[0].structure} == {"BF16"}
        kernel = model.weights[0]
        assert kernel.dtype == "bfloat16"
        assert kernel.value.numpy().tobytes() == sl.models[-1]["0.kernel"].tobytes()


def test_keras_mixed_precision_sends_the_float32_weights(tmp_path: Path, join: Join) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = make_model()
    finally:
        keras.config.set_dtype_policy("float32")
    with FakeSL(tmp_path) as sl:
        fit(model, join(sl, SwarmCallback, syncFrequency=1))
        assert {spec.dtype for spec in sl.of(Open)[0].structure} == {"F32"}


def test_a_second_fit_with_the_same_keras_callback_is_refused(tmp_path: Path, join: Join) -> None:
    model = make_model()
    with FakeSL(tmp_path) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=1)
        fit(model, callback)
        with pytest.raises(SwarmError, match="serve one training: do all epochs in it, or restart the script"):
            fit(model, callback)


@pytest.mark.usefixtures("loopback")
def test_a_custom_loop_that_has_not_set_the_keras_model_is_refused(log: Log) -> None:
    callback = SwarmCallback(1, 2, logger=log.logger)
    with pytest.raises(SwarmError, match=r"the model is not known: outside of fit\(\) call set_model\(model\)"):
        callback.on_train_begin()
    assert log.texts("ERROR") == []


@pytest.mark.usefixtures("loopback")
def test_a_keras_model_that_is_not_built_yet_is_refused(log: Log) -> None:
    model = keras.Sequential([keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    with pytest.raises(SwarmError, match=r"no weights before its first batch: call model\.build"):
        fit(model, SwarmCallback(1, 2, logger=log.logger))
    model.build((None, 4))
    fit(model, SwarmCallback(1, 2, logger=log.logger))


def test_validation_data_that_keras_cannot_evaluate_are_named_in_the_error(tmp_path: Path, join: Join) -> None:
    with FakeSL(tmp_path) as sl, pytest.raises(SwarmError, match="and evaluated: on the validation data, "):
        fit(make_model(), join(sl, SwarmCallback, adsValData=[X, Y]))


@pytest.mark.usefixtures("loopback")
def test_fit_with_a_loopback_callback_trains_as_without_it(log: Log) -> None:
    model, alone = make_model(), make_model()
    fit(model, SwarmCallback(1, 2, logger=log.logger, adsValData=(X, Y)))
    alone.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    assert [array.tobytes() for array in model.get_weights()] == [array.tobytes() for array in alone.get_weights()]


def test_the_trainable_variables_of_a_tensorflow_1_session_are_merged(tmp_path: Path, join: Join) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        with v1.variable_scope("net", use_resource=True):
            weights = v1.get_variable("w", (2, 3), initializer=v1.ones_initializer())
            narrow = v1.get_variable("b", (), tf.bfloat16, initializer=v1.ones_initializer())
            v1.get_variable("steps", (), trainable=False)
        session.run(v1.global_variables_initializer())
        with FakeSL(tmp_path, over_at=2, merge=lambda arrays: {n: a + 1 for n, a in arrays.items()}) as sl:
            callback = join(sl, SwarmCallback, syncFrequency=1, ml_platform="TF", tf=tf, sess=session)
            assert sl.of(Open)[0].roles == {"net/b:0": "parameter", "net/w:0": "parameter"}
            callback.on_train_begin()
            assert sorted(sl.models[0]) == ["net/b:0", "net/w:0"]
            assert session.run(weights).tolist() == [[2.0] * 3] * 2
            assert session.run(narrow).view(np.uint16) == sl.models[0]["net/b:0"] + 1
            callback.on_batch_end()
            assert callback.training_over
            callback.on_train_end()
            assert session.run(weights).tolist() == [[3.0] * 3] * 2


# --- sites that differ


@pytest.mark.parametrize(("settings", "scaled", "together"), OPTIMIZERS)
@pytest.mark.usefixtures("loopback")
def test_the_pull_in_keras_is_the_gradient_of_the_loss_form(
    log: Log, settings: dict[str, Any], scaled: bool, together: int
) -> None:
    """Without a swarm the model loaded is the first one."""
    model, other = (with_optimizer(settings, scaled, together) for _ in range(2))
    add_proximal_loss(other, 0.7)
    fit(model, SwarmCallback(99, 1, logger=log.logger, proximalMu=0.7), epochs=2)
    fit(other, keras.callbacks.Callback(), epochs=2)
    for mine, its in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-6)
    assert "apply" not in vars(getattr(model.optimizer, "inner_optimizer", model.optimizer))  # as it was


def test_keras_weights_are_pulled_to_the_merged_ones_and_personal_layers_are_left_alone(
    tmp_path: Path, join: Join
) -> None:
    model = make_model()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    first = model.get_weights()
    with FakeSL(tmp_path, merge=plus(1)) as sl:
        callback = join(sl, SwarmCallback, syncFrequency=99, proximalMu=2, localLayers=["[67].*"])
        kernel, last = model.trainable_variables[0], model.trainable_variables[-1]
        zero, seen = keras.ops.zeros((4, 3)), list[Any]()

        def look(batch: int, logs: Any) -> None:
            kernel.assign(kernel + 1)
            pull = cast(Any, callback)._proximal._pulled
            seen.extend((keras.ops.convert_to_numpy(pull(zero, kernel)), pull(None, kernel), pull(zero, last) is zero))

        looking = keras.callbacks.LambdaCallback(on_train_batch_end=look)
        model.fit(X[:8], Y[:8], batch_size=8, verbose=0, callbacks=[callback, looking])
        assert sorted(sl.models[0]) == [name for name, _ in ALL[:6]]
    np.testing.assert_allclose(seen[0], 2.0, rtol=1e-6)  # 1 away from the merged ones
    assert seen[1:] == [None, True]
    assert [np.array_equal(own, one) for own, one in zip(model.get_weights()[6:], first[6:], strict=True)] == [True] * 2


# --- parameters of this platform


def iter_nothing() -> Iterator[Any]:
    yield from ()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"ml_platform": "TF"}, "tf and sess params are must for Tensorflow platform"),
    ({"mlPlatform": "TF", "tf": tf}, "tf and sess params are must for Tensorflow platform"),
    ({"adsValData": (X,)}, "adsValData has 1 parts. It has to be (x, y) or (x, y, sample_weight)"),
    ({"adsValData": (X, Y), "adsValBatchSize": 0}, "adsValBatchSize has to be a positive integer"),
    ({"adsValData": iter_nothing()}, "adsValData has to generate 1 to 10000 batches; it generated 0"),
    ({"adsValData": ((X, Y) for _ in range(10**9))}, "it generated 10001"),
    ({"model": None}, "Unknown parameter model."),
    ({"proximalMu": -1}, "proximalMu has to be a number, 0 or more; it is -1"),
    ({"ml_platform": "TF", "tf": tf, "sess": 1, "proximalMu": 1}, "proximalMu is not for sessions of TensorFlow 1"),
]  # fmt: skip


@pytest.mark.parametrize(("keywords", "text"), WRONG, ids=[text[:30] for _, text in WRONG])
@pytest.mark.usefixtures("loopback")
def test_invalid_arguments_of_the_keras_callback_are_refused(log: Log, keywords: dict[str, Any], text: str) -> None:
    with pytest.raises(SwarmError) as caught:
        SwarmCallback(4, 2, logger=log.logger, **keywords)
    assert text in str(caught.value)
    assert log.texts("ERROR") == []  # raised: not reported a second time


@pytest.mark.usefixtures("loopback")
def test_a_keras_backend_that_keeps_weights_to_itself_during_fit_is_refused(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(SwarmError, match="Keras with the backend jax keeps a model's weights to itself during fit"):
        SwarmCallback(4, 2, logger=log.logger)


@pytest.mark.parametrize(("keywords", "text"), of_platforms("KERAS", "TF"), ids=str)
@pytest.mark.usefixtures("loopback")
def test_the_keras_callback_raises_the_documented_errors(log: Log, keywords: dict[str, Any], text: str) -> None:
    with pytest.raises(SwarmError) as caught:
        SwarmCallback(**{"syncFrequency": 4, "minPeers": 2, "logger": log.logger} | keywords)
    assert str(caught.value) == text
    assert log.texts("ERROR") == []  # raised: not reported a second time
