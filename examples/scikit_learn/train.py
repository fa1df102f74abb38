"""Handwritten digits with scikit-learn: an estimator with `partial_fit` is a member of a swarm.

    swarm run -n 3 -- python examples/scikit_learn/train.py

Three of the ten digits are at one site only each, so no site alone can learn them all.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

from swarmlearning.sklearn import SwarmCallback
from swarmlearning.tensors import file as tensor_file

BATCHES = 10  # in an epoch, at every site
REQUIRED = 0.9


def split(index: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns the training data (x, y) of site `index` of `count`, and the held-out set (x, y), the same for all.

    Digit 0 is at site 0 only, digit 1 at site 1 only, and so on; the digits from `count` on are at all sites.
    """
    images, digits = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        images / 16, digits, test_size=0.25, stratify=digits, random_state=0
    )
    sites = np.where(train_y < count, train_y, np.arange(len(train_y)) % count)
    return train_x[sites == index], train_y[sites == index], test_x, test_y


def main() -> None:
    index, count = int(os.getenv("SWARM_INDEX", "0")), int(os.getenv("SWARM_COUNT", "1"))
    epochs = int(os.getenv("MAX_EPOCHS", "20"))
    x, y, test_x, test_y = split(index, count)
    model = SGDClassifier(loss="log_loss", alpha=0.001, random_state=index)
    swarm = SwarmCallback(
        syncFrequency=BATCHES // 2,
        minPeers=int(os.getenv("MIN_PEERS", "2")),
        totalEpochs=epochs,
        model=model,
        initData=(x[:10], y[:10]),
        classes=np.arange(10),  # also those that this site does not have
        adsValData=(test_x, test_y),
        lossFunction="log_loss",
        metricFunction="accuracy_score",
    )
    random = np.random.default_rng(index)
    swarm.on_train_begin()
    for epoch in range(epochs):
        for batch in np.array_split(random.permutation(len(x)), BATCHES):
            model.partial_fit(x[batch], y[batch])
            swarm.on_batch_end()
        swarm.on_epoch_end(epoch)
    swarm.on_train_end()

    reached = model.score(test_x, test_y)
    print(f"{len(x)} images here, accuracy {reached:.4f} on {len(test_x)} that no site has trained on")
    if run_folder := os.getenv("SWARM_RUN_DIR"):
        save(Path(run_folder) / "sites" / os.environ["SWARM_SITE"], model, len(x), reached)
    if reached < REQUIRED:
        sys.exit(f"accuracy {reached:.4f} is below {REQUIRED}")


def save(folder: Path, model: SGDClassifier, samples: int, reached: float) -> None:
    """For the report of the run: what was reached here, and with which model."""
    tensors = {name: tensor_file.Tensor.of(getattr(model, name), name) for name in ("coef_", "intercept_")}
    tensor_file.write(folder / "model.safetensors", tensors)
    (folder / "metrics.json").write_text(json.dumps({"samples": samples, "accuracy": reached}))


if __name__ == "__main__":
    main()
