"""One ML process of a benchmark: hands parameters over and loads the merged ones, at every command.

It has imported what a user's script needs for that, and nothing else, so its memory is that of a client. A line on the
inherited socket begins a round; the answer, one line, is its `Done`. The end of the stream ends the process.
"""

import argparse
import socket
from pathlib import Path
from time import monotonic

import msgspec
import numpy as np

from swarmlearning.channel.messages import Open, TensorSpec
from swarmlearning.choices import MergeMethod
from swarmlearning.client.parameters import DEFAULT_CONTRACT
from swarmlearning.client.session import Evaluation, Session
from swarmlearning.tensors.file import Array, Tensor, read_at, read_header

LAYERS = 4


class Done(msgspec.Struct, frozen=True):
    """Times of one round in seconds of the monotonic clock: the hand-over began, the merged model was in memory.

    `sample` is one merged parameter: it has to be the same everywhere.
    """

    begin: float
    end: float
    sample: float


class Participant:
    """One session with parameters of `size` bytes. `seed`: what makes its models unlike those of the others."""

    def __init__(
        self,
        channel: Path,
        peers: int,
        size: int,
        seed: int,
        method: MergeMethod = "mean",
        contract: str = DEFAULT_CONTRACT,
    ) -> None:
        self._random = np.random.default_rng(seed)
        self._parameters = make_parameters(size)
        self._trains = contract != DEFAULT_CONTRACT
        self._end = 0.0
        structure = tuple(
            TensorSpec(name, tensor.dtype, tensor.shape) for name, tensor in sorted(self._tensors().items())
        )
        request = Open(
            training_contract=contract,
            sync_frequency=1,
            min_peers=peers,
            merge_method=method,
            checkin_model_on_train_end="snapshot",
            node_weightage=1,
            use_adaptive_sync=False,
            total_epochs=0,
            ml_platform="PYTORCH",
            structure=structure,
        )
        self._session = Session(channel, request, on_waiting=print)

    def round(self) -> Done:
        """Changes one parameter of each tensor, so that no node has this model yet, and synchronises them. Under a
        contract of its own, which may have changes coded, it changes all: few would be compressed to nothing."""
        for array in self._parameters.values():
            if self._trains:
                array += 0.01 * self._random.standard_normal(array.shape, np.float32)
            array.flat[0] = self._random.standard_normal()
        begin = monotonic()
        self._session.sync(self._tensors(), self._take)
        return Done(begin, self._end, float(next(iter(self._parameters.values())).flat[0]))

    def _take(self, merged: Path) -> Evaluation:
        """Loads in place, so that the memory is that of one model."""
        header = read_header(merged)
        with merged.open("rb", buffering=0) as file:
            for entry in header.entries:
                memory = self._parameters[entry.name].reshape(-1).view(np.uint8).data
                assert read_at(file.fileno(), memory, header.data_start + entry.start)
        self._end = monotonic()
        return Evaluation(None, None, 0, 0)

    def _tensors(self) -> dict[str, Tensor]:
        return {name: Tensor.of(array, name) for name, array in self._parameters.items()}


def make_parameters(size: int) -> dict[str, Array]:
    """`LAYERS` float32 weights of one row, each with a bias of 64, which together have `size` bytes."""
    elements = size // 4
    bounds = [elements * layer // LAYERS for layer in range(LAYERS + 1)]
    parameters: dict[str, Array] = {}
    random = np.random.default_rng(0)
    for layer in range(LAYERS):
        weight = random.standard_normal(bounds[layer + 1] - bounds[layer] - 64, dtype=np.float32)[None]
        parameters |= {f"layer.{layer}.weight": weight, f"layer.{layer}.bias": np.zeros(64, np.float32)}
    return parameters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channel", type=Path, required=True)
    parser.add_argument("--peers", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--link", type=int, required=True, help="descriptor of the inherited socket")
    parser.add_argument("--method", default="mean", help="how models are merged (default %(default)s)")
    parser.add_argument("--contract", default=DEFAULT_CONTRACT)
    options = parser.parse_args()
    participant = Participant(
        options.channel, options.peers, options.size, options.seed, options.method, options.contract
    )
    with socket.socket(fileno=options.link) as link, link.makefile("rwb", buffering=0) as lines:
        lines.write(b"open\n")
        while lines.readline():
            lines.write(msgspec.json.encode(participant.round()) + b"\n")


if __name__ == "__main__":
    main()
