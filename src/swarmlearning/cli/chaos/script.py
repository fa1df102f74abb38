"""The training script that `swarm chaos` runs where none is given: `python -m swarmlearning.cli.chaos.script --mb 8`.

NumPy only. Each site pulls one large array towards a target of its own, so that the swarm's model comes to lie between
all targets. Between two syncs it rests for a moment, as if it trained on an accelerator. It trains until the file
`enough` lies in the run folder, and leaves the model that it ends with beside its site's data.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

from swarmlearning.channel.messages import Open, TensorSpec
from swarmlearning.cli.chaos import ENOUGH
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.pace import Pace
from swarmlearning.client.session import Evaluation, Session
from swarmlearning.tensors.file import Array, Tensor, read, write

CONTRACT = "chaos"
COLUMNS = 256
STEP = np.float32(0.2)


class Training:
    """The model of one site, and the target towards which it trains."""

    def __init__(self, megabytes: float, seed: int) -> None:
        rows = max(1, int(megabytes * 1e6 / (4 * COLUMNS)))
        self._target = np.random.default_rng(seed).standard_normal(COLUMNS, np.float32)
        self._weights: Array = np.zeros((rows, COLUMNS), np.float32)

    def step(self) -> None:
        """A step downhill on the squared distance to the target."""
        self._weights += STEP * (self._target - self._weights)

    def load(self, path: Path) -> Evaluation:
        """Continues from a merged model; its loss is the mean squared distance of its first rows."""
        self._weights = read(path)["weights"].copy()
        loss = float(np.square(self._weights[:64] - self._target).mean(dtype=np.float64))
        return Evaluation(loss, None, epochs=0, total_epochs=0)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors that are merged."""
        return {"weights": Tensor.of(self._weights, "weights")}


def main() -> None:
    """Trains until the run has seen enough."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=float, default=8.0)
    parser.add_argument("--rest", type=float, default=0.25)
    options = parser.parse_args()
    folder = Path(os.environ["SWARM_RUN_DIR"])
    training = Training(options.mb, int(os.environ["SWARM_INDEX"]))
    session = Session(Path(os.environ["SWARM_CHANNEL"]), _request(training), on_waiting=_print)
    pace, over = Pace(total_epochs=0), False
    while not over and not (folder / ENOUGH).exists():
        training.step()
        time.sleep(options.rest)
        _, over = session.sync(training.tensors, training.load)
        pace.step(samples=0)
        session.progress(pace)
    if over:
        session.kill(ok=True, message="training is over everywhere")
    else:
        session.close(training.tensors, training.load)
    write(folder / "sites" / os.environ["SWARM_SITE"] / "model.safetensors", training.tensors)


def _request(training: Training) -> Open:
    return Open(
        training_contract=CONTRACT,
        sync_frequency=1,
        min_peers=int(os.environ["MIN_PEERS"]),
        merge_method="mean",
        checkin_model_on_train_end="snapshot",
        node_weightage=1,
        use_adaptive_sync=False,
        total_epochs=0,
        ml_platform="NUMPY",
        structure=tuple(
            TensorSpec(name, tensor.dtype, tensor.shape, "parameter") for name, tensor in training.tensors.items()
        ),
    )


def _print(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        main()
    except SwarmError as error:
        sys.exit(f"SwarmError: {error}")
