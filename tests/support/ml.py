"""A training script without a framework, which starts in a quarter of a second: `python ml.py --index 1 --rounds 3 …`.

Its model is a dict of NumPy arrays that every step changes in a way of this site's own. It prints the digest of the
model it ends with. Options make it wait at a gate, take time for batches that it reports, fail, leave early, begin a
new session, or hand over a damaged file or a NaN.
"""

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from swarmlearning.channel.messages import Fixed, Open, TensorSpec
from swarmlearning.client import environment, handover
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.pace import Pace
from swarmlearning.client.session import Evaluation, Session
from swarmlearning.tensors.file import Array, Tensor, read, write

CONTRACT = "defaultbb.cqdb.sml.hpe"


def main() -> None:
    options = _options()
    model: dict[str, Array] = {
        "layer.weight": np.zeros((options.size, 8), np.float32),
        "layer.bias": np.zeros(8, np.float32),
        "steps": np.array(0, np.int64),
    }
    noise = np.random.default_rng(options.index)
    steps, pace = 0, Pace(options.rounds)
    pace.resume()

    def tensors() -> dict[str, Tensor]:
        return {name: Tensor.of(array, name) for name, array in model.items()}

    def load(path: Path) -> Evaluation:
        model.update(read(path))
        return Evaluation(float(np.abs(model["layer.weight"]).mean()), None, 0, options.rounds)

    request = _request(options, tensors())
    start = environment.seconds(environment.START)
    swarm = Session(Path(os.environ["SWARM_CHANNEL"]), request, on_waiting=print, start_seconds=start)
    while steps < options.rounds:
        if steps == options.interrupt_at:
            swarm.kill(ok=False, message="KeyboardInterrupt")
        _meet(options, steps)
        if steps == options.interrupt_at:
            swarm = Session(Path(os.environ["SWARM_CHANNEL"]), request, on_waiting=print)
        for _ in range(options.batches):
            time.sleep(options.batch_seconds)
            pace.step(0)
            swarm.progress(pace)
        for array in model.values():
            array += noise.integers(1, 100, array.shape).astype(array.dtype)
        if steps == options.poison_at:
            model["layer.bias"][-1] = np.nan
        steps += 1
        _, over = swarm.sync(tensors(), load)
        pace.resume()
        print(f"SYNC {steps}", flush=True)
        if over:
            swarm.kill(ok=True, message="training is over")
            break
    else:
        swarm.close(tensors(), load)
    print("DIGEST", hashlib.sha256(b"".join(model[name].tobytes() for name in sorted(model))).hexdigest())


def _request(options: argparse.Namespace, tensors: Mapping[str, Tensor]) -> Open:
    return Open(
        training_contract=options.contract,
        sync_frequency=options.batches or 4,
        min_peers=options.min_peers,
        merge_method=options.method,
        checkin_model_on_train_end="inactive" if options.outer else "snapshot",
        node_weightage=1,
        use_adaptive_sync=False,
        total_epochs=options.rounds,
        ml_platform="PYTORCH",
        structure=tuple(
            TensorSpec(
                name,
                "F8_E5M2" if options.float8 and name == "layer.bias" else tensor.dtype,
                tensor.shape,
                *_role(options, name),
            )
            for name, tensor in sorted(tensors.items())
        ),
        fixed=Fixed(frozen=options.frozen),
        training_samples=options.samples,
        **_outer(options),
    )


def _role(options: argparse.Namespace, name: str) -> tuple[Any, ...]:
    """That of a tensor, where an outer optimizer needs it: this script runs with older releases, too."""
    return ("buffer" if name == "steps" else "parameter",) if options.outer else ()


def _outer(options: argparse.Namespace) -> dict[str, Any]:
    if not options.outer:
        return {}
    from swarmlearning.channel.messages import OuterOptimizer
    from swarmlearning.outer import DEFAULTS

    return {"outer": OuterOptimizer(options.outer, *DEFAULTS[options.outer])}


def _meet(options: argparse.Namespace, done: int) -> None:
    """Does as the options demand before the sync after `done` ones."""
    time.sleep(options.pace)
    if done in options.hold_at:
        with options.gate.open("rb", buffering=0) as gate:
            gate.read(1)
    if done == options.fail_at:
        raise ValueError("the data of this site is broken")
    if done == options.leave_at:
        sys.exit(0)
    if done == options.truncate_at:
        handover.tensor_file.write = _write_truncated  # type: ignore[attr-defined]
    if done == options.alter_at:
        handover.tensor_file.write = _write_altered  # type: ignore[attr-defined]


def _write_truncated(path: Path, tensors: dict[str, Tensor]) -> None:
    write(path, tensors)
    os.truncate(path, path.stat().st_size - 10)


def _write_altered(path: Path, tensors: dict[str, Tensor]) -> None:
    write(path, tensors | {"layer.bias": Tensor.of(np.zeros(9, np.float32), "layer.bias")})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--index", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--min-peers", type=int, default=3)
    parser.add_argument("--method", default="mean")
    parser.add_argument("--outer", choices=("nesterov", "adam"))
    parser.add_argument("--contract", default=CONTRACT)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--frozen", default="")
    parser.add_argument("--float8", action="store_true")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds that its training between two syncs takes")
    parser.add_argument("--batches", type=int, default=0)
    parser.add_argument("--batch-seconds", type=float, default=0.0)
    parser.add_argument("--gate", type=Path)
    parser.add_argument("--hold-at", type=int, action="append", default=[])
    for event in ("fail", "interrupt", "leave", "truncate", "alter", "poison"):
        parser.add_argument(f"--{event}-at", type=int, default=-1)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except SwarmError as error:
        sys.exit(f"SwarmError: {error}")
