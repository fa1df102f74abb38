"""The training script of `operate.py`: a linear model in NumPy. PEERS and SITE are in its environment."""

import os

import numpy as np

from swarmlearning.client.plain import Swarm

STEPS = 20
SYNC_FREQUENCY = 4


def main() -> None:
    random = np.random.default_rng(int(os.environ["SITE"]))
    inputs = random.standard_normal((STEPS * 32, 16))
    targets = inputs @ np.arange(16.0)
    with Swarm({"w": np.zeros(16)}, sync_frequency=SYNC_FREQUENCY, min_peers=int(os.environ["PEERS"])) as swarm:
        weights = swarm.parameters["w"]
        for x, y in zip(np.split(inputs, STEPS), np.split(targets, STEPS), strict=True):
            weights = weights - 0.1 * x.T @ (x @ weights - y) / len(y)
            weights = swarm.step({"w": weights})["w"]


if __name__ == "__main__":
    main()
