"""A table of measurements with Keras: one callback in `fit` makes three hospitals one swarm.

swarm run -n 3 -- python examples/keras_tabular/train.py
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from sklearn.datasets import load_breast_cancer

from swarmlearning.tensors import file as tensor_file
from swarmlearning.tf import SwarmCallback

BATCHES = 4  # in an epoch, at every hospital
TEST_PATIENTS = 143
REQUIRED = 0.9


def split(index: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The patients of hospital `index` of `count` (x, y), drawn at random, and the held-out ones (x, y)."""
    table, benign = load_breast_cancer(return_X_y=True)
    patients = np.random.default_rng(0).permutation(len(table))
    test, rest = np.split(patients, [TEST_PATIENTS])
    mine = rest[index::count]
    return table[mine].astype(np.float32), benign[mine], table[test].astype(np.float32), benign[test]


def make_model() -> keras.Model:
    """From 30 measurements to the probability of "benign". Its first layer learns to standardise them."""
    model = keras.Sequential(
        [
            keras.layers.Input((30,)),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    return model


def main() -> None:
    index, count = int(os.getenv("SWARM_INDEX", "0")), int(os.getenv("SWARM_COUNT", "1"))
    epochs = int(os.getenv("MAX_EPOCHS", "20"))
    keras.utils.set_random_seed(index)
    x, y, test_x, test_y = split(index, count)
    model = make_model()
    swarm = SwarmCallback(
        syncFrequency=BATCHES,
        minPeers=int(os.getenv("MIN_PEERS", "2")),
        totalEpochs=epochs,
        adsValData=(test_x, test_y),
        adsValBatchSize=64,
    )
    model.fit(x, y, batch_size=-(-len(x) // BATCHES), epochs=epochs, verbose=0, callbacks=[swarm])

    _, reached = model.evaluate(test_x, test_y, verbose=0)
    print(f"{len(x)} patients here, accuracy {reached:.4f} on {TEST_PATIENTS} of no hospital")
    if run_folder := os.getenv("SWARM_RUN_DIR"):
        save(Path(run_folder) / "sites" / os.environ["SWARM_SITE"], model, len(x), reached)
    if reached < REQUIRED:
        sys.exit(f"accuracy {reached:.4f} is below {REQUIRED}")


def save(folder: Path, model: keras.Model, samples: int, reached: float) -> None:
    """For the report of the run: what was reached here, and with which model."""
    names = [f"{place}.{weight.name}" for place, weight in enumerate(model.weights)]
    arrays = zip(names, model.get_weights(), strict=True)
    tensors = {name: tensor_file.Tensor.of(array, name) for name, array in arrays}
    tensor_file.write(folder / "model.safetensors", tensors)
    (folder / "metrics.json").write_text(json.dumps({"samples": samples, "accuracy": reached}))


if __name__ == "__main__":
    main()
