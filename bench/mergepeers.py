"""The time in which other frameworks merge the same models: run by `bench/merge.py` with an interpreter that has them.

Prints one JSON object: name -> {"seconds", "same", "note"}. `same`: whether the result is that of `--result`; of a
geometric median, whether the sum of distances is. Models and result are float32 behind a safetensors header.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import MagicMock

import numpy as np

CLOSE = 1e-6
PIECE = 2**22
RUNS = 5
ENOUGH_SECONDS = 3.0
"""A peer is timed `RUNS` times, and no more once it has had so long; the fastest counts."""

LIKENESS = {True: "the same result", False: "left out, another result"}

Vector = np.ndarray[Any, np.dtype[np.float32]]
Timed = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("models", type=Path, nargs="+")
    options = parser.parse_args()
    # byzfl imports it for its data sets; the one that pip finds is not made for every build of PyTorch.
    sys.modules["torchvision"] = MagicMock()
    models, result = [_load(path) for path in options.models], _load(options.result)
    found: dict[str, Timed] = {}
    for name, measure in PEERS[options.method].items():
        try:
            found[name] = measure(models, result)
        except ImportError as error:
            found[name] = {"seconds": 0.0, "same": False, "note": f"left out, not installed: {error}"}
    print(json.dumps(found))


def _flower_mean(models: list[Vector], result: Vector) -> Timed:
    from flwr.server.strategy.aggregate import aggregate

    return _timed(lambda: aggregate([([model], 1) for model in models])[0], result)


def _byzfl_mean(models: list[Vector], result: Vector) -> Timed:
    import byzfl

    return _timed(lambda: byzfl.Average()(models), result)


def _flower_median(models: list[Vector], result: Vector) -> Timed:
    from flwr.server.strategy.aggregate import aggregate_median

    return _timed(lambda: aggregate_median([([model], 1) for model in models])[0], result)


def _byzfl_median(models: list[Vector], result: Vector) -> Timed:
    import byzfl

    return _timed(lambda: byzfl.Median()(models), result)


def _geom_median(models: list[Vector], result: Vector) -> Timed:
    import torch
    from geom_median.torch import compute_geometric_median

    points = [torch.from_numpy(model) for model in models]
    return _iterated(
        lambda steps: np.asarray(compute_geometric_median(points, maxiter=steps, ftol=0.0).median), models, result
    )


def _byzfl_geometric_median(models: list[Vector], result: Vector) -> Timed:
    import byzfl
    import torch

    points = [torch.from_numpy(model) for model in models]
    return _iterated(lambda steps: np.asarray(byzfl.GeometricMedian(nu=CLOSE, T=steps)(points)), models, result)


PEERS: dict[str, dict[str, Callable[[list[Vector], Vector], Timed]]] = {
    "mean": {"flwr": _flower_mean, "byzfl": _byzfl_mean},
    "coordmedian": {"flwr": _flower_median, "byzfl": _byzfl_median},
    "geomedian": {"geom-median": _geom_median, "byzfl": _byzfl_geometric_median},
}


def _fastest(work: Callable[[], Vector]) -> tuple[float, Vector]:
    """Seconds, and what came of it."""
    taken: list[float] = []
    while len(taken) < RUNS and sum(taken) < ENOUGH_SECONDS:
        begin = perf_counter()
        merged = work()
        taken.append(perf_counter() - begin)
    return min(taken), merged


def _timed(work: Callable[[], Vector], result: Vector) -> Timed:
    seconds, merged = _fastest(work)
    error = float(np.abs(merged - result).max())
    same = error <= 10 * CLOSE
    return {"seconds": seconds, "same": same, "note": f"{LIKENESS[same]}, largest difference {error:.1e}"}


def _iterated(work: Callable[[int], Vector], models: Sequence[Vector], result: Vector) -> Timed:
    """With as few iterations (of 1, 2, 4, …) as bring the objective down to that of `result`."""
    least, steps = _objective(models, result), 1
    while True:
        seconds, merged = _fastest(partial(work, steps))
        above = _objective(models, merged) / least - 1
        if above <= CLOSE or steps == 64:
            same = abs(above) <= CLOSE
            note = f"{LIKENESS[same]}, {steps} iterations, objective {above:+.1e} above ours"
            return {"seconds": seconds, "same": same, "note": note}
        steps *= 2


def _objective(models: Sequence[Vector], at: Vector) -> float:
    """The sum of distances, in float64."""
    return sum(
        math.sqrt(
            sum(
                float(np.square(model[start : start + PIECE].astype(np.float64) - at[start : start + PIECE]).sum())
                for start in range(0, len(at), PIECE)
            )
        )
        for model in models
    )


def _load(path: Path) -> Vector:
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
        return np.fromfile(file, np.float32, offset=header)


if __name__ == "__main__":
    main()
