"""What several benchmarks read."""

import gzip
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A data set of that format with 128 random images."""
    dice = np.random.default_rng(1)
    for name in ("train", "t10k"):
        for kind, header, values in (("images-idx3", 16, 784), ("labels-idx1", 8, 1)):
            data = bytes(header) + dice.integers(0, 10, 128 * values).astype(np.uint8).tobytes()
            (tmp_path / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(data))
    return tmp_path
