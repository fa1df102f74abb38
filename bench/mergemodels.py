"""Model files to merge: nearby models of many sites, as late in training, and one outlier."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from swarmlearning.tensors.file import overwrite, write_at

ITEM = 4  # bytes of a float32
PIECE = 2**22  # elements written at once
SPARE = 2 * 10**9  # bytes of disk and of memory left to others


def shortage(folder: Path, nodes: int, params: int, uncached: bool) -> str:
    """Why models of this size cannot be merged here; empty when they can.

    Their files, the previous result and the new one have to fit on the disk, and unless they may be `uncached`, into
    memory as its cache.
    """
    need = (nodes + 2) * params * ITEM + SPARE
    there = {"disk": psutil.disk_usage(str(folder)).free}
    if not uncached:
        there["memory"] = psutil.virtual_memory().available
    for what, free in there.items():
        if free < need:
            return f"needs {need / 1e9:.1f} GB of {what}, {free / 1e9:.1f} GB are free"
    return ""


def write_models(folder: Path, nodes: int, params: int) -> tuple[list[Path], Path]:
    """Writes a model of so many float32 parameters for each node, and the previous result."""
    previous = folder / "previous"
    _write(previous, params, seeds=(0,), scales=(1.0,))
    models = [folder / f"model-{index:02}" for index in range(nodes)]
    for index, path in enumerate(models):
        scale = 1.0 if index == nodes - 1 else 0.01 * (1 + index % 4)
        _write(path, params, seeds=(0, index + 1), scales=(1.0, scale))
    return models, previous


def _write(path: Path, params: int, seeds: Sequence[int], scales: Sequence[float]) -> None:
    """Σ scale · noise(seed). The noise is one piece of random numbers, turned by another distance each time."""
    noise = np.random.default_rng(1).standard_normal(PIECE + 1, dtype=np.float32)[: min(PIECE, params)]
    with overwrite(path, [("weight", "F32", (params,))]) as (fd, header):
        for number, start in enumerate(range(0, params, PIECE)):
            count = min(PIECE, params - start)
            values = sum(
                np.float32(scale) * np.roll(noise, 7919 * (seed + 101 * number))
                for seed, scale in zip(seeds, scales, strict=True)
            )
            write_at(fd, np.asarray(values, np.float32)[:count].data, header.data_start + start * ITEM)
