"""Breast cancer, a table of 30 measurements: five hospitals with few patients each train one classifier.

    swarm run -n 5 -- python examples/breast_cancer/train.py

The first layer standardises the measurements. What it has learned of them (their means and variances) is merged with
the rest of the model, so all hospitals come to the same scale and none has shown a patient.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from swarmlearning.pyt import SwarmCallback
from swarmlearning.tensors import file as tensor_file

EPOCHS = 20
BATCHES = 4  # in an epoch, at every hospital
TEST_PATIENTS = 143
REQUIRED = 0.93


def split(index: int, count: int) -> tuple[TensorDataset, TensorDataset]:
    """The patients of hospital `index` of `count`, drawn at random, and the held-out ones that are the same for all.

    Hospital 1 has twice as many as hospital 0, hospital 2 three times as many, and so on.
    """
    table, benign = load_breast_cancer(return_X_y=True)
    patients = np.random.default_rng(0).permutation(len(table))
    test, rest = np.split(patients, [TEST_PATIENTS])
    shares = np.cumsum(np.arange(1, count + 1))
    mine = np.split(rest, (shares / shares[-1] * len(rest)).astype(int))[index]
    return dataset(table[mine], benign[mine]), dataset(table[test], benign[test])


def dataset(table: np.ndarray, benign: np.ndarray) -> TensorDataset:
    return TensorDataset(torch.from_numpy(table.astype(np.float32)), torch.from_numpy(benign.astype(np.float32)))


def make_model() -> nn.Module:
    """From 30 measurements to the logit of "benign"."""
    return nn.Sequential(
        nn.BatchNorm1d(30, affine=False), nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0)
    )


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    """Fraction of the patients that the model diagnoses right."""
    table, benign = data.tensors
    model.eval()
    with torch.no_grad():
        return float(((model(table) > 0) == benign.bool()).float().mean())


def main() -> None:
    index, count = int(os.getenv("SWARM_INDEX", "0")), int(os.getenv("SWARM_COUNT", "1"))
    torch.manual_seed(index)
    train_data, test_data = split(index, count)
    loader = DataLoader(train_data, batch_size=-(-len(train_data) // BATCHES), shuffle=True)
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loss_function = nn.BCEWithLogitsLoss()
    callback = SwarmCallback(
        syncFrequency=BATCHES,
        minPeers=int(os.getenv("MIN_PEERS", "2")),
        model=model,
        totalEpochs=EPOCHS,
        nodeWeightage=index + 1,  # as its share of the patients
        adsValData=DataLoader(test_data, batch_size=len(test_data)),
        lossFunction="BCEWithLogitsLoss",
    )
    callback.on_train_begin()
    for epoch in range(EPOCHS):
        for table, benign in loader:
            optimizer.zero_grad()
            loss_function(model(table), benign).backward()
            optimizer.step()
            callback.on_batch_end()
        callback.on_epoch_end(epoch)
    callback.on_train_end()

    reached = accuracy(model, test_data)
    print(f"{len(train_data)} patients here, accuracy {reached:.4f} on {TEST_PATIENTS} of no hospital")
    if run_folder := os.getenv("SWARM_RUN_DIR"):
        save(Path(run_folder) / "sites" / os.environ["SWARM_SITE"], model, len(train_data), reached)
    if reached < REQUIRED:
        sys.exit(f"accuracy {reached:.4f} is below {REQUIRED}")


def save(folder: Path, model: nn.Module, samples: int, reached: float) -> None:
    """For the report of the run: what was reached here, and with which model."""
    tensors = {name: tensor_file.Tensor.of(value.numpy(), name) for name, value in model.state_dict().items()}
    tensor_file.write(folder / "model.safetensors", tensors)
    (folder / "metrics.json").write_text(json.dumps({"samples": samples, "accuracy": reached}))


if __name__ == "__main__":
    main()
