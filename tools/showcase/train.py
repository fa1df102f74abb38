"""Made-up scans, and a small network that tells eight findings apart: each site has seen only some of them.

It needs NumPy alone. Its site is `SITE`, from 1, and `PACE` the seconds that a step takes, in its environment.
"""

import argparse
import os
import time

import numpy as np
from numpy.typing import NDArray

from swarmlearning import Swarm

Floats = NDArray[np.float32]
Model = dict[str, Floats]
FINDINGS, FEATURES, HIDDEN = 8, 24, 32
SCANS, BATCHES = 320, 10
"""Scans of a site, and batches in an epoch."""


def scans(random: np.random.Generator, findings: list[int], count: int) -> tuple[Floats, NDArray[np.int64]]:
    """So many scans, each with one of these findings: the same centres at all sites, and noise."""
    centres = np.random.default_rng(7).normal(0, 1, (FINDINGS, FEATURES))
    chosen = random.choice(findings, count)
    return (centres[chosen] + random.normal(0, 1.9, (count, FEATURES))).astype(np.float32), chosen


def new_model() -> Model:
    """The same at all sites."""
    random = np.random.default_rng(3)
    shapes = {"hidden.weight": (FEATURES, HIDDEN), "out.weight": (HIDDEN, FINDINGS)}
    model = {name: random.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    return {**model, "hidden.bias": np.zeros(HIDDEN, np.float32), "out.bias": np.zeros(FINDINGS, np.float32)}


def forward(model: Model, x: Floats) -> tuple[Floats, Floats]:
    """The hidden layer, and the probability of each finding."""
    hidden = np.maximum(x @ model["hidden.weight"] + model["hidden.bias"], 0)
    scores = hidden @ model["out.weight"] + model["out.bias"]
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, powers / powers.sum(axis=1, keepdims=True)


def stepped(model: Model, x: Floats, y: NDArray[np.int64], rate: float) -> Model:
    """The model after one step of gradient descent on the cross entropy."""
    hidden, shares = forward(model, x)
    error = (shares - np.eye(FINDINGS, dtype=np.float32)[y]) / np.float32(len(y))
    back = (error @ model["out.weight"].T) * (hidden > 0)
    slopes = {
        "hidden.weight": x.T @ back,
        "hidden.bias": back.sum(axis=0),
        "out.weight": hidden.T @ error,
        "out.bias": error.sum(axis=0),
    }
    return {name: (value - np.float32(rate) * slopes[name]).astype(np.float32) for name, value in model.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--contract", required=True)
    parser.add_argument("--peers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--sync", type=int, default=5, help="steps between two merges")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--method", default="mean")
    options = parser.parse_args()
    site, pace = int(os.environ["SITE"]), float(os.environ.get("PACE", "0.2"))
    random = np.random.default_rng(site)
    own = [finding for finding in range(FINDINGS) if finding % 4 != site % 4]
    x, y = scans(random, own, SCANS)
    held_out = scans(np.random.default_rng(100 + site), list(range(FINDINGS)), 400)

    def evaluate(model: Model) -> tuple[float, float]:
        """Cross entropy and accuracy on scans of all findings, which no site has trained on."""
        shares = forward(model, held_out[0])[1]
        right = shares[np.arange(len(held_out[1])), held_out[1]]
        return float(-np.log(right + 1e-9).mean()), float((shares.argmax(axis=1) == held_out[1]).mean())

    with Swarm(
        new_model(),
        sync_frequency=options.sync,
        min_peers=options.peers,
        training_contract=options.contract,
        total_epochs=options.epochs,
        merge_method=options.method,
        evaluate=evaluate,
    ) as swarm:
        for _ in range(options.epochs):
            for part in np.split(random.permutation(SCANS), BATCHES):
                swarm.step(stepped(swarm.parameters, x[part], y[part], options.rate), samples=len(part))
                time.sleep(pace)
            swarm.end_epoch()
    print("accuracy on all findings:", round(evaluate(swarm.parameters)[1], 3))


if __name__ == "__main__":
    main()
