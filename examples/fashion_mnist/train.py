"""Articles of clothing: each site sells some kinds more than others, and trains on a GPU where it has one.

swarm run -n 3 -- python examples/fashion_mnist/train.py
"""

import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from swarmlearning.pyt import SwarmCallback
from swarmlearning.tensors import file as tensor_file

FOLDER = Path(os.getenv("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))  # of Debian's dataset-fashion-mnist
EPOCHS = int(os.getenv("MAX_EPOCHS", "4"))
IMAGES = int(os.getenv("IMAGES", "12000"))  # at all sites together, of 60,000; a sixth as many are held out
BATCHES = 40  # in an epoch, at every site: the larger ones take larger batches, and all are done at the same time
SKEW = 0.5  # of the Dirichlet distribution by which the sites share each class; the smaller, the more they differ
REQUIRED = 0.75


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images of 1 x 28 x 28 and their classes (0 to 9), to train on and held out; digits where there are no clothes."""
    if FOLDER.is_dir():
        return *read("train", IMAGES), *read("t10k", IMAGES // 6)
    print(f"{FOLDER} is missing (apt-get install dataset-fashion-mnist): handwritten digits take its place")
    digits, labels = load_digits(return_X_y=True)
    images = np.pad(np.kron(digits.reshape(-1, 8, 8) / 16, np.ones((3, 3))), ((0, 0), (2, 2), (2, 2)))
    images = images[:, None].astype(np.float32)
    return images[:1400], labels[:1400], images[1400:], labels[1400:]


def read(name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images and labels, from the IDX format: a header of 16 or 8 bytes, then a byte a pixel or label."""
    pixels, labels = (
        np.frombuffer(gzip.decompress((FOLDER / f"{name}-{kind}.gz").read_bytes()), np.uint8, offset=header)
        for kind, header in (("images-idx3-ubyte", 16), ("labels-idx1-ubyte", 8))
    )
    return pixels.reshape(-1, 1, 28, 28)[:count].astype(np.float32) / 255, labels[:count].astype(np.int64)


def split(labels: np.ndarray, index: int, count: int) -> np.ndarray:
    """Rows of site `index` of `count`. Each class is shared by chance, by the same chance at all sites."""
    chance = np.random.default_rng(0)
    mine = []
    for label in range(10):
        rows = chance.permutation(np.flatnonzero(labels == label))
        bounds = (np.cumsum([0, *chance.dirichlet([SKEW] * count)]) * len(rows)).round().astype(int)
        mine.append(rows[bounds[index] : bounds[index + 1]])
    return np.concatenate(mine)


def make_model() -> nn.Module:
    """A small convolutional network: images of 1 x 28 x 28 to 10 classes."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(4)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(288, 10)),
    )


def accuracy(model: nn.Module, data: DataLoader[Any], device: str) -> float:
    """Fraction of the images that the model names right."""
    model.eval()
    with torch.no_grad():
        right = sum(int((model(x.to(device)).argmax(1).cpu() == y).sum()) for x, y in data)
    return right / len(data.dataset)  # type: ignore[arg-type]


def main() -> None:
    index, count = int(os.getenv("SWARM_INDEX", "0")), int(os.getenv("SWARM_COUNT", "1"))
    torch.manual_seed(index)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, labels, test_images, test_labels = (torch.from_numpy(array) for array in load())
    rows = split(labels.numpy(), index, count)
    data = TensorDataset(images[rows], labels[rows])
    loader = DataLoader(data, batch_size=-(-len(data) // BATCHES), shuffle=True)
    test = DataLoader(TensorDataset(test_images, test_labels), batch_size=500)
    model = make_model().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    swarm = SwarmCallback(
        syncFrequency=10,
        minPeers=int(os.getenv("MIN_PEERS", "2")),
        model=model,
        totalEpochs=EPOCHS,
        nodeWeightage=max(1, round(100 * len(data) / len(images))),  # who has more images counts for more
        adsValData=test,
        lossFunction="CrossEntropyLoss",
        metricFunction="Accuracy",
        metricFunctionArgs={"task": "multiclass", "num_classes": 10},
    )
    swarm.on_train_begin()
    for epoch in range(EPOCHS):
        for x, y in loader:
            optimizer.zero_grad()
            with torch.autocast(device, enabled=device == "cuda"):
                loss = nn.functional.cross_entropy(model(x.to(device)), y.to(device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            swarm.on_batch_end(logs={"size": len(x)})
        swarm.on_epoch_end(epoch)
    swarm.on_train_end()

    reached = accuracy(model, test, device)
    print(f"{len(data)} images here, accuracy {reached:.4f} on {len(test_images)} that no site has trained on")
    if run_folder := os.getenv("SWARM_RUN_DIR"):
        save(Path(run_folder) / "sites" / os.environ["SWARM_SITE"], model, len(data), reached)
    if reached < REQUIRED:
        sys.exit(f"an accuracy of {REQUIRED} is expected")


def save(folder: Path, model: nn.Module, samples: int, reached: float) -> None:
    """For the report of the run: what was reached here, and with which model."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor_file.Tensor.of(value.cpu().numpy(), name) for name, value in model.state_dict().items()}
    tensor_file.write(folder / "model.safetensors", tensors)
    (folder / "metrics.json").write_text(json.dumps({"samples": samples, "accuracy": reached}))


if __name__ == "__main__":
    main()
