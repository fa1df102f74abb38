"""Handwritten digits: each site lacks some of them, so no site alone can learn them all.

    swarm run -n 3 -- python examples/digits/train.py

An ordinary PyTorch script. Five lines make it a member of a swarm, each marked with `# swarm`.
"""

import json
import os
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from swarmlearning.pyt import SwarmCallback
from swarmlearning.tensors import file as tensor_file

EPOCHS = 15
BATCHES = 10  # in an epoch, at every site: the larger ones take larger batches, and all are done at the same time


def split(index: int, count: int) -> tuple[TensorDataset, TensorDataset]:
    """Returns the training data of site `index` of `count`, and the held-out set that is the same for all.

    Site 0 has no 0 and no 5, site 1 no 1 and no 6, and so on up to site 4; later sites have more images.
    With a count of 1 the one site has everything: pooled data.
    """
    images, digits = load_digits(return_X_y=True)
    images = (images / 16).reshape(-1, 1, 8, 8).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(images, digits, test_size=0.25, stratify=digits, random_state=0)
    mine = []
    for digit in range(10):
        rows = np.flatnonzero(train_y == digit)
        owners = [site for site in range(count) if count == 1 or site != digit % 5]
        shares = np.cumsum([0] + [site + 1 for site in owners])
        bounds = (shares / shares[-1] * len(rows)).round().astype(int)
        for site, start, end in zip(owners, bounds, bounds[1:], strict=False):
            if site == index:
                mine.append(rows[start:end])
    chosen = np.concatenate(mine)
    return dataset(train_x[chosen], train_y[chosen]), dataset(test_x, test_y)


def dataset(images: np.ndarray, digits: np.ndarray) -> TensorDataset:
    return TensorDataset(torch.from_numpy(images), torch.from_numpy(digits))


def make_model() -> nn.Module:
    """A small convolutional network: images of 1 x 8 x 8 to 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    """Fraction of the images that the model names right."""
    images, digits = data.tensors
    model.eval()
    with torch.no_grad():
        return float((model(images).argmax(1) == digits).float().mean())


def main() -> None:
    index, count = int(os.getenv("SWARM_INDEX", "0")), int(os.getenv("SWARM_COUNT", "1"))
    torch.manual_seed(index + 100 * int(os.getenv("SEED", "0")))
    train_data, test_data = split(index, count)
    loader = DataLoader(train_data, batch_size=-(-len(train_data) // BATCHES), shuffle=True)
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loss_function = nn.CrossEntropyLoss()
    callback = SwarmCallback(  # swarm
        syncFrequency=5,
        useAdaptiveSync=os.getenv("ADAPTIVE_SYNC") == "True",
        minPeers=int(os.getenv("MIN_PEERS", "2")),
        model=model,
        totalEpochs=EPOCHS,
        adsValData=DataLoader(test_data, batch_size=len(test_data)),
        lossFunction="CrossEntropyLoss",
        metricFunction="Accuracy",
        metricFunctionArgs={"task": "multiclass", "num_classes": 10},
    )
    callback.on_train_begin()  # swarm
    for epoch in range(EPOCHS):
        for images, digits in loader:
            optimizer.zero_grad()
            loss_function(model(images), digits).backward()
            optimizer.step()
            callback.on_batch_end()  # swarm
        callback.on_epoch_end(epoch)  # swarm
    callback.on_train_end()  # swarm

    reached = accuracy(model, test_data)
    print(f"{len(train_data)} images here, accuracy {reached:.4f} on {len(test_data)} that no site has trained on")
    if run_folder := os.getenv("SWARM_RUN_DIR"):
        save(Path(run_folder) / "sites" / os.environ["SWARM_SITE"], model, len(train_data), reached)


def save(folder: Path, model: nn.Module, samples: int, reached: float) -> None:
    """For the report of the run: what was reached here, and with which model."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor_file.Tensor.of(value.numpy(), name) for name, value in model.state_dict().items()}
    tensor_file.write(folder / "model.safetensors", tensors)
    (folder / "metrics.json").write_text(json.dumps({"samples": samples, "accuracy": reached}))


if __name__ == "__main__":
    main()
