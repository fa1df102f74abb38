"""The time in which a training script hands its parameters to its SL, and in which it loads the merged ones.

The script's side is the real one: PyTorch's callback with a model of one large layer in float32. The SL's side is only
the folder that both share: what was handed over comes back as the merged model. Beside it, measured in turn: copying
that file, with all of it in the page cache. The first time both write new files; later ones are overwritten, as an SL
lends one, which is several times as fast.
"""

import argparse
import logging
import shutil
import statistics
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from time import perf_counter

import msgspec
import torch

from machine import MEGABYTE, run_benchmark
from swarmlearning.channel.messages import SPARE_FILE, Open
from swarmlearning.client.handover import HandOver
from swarmlearning.client.pace import Pace
from swarmlearning.client.session import OnIdle, OnMerged
from swarmlearning.pyt import SwarmCallback
from swarmlearning.tensors.file import Tensor

WIDTH = 1000  # of the layer


class Outcome(msgspec.Struct, frozen=True):
    """Seconds, medians but for the first; the line that `--json` prints."""

    mb: int
    repeats: int
    first_copy_s: float
    first_out_s: float
    copy_s: float
    out_s: float
    in_s: float


class Folder:
    """The session with an SL that is but a folder."""

    over = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.out_s: list[float] = []
        self.in_s: list[float] = []
        self.copy_s: list[float] = []

    def sync(self, tensors: Mapping[str, Tensor], on_merged: OnMerged) -> tuple[int, bool]:
        begin = perf_counter()
        with HandOver(self.path, tensors, "model.safetensors") as handed:
            self.out_s.append(perf_counter() - begin)
            begin = perf_counter()
            on_merged(self.path / handed.name)
            self.in_s.append(perf_counter() - begin)
        self.copy_s.append(copy_seconds(self.path / handed.name, self.path / "copy"))
        (self.path / handed.name).rename(self.path / SPARE_FILE)
        return 1, False

    def close(self, tensors: Mapping[str, Tensor], on_merged: OnMerged) -> None:
        self.sync(tensors, on_merged)

    def kill(self, ok: bool, message: str) -> None:
        pass

    def progress(self, pace: Pace) -> None:
        pass


class FolderCallback(SwarmCallback):
    """`folder`: where the model goes."""

    platform_keywords = SwarmCallback.platform_keywords | {"folder"}

    def _prepare(self, options: Mapping[str, object]) -> None:
        super()._prepare(options)
        self._folder = options["folder"]

    def _connect(self, request: Open, on_idle: OnIdle = lambda: None) -> Folder:
        assert isinstance(self._folder, Folder)
        return self._folder


def copy_seconds(source: Path, target: Path) -> float:
    """To copy a file into a new one, or over one of the same length."""
    begin = perf_counter()
    with source.open("rb") as read, target.open("r+b" if target.exists() else "wb") as written:
        shutil.copyfileobj(read, written, 2**18)
    return perf_counter() - begin


async def measure(path: Path, mb: int, repeats: int) -> Outcome:
    """Hands a model of `mb` megabytes over and loads it back, `repeats` times after the first."""
    folder, model = Folder(path), torch.nn.Linear(WIDTH, mb * MEGABYTE // (4 * WIDTH), bias=False)
    quiet = logging.getLogger("bench-handoff")
    quiet.setLevel(logging.ERROR)
    callback = FolderCallback(1, 2, model=model, folder=folder, logger=quiet)
    callback.on_train_begin()
    for _ in range(repeats):
        callback.on_batch_end()
    times = (folder.copy_s, folder.out_s, folder.in_s)
    medians = (round(statistics.median(later), 6) for _, *later in times)
    return Outcome(mb, repeats, round(folder.copy_s[0], 6), round(folder.out_s[0], 6), *medians)


def table(outcome: Outcome) -> str:
    """For people."""
    rows = [
        ("copying the file, to a new one", outcome.first_copy_s, outcome.first_copy_s),
        ("script to SL, to a new file", outcome.first_out_s, outcome.first_copy_s),
        ("copying the file", outcome.copy_s, outcome.copy_s),
        ("script to SL", outcome.out_s, outcome.copy_s),
        ("SL to script, into the parameters", outcome.in_s, outcome.copy_s),
    ]
    return "\n".join(
        [
            f"{outcome.mb} MB of float32, PyTorch, median of {outcome.repeats}",
            "",
            *(f"  {text:36}{own * 1000:8.0f} ms   {own / copy:4.2f} x copying" for text, own, copy in rows),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=1000, help="size of the model, 10^6 bytes (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="(default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print a line of JSON instead of a table")
    options = parser.parse_args()
    if min(options.mb, options.repeats) < 1:
        parser.error("a hand-off needs at least 1 MB and 1 repeat")
    outcome = run_benchmark("bench-handoff", partial(measure, mb=options.mb, repeats=options.repeats))
    print(msgspec.json.encode(outcome).decode() if options.json else table(outcome))


if __name__ == "__main__":
    main()
