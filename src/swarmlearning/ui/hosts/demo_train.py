"""A training to look at: each site has other samples of the same line, and all find it together.

It needs NumPy alone, so it runs wherever nodes are installed. `MIN_PEERS` sites have to take part; `SWARM_DEMO_EPOCHS`
says for how long.
"""

import os
import time

import numpy as np
from numpy.typing import NDArray

from swarmlearning import Swarm

WANTED = np.array([1.0, -2.0, 3.0, 0.0])
STEPS = 20
"""In an epoch, after each of which the sites merge."""

Parameters = dict[str, NDArray[np.float64]]


def batch(samples: np.random.Generator, shift: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """32 samples of this site, whose inputs are around `shift`, and whose outputs are noisy."""
    x = samples.normal(shift, 1.0, size=(32, 4))
    return x, x @ WANTED + samples.normal(0.0, 0.5, size=32)


def main() -> None:
    """Trains until all epochs are over."""
    epochs = int(os.environ.get("SWARM_DEMO_EPOCHS", "120"))
    seconds = float(os.environ.get("SWARM_DEMO_SECONDS", "0.05"))
    samples = np.random.default_rng(os.getpid())
    shift = float(samples.uniform(-2, 2))
    held_out = [batch(samples, 0.0) for _ in range(8)]

    def evaluate(parameters: Parameters) -> tuple[float, float]:
        """The mean squared error, and the share of samples that are predicted within 1."""
        errors = np.concatenate([x @ parameters["weights"] - y for x, y in held_out])
        return float(np.mean(errors**2)), float(np.mean(np.abs(errors) < 1))

    start: Parameters = {"weights": np.zeros(4)}
    peers = int(os.environ.get("MIN_PEERS", "2"))
    with Swarm(start, sync_frequency=STEPS, min_peers=peers, total_epochs=epochs, evaluate=evaluate) as swarm:
        for _ in range(epochs):
            for _ in range(STEPS):
                x, y = batch(samples, shift)
                weights = swarm.parameters["weights"]
                swarm.step({"weights": weights - 0.01 * x.T @ (x @ weights - y) / len(y)}, samples=len(y))
                time.sleep(seconds)  # as a model of some size would take
            swarm.end_epoch()
    print("trained:", swarm.parameters["weights"].round(1))


if __name__ == "__main__":
    main()
