"""One row of `bench/merge.py`: a merge, timed and weighed in a process of its own, and its floor."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import numpy as np

from swarmlearning.merge.merging import Source, merge
from swarmlearning.merge.streaming import processors
from swarmlearning.tensors.file import Array

READS = {"mean": 1, "coordmedian": 1, "geomedian": 2}
"""The number of times that a method reads every model."""

_COPIED = 2**26  # bytes each thread copies to measure the bandwidth: more than the caches hold
_PIECE = 2**20
_LOOK_SECONDS = 0.002


def measure_merge(
    method: str, models: Sequence[Path], previous: Path, out: Path, repeats: int, influence: bool
) -> tuple[float, float]:
    """Seconds of the fastest of `repeats` merges, and the most memory in bytes that the first one took beyond what the
    process had: anonymous and shared, which is what cannot be given back under pressure."""
    ours, theirs = multiprocessing.Pipe()
    work = (theirs, method, models, previous, out, repeats, influence)
    process = multiprocessing.get_context("spawn").Process(target=_work, args=work, daemon=True)
    process.start()
    theirs.close()
    try:
        ours.recv()
        assert process.pid is not None
        before = peak = _private_bytes(process.pid)
        ours.send("weigh")
        while not ours.poll(_LOOK_SECONDS):
            peak = max(peak, _private_bytes(process.pid))
        ours.recv()
        seconds: float = ours.recv()
        return seconds, peak - before
    except EOFError as error:
        raise RuntimeError(f"the process that merges {len(models)} models by {method} has died") from error
    finally:
        process.join(10)
        process.kill()


def floor_seconds(method: str, nodes: int, size: int, repeats: int) -> float:
    """The time in which this machine's memory copies as many bytes as a merge has to read and write."""
    moved = READS[method] * nodes * size + size
    return moved / max(_copied_per_second() for _ in range(repeats))


def _copied_per_second() -> float:
    """Bytes copied in memory by as many threads as merge. Each is read once and written once."""
    threads = processors()
    arrays = [(np.ones(_COPIED, np.uint8), np.ones(_COPIED, np.uint8)) for _ in range(threads)]

    def copy(pair: tuple[Array, Array]) -> None:
        source, target = pair
        for start in range(0, _COPIED, _PIECE):
            target[start : start + _PIECE] = source[start : start + _PIECE]

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(copy, arrays))
        begin = perf_counter()
        list(pool.map(copy, arrays))
        return threads * _COPIED / (perf_counter() - begin)


def _work(
    link: Connection, method: str, models: Sequence[Path], previous: Path, out: Path, repeats: int, influence: bool
) -> None:
    sources = [Source(path.name, 1, path) for path in models]

    def once() -> float:
        begin = perf_counter()
        merge(method, sources, previous, out, influence=influence)
        return perf_counter() - begin

    link.send("ready")
    link.recv()
    once()
    link.send("weighed")
    link.send(min(once() for _ in range(repeats)))


def _private_bytes(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return sum(int(fields[name].removesuffix("kB")) * 1024 for name in ("RssAnon", "RssShmem"))
