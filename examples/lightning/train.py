"""Handwritten digits with Lightning: one callback of the Trainer makes three sites one swarm.

swarm run -n 3 -- python examples/lightning/train.py
"""

import json
import os
import sys
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from swarmlearning.lightning import SwarmCallback
from swarmlearning.tensors import file as tensor_file

BATCHES = 10  # in an epoch, at every site
REQUIRED = 0.9


def split(index: int, count: int) -> tuple[TensorDataset, TensorDataset]:
    """Returns site `index`'s data, every `count`-th image, and the held-out set that is the same for all."""
    images, digits = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        images.astype(np.float32) / 16, digits, test_size=0.25, stratify=digits, random_state=0
    )
    return dataset(train_x[index::count], train_y[index::count]), dataset(test_x, test_y)


def dataset(images: np.ndarray, digits: np.ndarray) -> TensorDataset:
    return TensorDataset(torch.from_numpy(images), torch.from_numpy(digits))


class Digits(pl.LightningModule):  # type: ignore[misc]  # Any where Lightning is missing
    """64 pixels to 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(images)
        return logits

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        images, digits = batch
        return nn.functional.cross_entropy(self(images), digits)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


def main() -> None:
    index, count = int(os.getenv("SWARM_INDEX", "0")), int(os.getenv("SWARM_COUNT", "1"))
    epochs = int(os.getenv("MAX_EPOCHS", "10"))
    torch.manual_seed(index)
    train_data, test_data = split(index, count)
    model = Digits()
    swarm = SwarmCallback(
        syncFrequency=BATCHES // 2,
        minPeers=int(os.getenv("MIN_PEERS", "2")),
        totalEpochs=epochs,
        adsValData=DataLoader(test_data, batch_size=len(test_data)),
        lossFunction="CrossEntropyLoss",
    )
    trainer = pl.Trainer(
        max_epochs=epochs,
        callbacks=[swarm],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(train_data, batch_size=-(-len(train_data) // BATCHES), shuffle=True))

    reached = accuracy(model, test_data)
    print(f"{len(train_data)} images here, accuracy {reached:.4f} on {len(test_data)} that no site has trained on")
    if run_folder := os.getenv("SWARM_RUN_DIR"):
        save(Path(run_folder) / "sites" / os.environ["SWARM_SITE"], model, len(train_data), reached)
    if reached < REQUIRED:
        sys.exit(f"accuracy {reached:.4f} is below {REQUIRED}")


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    """Fraction of the images that the model names right."""
    images, digits = data.tensors
    model.eval()
    with torch.no_grad():
        return float((model(images).argmax(1) == digits).float().mean())


def save(folder: Path, model: nn.Module, samples: int, reached: float) -> None:
    """For the report of the run: what was reached here, and with which model."""
    tensors = {name: tensor_file.Tensor.of(value.numpy(), name) for name, value in model.state_dict().items()}
    tensor_file.write(folder / "model.safetensors", tensors)
    (folder / "metrics.json").write_text(json.dumps({"samples": samples, "accuracy": reached}))


if __name__ == "__main__":
    main()
