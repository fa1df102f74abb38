"""The accuracy of a training with and without privacy locks: Fashion-MNIST, by what the lock's own code gives.

Each of N sites has an equal part of the training images and trains a softmax regression (7,850 values) on it; after
each round the changes, as `privacy.release` gives them, are merged by the mean. Nothing else of a swarm is in it, so
hundreds of rounds take a minute. Accuracy is that of the merged model on the 10,000 test images.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from clothes import images, labels
from swarmlearning.privacy.accounting import composed_epsilon
from swarmlearning.privacy.gaussian import Noise
from swarmlearning.privacy.release import Clipping, release
from swarmlearning.tensors.file import Array, Tensor, read, write

CLASSES, BATCH, BATCHES, RATE = 10, 32, 32, 0.1
DELTA = 1e-6
Model = dict[str, Array]


class Outcome(msgspec.Struct, frozen=True):
    """`norm` 0: no lock. `epsilon`: of each site's whole change of a round, over all rounds; None without noise."""

    sites: int
    locked: int
    rounds: int
    norm: float
    noise: float
    epsilon: float | None
    accuracy: float


def trained(model: Model, x: Array, y: Array, dice: np.random.Generator) -> Model:
    """The model after `BATCHES` steps of gradient descent on samples of this site."""
    weight, bias = model["weight"].copy(), model["bias"].copy()
    for _ in range(BATCHES):
        chosen = dice.integers(0, len(x), BATCH)
        scores = x[chosen] @ weight + bias
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        error = odds / odds.sum(axis=1, keepdims=True)
        error[np.arange(BATCH), y[chosen]] -= 1
        weight -= RATE / BATCH * x[chosen].T @ error
        bias -= RATE / BATCH * error.sum(axis=0)
    return {"weight": weight, "bias": bias}


def given(folder: Path, model: Model, base: Model, norm: float, noise: float) -> Model:
    """What a site with this lock gives of its model."""
    for name, each in (("model", model), ("base", base)):
        write(folder / name, {key: Tensor.of(array, key) for key, array in each.items()})
    source = (Noise(), norm * noise) if noise else None
    release(folder / "model", folder / "base", folder / "out", Clipping(norm, source), lambda size: None)
    return read(folder / "out")


def measure(sites: int, locked: int, rounds: int, norm: float, noise: float, seed: int = 1) -> Outcome:
    """Trains with `locked` of the sites behind a lock."""
    dice = np.random.default_rng(seed)
    x, y = images("train"), labels("train")
    parts = np.array_split(dice.permutation(len(x)), sites)
    model: Model = {"weight": np.zeros((784, CLASSES), np.float32), "bias": np.zeros(CLASSES, np.float32)}
    with TemporaryDirectory() as name:
        for _ in range(rounds):
            own = [trained(model, x[part], y[part], dice) for part in parts]
            own[:locked] = [given(Path(name), each, model, norm, noise) for each in own[:locked]]
            model = {key: np.mean([each[key] for each in own], axis=0) for key in model}
    right = (images("t10k") @ model["weight"] + model["bias"]).argmax(axis=1) == labels("t10k")
    epsilon = composed_epsilon([noise] * rounds, DELTA) if noise else None
    return Outcome(sites, locked, rounds, norm if locked else 0.0, noise, epsilon, round(float(right.mean()), 4))


def plans(rounds: int) -> Iterator[tuple[int, int, int, float, float]]:
    """Sites, those with a lock, rounds, norm and noise."""
    for sites in (6, 64):
        yield sites, 0, rounds, 0.0, 0.0
        yield from ((sites, sites, rounds, norm, 0.0) for norm in (1.0, 0.1))
        yield from ((sites, sites, rounds, 0.1, noise) for noise in (0.01, 0.1, 1.0, 10.0))
        yield sites, 1, rounds, 0.1, 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    options = parser.parse_args()
    for plan in plans(options.rounds):
        found = measure(*plan)
        if options.json:
            print(msgspec.json.encode(found).decode(), flush=True)
            continue
        lock = f"norm {found.norm:g}, noise {found.noise:g}" if found.norm else "none"
        spent = "-" if found.epsilon is None else f"{found.epsilon:.3g}"
        print(
            f"{found.sites:3} sites, {found.locked:2} locked: {lock:24} ε {spent:>8}  {found.accuracy:.1%}", flush=True
        )


if __name__ == "__main__":
    main()
