"""What `traffic.py` trains: three models, and data that six sites share unequally."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from clothes import images, labels

ROOT = Path(__file__).parent.parent
SITES = 6
SKEW = 0.3  # of the Dirichlet distribution by which sites share each class
IMAGES, TESTED = 12_000, 4_000
CONTEXT, LETTERS = 64, 128


class Data(NamedTuple):
    """Inputs and labels of each site, and those on which the merged model is measured."""

    sites: list[tuple[Tensor, Tensor]]
    test: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Task:
    """`batches` in all, at each site; a round of float32 means comes after `interval` of them.

    `points`: whether the figure is an accuracy, in percent, of which more is better; else it is a loss.
    """

    name: str
    build: Callable[[], nn.Module]
    data: Callable[[int], Data]
    batches: int
    interval: int
    batch: int
    rate: float
    points: bool

    def measure(self, model: nn.Module, test: tuple[Tensor, Tensor]) -> float:
        """Accuracy in percent, or the loss."""
        model.eval()
        with torch.no_grad():
            output = torch.cat([model(test[0][at : at + 1000]) for at in range(0, len(test[0]), 1000)])
        if self.points:
            return 100 * float((output.argmax(-1) == test[1]).float().mean())
        return float(loss_of(output, test[1]))


def loss_of(output: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of (n, classes), or (n, length, classes)."""
    return functional.cross_entropy(output.flatten(0, -2), labels.flatten())


# --- Fashion-MNIST ----------------------------------------------------------------------------------------------------


def clothes(seed: int) -> Data:
    """Images, of which each class is shared by a chance that differs from seed to seed."""
    inputs, names = pictures("train", IMAGES)
    shares = split(names.numpy(), np.random.default_rng(seed))
    return Data([(inputs[rows], names[rows]) for rows in shares], pictures("t10k", TESTED))


def pictures(name: str, count: int) -> tuple[Tensor, Tensor]:
    """The first images (n, 1, 28, 28), and their classes."""
    inputs, names = images(name)[:count].reshape(-1, 1, 28, 28), labels(name)[:count].astype(np.int64)
    return torch.from_numpy(inputs), torch.from_numpy(names)


def split(labels: np.ndarray, chance: np.random.Generator) -> list[np.ndarray]:
    """The rows of each site; all have at least a batch."""
    mine: list[list[np.ndarray]] = [[] for _ in range(SITES)]
    for label in np.unique(labels):
        rows = chance.permutation(np.flatnonzero(labels == label))
        bounds = (np.cumsum(chance.dirichlet([SKEW] * SITES))[:-1] * len(rows)).round().astype(int)
        for site, part in zip(mine, np.split(rows, bounds), strict=True):
            site.append(part)
    return [np.concatenate([*parts, chance.integers(0, len(labels), 64)]) for parts in mine]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))


class Block(nn.Module):
    """Two convolutions with batch norm, and the way around them."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outside), nn.BatchNorm2d(outside)])
        self.around = nn.Conv2d(inside, outside, 1, stride, bias=False) if inside != outside else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(self.norms[1](self.second(inner)) + self.around(x))


def resnet() -> nn.Module:
    """A small ResNet with batch norm: 210,000 parameters."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(Block(16, 16, 1), Block(16, 32, 2), Block(32, 128, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)),
    )


# --- text -------------------------------------------------------------------------------------------------------------


class Transformer(nn.Module):
    """Says the next letter of a text; two layers, 88,000 parameters."""

    def __init__(self, width: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(LETTERS, width), nn.Embedding(CONTEXT, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.out = nn.Linear(width, LETTERS)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.letters(x) + self.places.weight[: x.shape[1]]
        output: Tensor = self.out(self.layers(hidden, mask=self.mask, is_causal=True))
        return output


def texts(seed: int) -> Data:
    """This project's documentation; each site has pages of its own, of each of which the end is held out."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    order = np.random.default_rng(seed).permutation(len(pages))
    shares = [[windows(pages[at]) for at in order[site::SITES]] for site in range(SITES)]
    sites = [_pairs([page[: -max(1, len(page) // 8)] for page in share]) for share in shares]
    held_out = _pairs([page[-max(1, len(page) // 8) :] for share in shares for page in share])
    return Data(sites, (held_out[0][:1000], held_out[1][:1000]))


def windows(page: Path) -> Tensor:
    """Runs of letters, each with the one that follows it."""
    letters = np.frombuffer(page.read_text().encode("ascii", "replace"), np.uint8).astype(np.int64)
    count = max(2, len(letters) // CONTEXT - 1)
    letters = np.resize(letters, count * CONTEXT + 1)
    return torch.from_numpy(np.stack([letters[at : at + CONTEXT + 1] for at in range(0, count * CONTEXT, CONTEXT)]))


def _pairs(pages: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    runs = torch.cat(list(pages))
    return runs[:, :-1], runs[:, 1:]


TASKS = {
    task.name: task
    for task in (
        Task("mlp", mlp, clothes, batches=960, interval=20, batch=32, rate=1e-3, points=True),
        Task("resnet", resnet, clothes, batches=640, interval=20, batch=32, rate=2e-3, points=True),
        Task("transformer", Transformer, texts, batches=480, interval=20, batch=16, rate=1e-3, points=False),
    )
}
