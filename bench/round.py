"""The time that a round takes: N sites that only synchronise, with no training in between.

A round's time is that from the moment all participants hand their parameters over, writing the file included, until the
last of them has the merged model in memory. The rounds follow each other at once: what a round leaves to be done (each
site reports that it holds the model) falls into the time of the next.
"""

import argparse
import asyncio
import itertools
import math
import os
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import monotonic

import msgspec

from fleet import fleet
from floor import floor_seconds
from launch import numbered
from machine import MEGABYTE, busy_seconds, run_benchmark
from participant import Done
from phases import phase_seconds
from swarmlearning.identity.workspace import Workspace
from swarmlearning.sn.node import CHAIN_FILE
from swarmlearning.supervise.processes import Processes

WARM_UP = 2  # times that each site leads before, until it has enough files to recycle
LIMIT_SECONDS = 900.0


class Outcome(msgspec.Struct, frozen=True):
    """The measurements; the line that `--json` prints.

    `phases_s`: see `phase_seconds`; `cpu_s`: CPU seconds a round, by process, as `peak_rss_mb`; `other_cores`: how many
    cores worked for others than the swarm meanwhile.
    """

    nodes: int
    mb: int
    rounds: int
    median_s: float
    p95_s: float
    best_s: float
    floor_s: float
    phases_s: dict[str, float]
    cpu_s_per_round: float
    cpu_s: dict[str, float]
    peak_rss_mb: dict[str, float]
    startup_s: float
    other_cores: float


async def measure(folder: Path, nodes: int, mb: int, rounds: int) -> Outcome:
    """Runs a swarm in `folder` and measures it, then the floor. Raises `RunError`, alone or in a group."""
    size = mb * MEGABYTE
    async with (
        asyncio.timeout(LIMIT_SECONDS),
        Processes(folder, os.environ) as processes,
        fleet(processes, folder, nodes, size) as swarm,
    ):
        await swarm.rounds(WARM_UP * nodes)
        before, busy, begin = swarm.cpu_seconds(), busy_seconds(), monotonic()
        done = await swarm.rounds(rounds)
        cpu_s = {name: (after - before[name]) / rounds for name, after in swarm.cpu_seconds().items()}
        other_cores = (busy_seconds() - busy - sum(cpu_s.values()) * rounds) / (monotonic() - begin)
        peaks = {name: round(peak / MEGABYTE, 1) for name, peak in swarm.peak_bytes().items()}
    times = sorted(map(round_seconds, done))
    return Outcome(
        nodes=nodes,
        mb=mb,
        rounds=rounds,
        median_s=round(statistics.median(times), 6),
        p95_s=round(times[math.ceil(0.95 * rounds) - 1], 6),
        best_s=round(times[0], 6),
        floor_s=round(floor_seconds(Workspace(folder / "cert"), numbered("SL", nodes), size, rounds), 6),
        phases_s=_rounded(phase_seconds(folder / "SN-1" / CHAIN_FILE, WARM_UP * nodes, done)),
        cpu_s_per_round=round(sum(cpu_s.values()), 6),
        cpu_s=_rounded(cpu_s),
        peak_rss_mb=peaks,
        startup_s=round(swarm.startup_s, 3),
        other_cores=round(max(0.0, other_cores), 2),
    )


def round_seconds(done: Sequence[Done]) -> float:
    """From the first hand-over until the last site holds the merged model."""
    return max(one.end for one in done) - min(one.begin for one in done)


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in seconds.items()}


def table(outcome: Outcome) -> str:
    """For people."""
    ratio = outcome.median_s / outcome.floor_s
    lines = [
        f"{outcome.nodes} nodes, {outcome.mb} MB, {outcome.rounds} rounds; ready {outcome.startup_s:.2f} s after start",
        "",
        f"  round, median    {outcome.median_s * 1000:10.1f} ms",
        f"         p95       {outcome.p95_s * 1000:10.1f} ms",
        f"         best      {outcome.best_s * 1000:10.1f} ms",
        f"  raw TLS floor    {outcome.floor_s * 1000:10.1f} ms   (the round takes {ratio:.1f} times as long)",
        *(f"  {phase:16} {seconds * 1000:10.1f} ms" for phase, seconds in outcome.phases_s.items()),
        "",
        f"  {'process':16} {'CPU ms a round':>14} {'peak MB':>10}",
        *(f"  {name:16} {outcome.cpu_s[name] * 1000:14.1f} {peak:10.1f}" for name, peak in outcome.peak_rss_mb.items()),
        f"  {'all':16} {outcome.cpu_s_per_round * 1000:14.1f} {sum(outcome.peak_rss_mb.values()):10.1f}",
        "",
        f"Meanwhile other programs kept {outcome.other_cores:.1f} of {os.cpu_count()} cores busy.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[3], help="SL nodes, at least 2 (default %(default)s)")
    parser.add_argument("--mb", type=int, nargs="+", default=[1], help="model sizes in MB, 10^6 bytes (%(default)s)")
    parser.add_argument("--rounds", type=int, help="measured rounds; default: 20, fewer for large models")
    parser.add_argument("--json", action="store_true", help="print JSON, a line for each swarm, instead of tables")
    options = parser.parse_args()
    if min(options.nodes) < 2 or min(options.mb) < 1 or (options.rounds is not None and options.rounds < 1):
        parser.error("a round needs at least 2 nodes, 1 MB and 1 round")
    for nodes, mb in itertools.product(options.nodes, options.mb):
        rounds = options.rounds or max(3, min(20, 1000 // mb // nodes))
        outcome = run_benchmark("bench-round", partial(measure, nodes=nodes, mb=mb, rounds=rounds))
        print(msgspec.json.encode(outcome).decode() if options.json else table(outcome) + "\n", flush=True)


if __name__ == "__main__":
    main()
