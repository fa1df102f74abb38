"""How long a round takes: N sites that only synchronise, with no training in between.

A round's time is that from the moment all participants hand their parameters over, writing the file included, until the
last of them has the merged model in memory. The rounds follow each other at once: what a round leaves to be done (each
site reports that it holds the model) falls into the time of the next.
"""

import argparse
import asyncio
import math
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import msgspec

from fleet import fleet
from floor import floor_seconds
from machine import MEGABYTE, busy_seconds, run_benchmark
from participant import Done
from phases import phase_seconds
from swarmlearning.cli.processes import Processes
from swarmlearning.identity.workspace import Workspace
from swarmlearning.sn.node import CHAIN_FILE

WARM_UP = 2
LIMIT_SECONDS = 900.0


class Outcome(msgspec.Struct, frozen=True):
    """What was measured; the line that `--json` prints."""

    nodes: int
    mb: int
    rounds: int
    median_s: float
    p95_s: float
    floor_s: float
    cpu_s_per_round: float
    peak_rss_mb: dict[str, float]
    startup_s: float


class Measured(msgspec.Struct, frozen=True):
    """The same with what only the table shows.

    `cpu_s`: CPU seconds a round, by process; `other_cores`: how many cores worked for others than the swarm meanwhile.
    """

    outcome: Outcome
    best_s: float
    cpu_s: dict[str, float]
    other_cores: float
    phases_s: dict[str, float]


async def measure(folder: Path, nodes: int, mb: int, rounds: int) -> Measured:
    """Runs a swarm in `folder` and measures it, then the floor. Raises `RunError`, alone or in a group."""
    size = mb * MEGABYTE
    async with (
        asyncio.timeout(LIMIT_SECONDS),
        Processes(folder, os.environ) as processes,
        fleet(processes, folder, nodes, size) as swarm,
    ):
        await swarm.rounds(WARM_UP)
        before, busy, begin = swarm.cpu_seconds(), busy_seconds(), monotonic()
        done = await swarm.rounds(rounds)
        cpu_s = {name: (after - before[name]) / rounds for name, after in swarm.cpu_seconds().items()}
        other_cores = (busy_seconds() - busy - sum(cpu_s.values()) * rounds) / (monotonic() - begin)
        peaks = {name: round(peak / MEGABYTE, 1) for name, peak in swarm.peak_bytes().items()}
    times = sorted(map(round_seconds, done))
    names = [f"SL-{number}" for number in range(1, nodes + 1)]
    return Measured(
        Outcome(
            nodes=nodes,
            mb=mb,
            rounds=rounds,
            median_s=round(statistics.median(times), 6),
            p95_s=round(times[math.ceil(0.95 * rounds) - 1], 6),
            floor_s=round(floor_seconds(Workspace(folder / "cert"), names, size, rounds), 6),
            cpu_s_per_round=round(sum(cpu_s.values()), 6),
            peak_rss_mb=peaks,
            startup_s=round(swarm.startup_s, 3),
        ),
        best_s=times[0],
        cpu_s=cpu_s,
        other_cores=max(0.0, other_cores),
        phases_s=phase_seconds(folder / "SN-1" / CHAIN_FILE, WARM_UP, done),
    )


def round_seconds(done: Sequence[Done]) -> float:
    """From the first hand-over until the last site holds the merged model."""
    return max(one.end for one in done) - min(one.begin for one in done)


def table(measured: Measured) -> str:
    """For people."""
    outcome = measured.outcome
    ratio = outcome.median_s / outcome.floor_s
    lines = [
        f"{outcome.nodes} nodes, {outcome.mb} MB, {outcome.rounds} rounds; ready {outcome.startup_s:.2f} s after start",
        "",
        f"  round, median    {outcome.median_s * 1000:10.1f} ms",
        f"         p95       {outcome.p95_s * 1000:10.1f} ms",
        f"         best      {measured.best_s * 1000:10.1f} ms",
        f"  raw TLS floor    {outcome.floor_s * 1000:10.1f} ms   (the round takes {ratio:.1f} times as long)",
        *(f"  {phase:16} {seconds * 1000:10.1f} ms" for phase, seconds in measured.phases_s.items()),
        "",
        f"  {'process':16} {'CPU ms a round':>14} {'peak MB':>10}",
        *(
            f"  {name:16} {measured.cpu_s[name] * 1000:14.1f} {peak:10.1f}"
            for name, peak in outcome.peak_rss_mb.items()
        ),
        f"  {'all':16} {outcome.cpu_s_per_round * 1000:14.1f} {sum(outcome.peak_rss_mb.values()):10.1f}",
        "",
        f"Meanwhile other programs kept {measured.other_cores:.1f} of {os.cpu_count()} cores busy.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=3, help="SL nodes, at least 2 (default %(default)s)")
    parser.add_argument("--mb", type=int, default=1, help="model size in MB, 10^6 bytes (default %(default)s)")
    parser.add_argument("--rounds", type=int, help="measured rounds; default: 20, fewer for large models")
    parser.add_argument("--json", action="store_true", help="print one JSON line instead of a table")
    options = parser.parse_args()
    rounds = options.rounds or max(3, min(20, 1000 // options.mb // options.nodes))
    if options.nodes < 2 or options.mb < 1 or rounds < 1:
        parser.error("a round needs at least 2 nodes, 1 MB and 1 round")
    measured = run_benchmark("bench-round", lambda folder: measure(folder, options.nodes, options.mb, rounds))
    print(msgspec.json.encode(measured.outcome).decode() if options.json else table(measured))


if __name__ == "__main__":
    main()
