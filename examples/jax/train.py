"""Handwritten digits with JAX: plain functions and parameters in a dict are all that a swarm needs.

swarm run -n 3 -- python examples/jax/train.py
"""

import json
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from swarmlearning import Swarm
from swarmlearning.tensors import file as tensor_file

BATCHES = 10  # in an epoch, at every site
REQUIRED = 0.9

Parameters = dict[str, dict[str, jax.Array]]


def split(index: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns the training data (x, y) of site `index` of `count`, and the held-out set (x, y), the same for all.

    A site has every `count`-th image.
    """
    images, digits = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        images.astype(np.float32) / 16, digits, test_size=0.25, stratify=digits, random_state=0
    )
    return train_x[index::count], train_y[index::count], test_x, test_y


def make_parameters(seed: int) -> Parameters:
    """A perceptron with one hidden layer: 64 pixels, 32 units, 10 digits."""
    first, second = jax.random.split(jax.random.key(seed))
    return {
        "hidden": {"weights": jax.random.normal(first, (64, 32)) / 8, "bias": jnp.zeros(32)},
        "output": {"weights": jax.random.normal(second, (32, 10)) / 6, "bias": jnp.zeros(10)},
    }


def predict(parameters: Parameters, x: jax.Array) -> jax.Array:
    """Images (n, 64) to logits (n, 10)."""
    hidden = jax.nn.relu(x @ parameters["hidden"]["weights"] + parameters["hidden"]["bias"])
    return hidden @ parameters["output"]["weights"] + parameters["output"]["bias"]


def loss(parameters: Parameters, x: jax.Array, y: jax.Array) -> jax.Array:
    """Mean cross-entropy."""
    logits = jax.nn.log_softmax(predict(parameters, x))
    return -jnp.mean(logits[jnp.arange(len(y)), y])


def descend(parameters: Parameters, x: jax.Array, y: jax.Array) -> Parameters:
    """One step of gradient descent."""
    gradients = jax.grad(loss)(parameters, x, y)
    stepped: Parameters = jax.tree.map(lambda value, gradient: value - 0.5 * gradient, parameters, gradients)
    return stepped


update = jax.jit(descend)


def main() -> None:
    index, count = int(os.getenv("SWARM_INDEX", "0")), int(os.getenv("SWARM_COUNT", "1"))
    epochs = int(os.getenv("MAX_EPOCHS", "20"))
    x, y, test_x, test_y = split(index, count)
    size = len(x) // BATCHES
    random = np.random.default_rng(index)

    def evaluate(parameters: Parameters) -> tuple[float, float]:
        return float(loss(parameters, test_x, test_y)), accuracy(parameters)

    def accuracy(parameters: Parameters) -> float:
        return float(jnp.mean(predict(parameters, test_x).argmax(1) == test_y))

    with Swarm(
        make_parameters(seed=index),
        sync_frequency=BATCHES,
        min_peers=int(os.getenv("MIN_PEERS", "2")),
        total_epochs=epochs,
        evaluate=evaluate,
    ) as swarm:
        parameters = swarm.parameters
        for _ in range(epochs):
            order = random.permutation(len(x))
            for batch in order[: BATCHES * size].reshape(BATCHES, size):
                parameters = swarm.step(update(parameters, x[batch], y[batch]))
            swarm.end_epoch()

    reached = accuracy(swarm.parameters)
    print(f"{len(x)} images here, accuracy {reached:.4f} on {len(test_x)} that no site has trained on")
    if run_folder := os.getenv("SWARM_RUN_DIR"):
        save(Path(run_folder) / "sites" / os.environ["SWARM_SITE"], swarm.parameters, len(x), reached)
    if reached < REQUIRED:
        sys.exit(f"accuracy {reached:.4f} is below {REQUIRED}")


def save(folder: Path, parameters: Parameters, samples: int, reached: float) -> None:
    """For the report of the run: what was reached here, and with which model."""
    named = {f"{layer}.{name}": np.asarray(value) for layer, own in parameters.items() for name, value in own.items()}
    tensors = {name: tensor_file.Tensor.of(value, name) for name, value in named.items()}
    tensor_file.write(folder / "model.safetensors", tensors)
    (folder / "metrics.json").write_text(json.dumps({"samples": samples, "accuracy": reached}))


if __name__ == "__main__":
    main()
