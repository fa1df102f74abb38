"""Many SLs on one SN: the time of rounds with a small model, and the growth of the SN's memory.

The SN is a process of its own and orders alone. The SLs are real nodes with sockets, files and certificates, but many
of them share a process, and their participants are threads in it (see `sites.py`): with a process for each SL and each
participant, memory would be the limit of the machine and not of the SN. All run on this machine, so the time of a round
is mostly that of all SLs verifying the same blocks on a few cores; on real sites each has cores of its own.

Memory is what the SN holds without clean pages of files. It is looked at after the warm-up, and then ten times until
the last round. In the warm-up all that is bounded fills: where the transactions of the last 1024 blocks stand, the last
64 blocks, 4096 verified signatures, SQLite's page cache, what the allocator keeps.
"""

import argparse
import asyncio
import os
import statistics
from pathlib import Path
from time import monotonic

import msgspec

from fleet import crowd
from machine import MEGABYTE, busy_seconds, own_bytes, run_benchmark
from round import round_seconds
from swarmlearning.supervise.processes import Processes

PROCESSES = 4
KILOBYTES = 100
WARM_UP = 160
LOOKS = 10
LIMIT_SECONDS = 3600.0


class Outcome(msgspec.Struct, frozen=True):
    """The measurements; the line that `--json` prints."""

    sls: int
    rounds: int
    median_s: float
    sn_rss_start_mb: float
    sn_rss_end_mb: float


class Measured(msgspec.Struct, frozen=True):
    """An outcome, and what only the table shows.

    `first_mb`: the SN's memory after the first round; `memory_mb`: at each look; `cpu_s`: CPU seconds a round, by
    process; `other_cores`: how many cores worked for others than the swarm meanwhile.
    """

    outcome: Outcome
    startup_s: float
    slowest_s: float
    first_mb: float
    memory_mb: list[float]
    cpu_s: dict[str, float]
    other_cores: float


async def measure(folder: Path, sls: int, warm_up: int, rounds: int) -> Measured:
    """Runs the swarm in `folder`. Raises `RunError`, alone or in a group."""
    async with (
        asyncio.timeout(LIMIT_SECONDS),
        Processes(folder, os.environ) as processes,
        crowd(processes, folder, sls, KILOBYTES * 1000, PROCESSES) as swarm,
    ):
        sn = swarm.pid("SN-1")
        await swarm.rounds(1)
        first_mb = own_bytes(sn) / MEGABYTE
        await swarm.rounds(warm_up - 1)
        memory_mb = [own_bytes(sn) / MEGABYTE]
        before, busy, begin = swarm.cpu_seconds(), busy_seconds(), monotonic()
        times: list[float] = []
        for look in range(1, LOOKS + 1):
            times += map(round_seconds, await swarm.rounds(rounds * look // LOOKS - len(times)))
            memory_mb.append(own_bytes(sn) / MEGABYTE)
        cpu_s = {name: (after - before[name]) / rounds for name, after in swarm.cpu_seconds().items()}
        other_cores = (busy_seconds() - busy - sum(cpu_s.values()) * rounds) / (monotonic() - begin)
    return Measured(
        Outcome(
            sls=sls,
            rounds=rounds,
            median_s=round(statistics.median(times), 3),
            sn_rss_start_mb=round(memory_mb[0], 1),
            sn_rss_end_mb=round(memory_mb[-1], 1),
        ),
        startup_s=swarm.startup_s,
        slowest_s=max(times),
        first_mb=first_mb,
        memory_mb=memory_mb,
        cpu_s=cpu_s,
        other_cores=max(0.0, other_cores),
    )


def table(measured: Measured) -> str:
    """For people."""
    outcome = measured.outcome
    lines = [
        f"{outcome.sls} SL on one SN, {KILOBYTES} kB, {outcome.rounds} rounds; "
        f"ready {measured.startup_s:.1f} s after start",
        "",
        f"  round, median    {outcome.median_s:8.2f} s",
        f"         slowest   {measured.slowest_s:8.2f} s",
        "",
        f"  SN memory, MB      {measured.first_mb:.1f} after the first round; after the warm-up and then:",
        "                     " + "  ".join(f"{memory:.1f}" for memory in measured.memory_mb),
        "  CPU s a round      " + ", ".join(f"{name} {spent:.2f}" for name, spent in measured.cpu_s.items()),
        "",
        f"Meanwhile other programs kept {measured.other_cores:.1f} of {os.cpu_count()} cores busy.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sls", type=int, default=64, help="SL nodes, at least 2 (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=200, help="measured rounds (default %(default)s)")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="rounds before (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON line instead of a table")
    options = parser.parse_args()
    if options.sls < 2 or min(options.rounds, options.warm_up) < 1:
        parser.error("a round needs at least 2 SLs, and there must be at least 1 round and 1 before")
    measured = run_benchmark(
        "bench-scale", lambda folder: measure(folder, options.sls, options.warm_up, options.rounds)
    )
    print(msgspec.json.encode(measured.outcome).decode() if options.json else table(measured))


if __name__ == "__main__":
    main()
