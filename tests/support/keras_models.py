"""A small Keras model and its data, for tests of its callback. Imported by those alone: Keras leaves traces."""

from typing import Any

import keras
import numpy as np

X = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
Y = X[:, :2] * 2
ALL = [
    ("0.kernel", (4, 3)), ("1.bias", (3,)), ("2.gamma", (3,)), ("3.beta", (3,)), ("4.moving_mean", (3,)),
    ("5.moving_variance", (3,)), ("6.kernel", (3, 2)), ("7.bias", (2,)),
]  # fmt: skip

OPTIMIZERS: list[tuple[dict[str, Any], bool, int]] = [
    ({}, False, 1), ({"clipnorm": 0.2}, False, 2), ({"clipnorm": 0.2}, True, 1), ({"loss_scale_factor": 8.0}, False, 1),
    ({"gradient_accumulation_steps": 3, "global_clipnorm": 0.2}, False, 1),
]  # fmt: skip
"""Settings of an optimizer, whether its loss is scaled, and the batches that Keras trains at a time."""


def make_model(dropout: float = 0.0) -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((4,)),
            keras.layers.Dense(3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(2),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    return model


def fit(model: Any, callback: Any, epochs: int = 1, **more: Any) -> Any:
    return model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=[callback], **more)


def with_optimizer(settings: dict[str, Any], scaled: bool, together: int) -> Any:
    """A model that was trained for an epoch, `together` batches at a time, by an optimizer with these settings."""
    model = make_model()
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, **settings)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1024.0)
    model.compile(optimizer, "mse", steps_per_execution=together)
    fit(model, keras.callbacks.Callback())
    return model


def add_proximal_loss(model: Any, mu: float) -> None:
    """From now on the loss has mu / 2 * ||w - w_now||^2 of the trainable weights in it."""
    for weight in model.trainable_variables:
        first = weight.numpy()
        weight.regularizer = lambda value, first=first: 0.5 * mu * keras.ops.sum((value - first) ** 2)
    model.train_function = None
