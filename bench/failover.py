"""The time that a network of three SNs stands still when one of its nodes fails, whoever runs the SNs.

Three make-ups: all SNs are run by one organisation, two by one and one by another, or each by its own. In each of them
the sentinel is killed (see `standstill.py`), then leaders of rounds fail (see `leaders.py`). All processes run on this
machine.
"""

import argparse
import itertools
import os
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from launch import numbered
from leaders import SITES, Leaders
from machine import require_etcd, run_benchmark
from sns import Sns
from standstill import standstills
from swarmlearning.supervise.processes import Processes

SNS = 3
MAKEUPS = {"3": (3,), "2+1": (2, 1), "1+1+1": (1, 1, 1)}
"""The number of SNs that each organisation runs."""
BOUNDS_S = {
    "sentinel killed": 5.0,
    "SN killed, then the leader": 3.0,
    "leader frozen": 60.0,
    "leader stuck": 60.0,
}
"""The longest standstill that is to be expected after each failure."""


class Outcome(msgspec.Struct, frozen=True):
    """The measurements of one failure in one make-up, in the order they were made; a line that `--json` prints."""

    makeup: str
    failure: str
    runs: int
    median_s: float
    max_s: float
    bound_s: float
    each_s: list[float]


async def measure(folder: Path, makeup: str, kills: int, runs: int) -> list[Outcome]:
    """All failures in one make-up; `kills` of the sentinel. Raises `RunError`, alone or in a group."""
    async with Processes(folder, os.environ) as processes:
        sns = Sns(processes, folder, SNS, "etcd", organisations(makeup))
        await sns.found()
        found = {"sentinel killed": await standstills(sns, kills)}
        if runs:
            async with Leaders(processes, folder, sns) as leaders:
                victims = itertools.islice(itertools.cycle(sns.names), runs)
                found["SN killed, then the leader"] = [await leaders.kill_after(sn) for sn in victims]
                found["leader frozen"] = [await leaders.freeze() for _ in range(runs)]
                found["leader stuck"] = [await leaders.hang() for _ in range(runs)]
    return [_outcome(makeup, failure, seconds) for failure, seconds in found.items()]


def organisations(makeup: str) -> list[list[str]]:
    """The names of the nodes of each organisation: its SNs in turn, and of the SLs each the next one."""
    sns, sls = iter(numbered("SN", SNS)), numbered("SL", SITES)
    counts = MAKEUPS[makeup]
    return [[*itertools.islice(sns, count), *sls[place :: len(counts)]] for place, count in enumerate(counts)]


def _outcome(makeup: str, failure: str, seconds: Sequence[float]) -> Outcome:
    each = [round(value, 3) for value in seconds]
    median = round(statistics.median(each), 3)
    return Outcome(makeup, failure, len(each), median, max(each), BOUNDS_S[failure], each)


def table(found: Sequence[Outcome]) -> str:
    """For people."""
    lines = [
        f"{SNS} SN with etcd, {SITES} SL; seconds until the next commit, or until the others hold the next merge",
        "",
        f"  {'SNs of':8} {'failure':28} {'runs':>5} {'median':>8} {'max':>8} {'bound':>8}",
    ]
    for each in found:
        over = "   over" if each.max_s > each.bound_s else ""
        figures = f"{each.runs:5} {each.median_s:8.2f} {each.max_s:8.2f} {each.bound_s:8.0f}"
        lines.append(f"  {each.makeup:8} {each.failure:28} {figures}{over}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5, help="kills of the sentinel (default %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="failures of leaders, of each kind, or 0 (%(default)s)")
    parser.add_argument("--makeups", nargs="+", choices=list(MAKEUPS), default=list(MAKEUPS), help="default: all")
    parser.add_argument("--json", action="store_true", help="print a JSON line for each failure instead of a table")
    options = parser.parse_args()
    if options.kills < 1 or options.runs < 0:
        parser.error("at least 1 kill is needed, and no negative number of runs")
    require_etcd("bench-failover")
    found: list[Outcome] = []
    for makeup in options.makeups:
        work = partial(measure, makeup=makeup, kills=options.kills, runs=options.runs)
        found += run_benchmark("bench-failover", work)
    if options.json:
        print("\n".join(msgspec.json.encode(each).decode() for each in found))
    else:
        print(table(found))


if __name__ == "__main__":
    main()
