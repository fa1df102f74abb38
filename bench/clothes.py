"""Fashion-MNIST, as Debian's package has it."""

import gzip
import os
from pathlib import Path

import numpy as np

from swarmlearning.tensors.file import Array

FOLDER = Path(os.getenv("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
MISSING = f"{FOLDER} is missing: apt-get install dataset-fashion-mnist"


def images(name: str) -> Array:
    """`train` or `t10k`: pixels (n, 784) from 0 to 1, float32."""
    with gzip.open(FOLDER / f"{name}-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / 255


def labels(name: str) -> Array:
    """Classes (n,) from 0 to 9, as bytes."""
    with gzip.open(FOLDER / f"{name}-labels-idx1-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=8)
