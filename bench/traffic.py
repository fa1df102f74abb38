"""Fewer bytes: what outer steps, coded changes and fewer rounds cost in accuracy, and what they save.

Six sites that differ train one model with each way of exchanging it, with the same seeds: the start, what the sites
have and the order in which they take it. A difference is that of pairs with one seed, since seeds differ by more than
ways do; its interval is that of Student's t, 95 %. Ways in which a site is late in every third round are compared with
means of float32 under the same. The bytes of round 0 are left out, and stand apart.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from math import log10, sqrt
from pathlib import Path

import msgspec
from scipy.stats import t as student

from clothes import FOLDER, MISSING
from machine import MEGABYTE
from soak.plots import plot
from swarmlearning.choices import Transfer
from trafficswarm import Course, Way, train
from traffictask import TASKS, Task

QUARTER = 4
MEMORY = Path("/dev/shm")
SHORT = (Way(), Way(outer=True, transfer="int4", back="int8", fewer=QUARTER))


class Row(msgspec.Struct, frozen=True):
    """Means over the seeds. `figure`: accuracy in percent, or a loss; `difference` from means of float32, with its
    interval from `low` to `high`; `ratio`: their bytes, sent and received, to the bytes of this way."""

    task: str
    way: str
    seeds: int
    rounds: int
    first_bytes: int
    sent: int
    received: int
    ratio: float
    figure: float
    difference: float
    low: float
    high: float


def ways(task: str) -> list[Way]:
    """All combinations for the MLP, of outer steps at a quarter of the rounds; for the others those that matter."""
    few = [
        *SHORT,
        Way(fewer=QUARTER),
        Way(outer=True, fewer=QUARTER),
        Way(transfer="int8", back="int8"),
    ]
    if task != "mlp":
        return few
    transfers: tuple[Transfer, ...] = "float32", "int8", "int4"
    backs: tuple[Transfer, ...] = "float32", "int8"
    both = (False, True)
    all_ways = [
        Way(outer, transfer, back, feedback, late, QUARTER if outer else 1)
        for outer, transfer, back, feedback, late in product(both, transfers, backs, both, both)
        if feedback or transfer != "float32"
    ]
    return list(dict.fromkeys([*few, *all_ways]))


def one(task: Task, way: Way, seed: int) -> Course:
    """A training in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="traffic-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        return train(task, way, seed, Path(folder))


def measure(task: Task, chosen: Sequence[Way], seeds: int, jobs: int) -> Iterator[tuple[Row, list[Course]]]:
    """A row for each way, as soon as it is there."""
    with ProcessPoolExecutor(jobs) as pool:
        running = {way: [pool.submit(one, task, way, seed) for seed in range(seeds)] for way in chosen}
        found = {way: [each.result() for each in running[way]] for way in chosen if is_standard(way)}
        for way in chosen:
            courses = [each.result() for each in running[way]]
            yield row(task, way, courses, found[Way(late=way.late)]), courses


def is_standard(way: Way) -> bool:
    """True of means of float32, with which others are compared."""
    return way._replace(late=False) == Way()


def row(task: Task, way: Way, courses: Sequence[Course], standard: Sequence[Course]) -> Row:
    ends, before = [each.points[-1] for each in courses], [each.points[-1] for each in standard]
    differences = [end.figure - other.figure for end, other in zip(ends, before, strict=True)]
    mean, half = statistics.mean(differences), 0.0
    if len(differences) > 1:
        quantile = float(student.ppf(0.975, len(differences) - 1))
        half = quantile * statistics.stdev(differences) / sqrt(len(differences))
    return Row(
        task=task.name,
        way=way.name,
        seeds=len(ends),
        rounds=task.batches // (task.interval * way.fewer),
        first_bytes=courses[0].first,
        sent=ends[0].sent,
        received=ends[0].received,
        ratio=round((before[0].sent + before[0].received) / (ends[0].sent + ends[0].received), 2),
        figure=round(statistics.mean(end.figure for end in ends), 3),
        difference=round(mean, 3),
        low=round(mean - half, 3),
        high=round(mean + half, 3),
    )


def text(found: Row, unit: str) -> str:
    return (
        f"{found.task:12} {found.way:52} {found.rounds:4} rounds {found.sent / MEGABYTE:8.2f} + "
        f"{found.received / MEGABYTE:8.2f} MB (1/{found.ratio:<5}) {found.figure:8.3f}{unit}  "
        f"{found.difference:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    )


def picture(task: Task, courses: dict[str, list[Course]]) -> str:
    """The mean figure against the bytes that a site has sent and received."""
    lines = {name: _mean_line(each) for name, each in courses.items()}
    least = min(at for line in lines.values() for at, _ in line)
    series = {name: [(log10(at / least), value) for at, value in line] for name, line in lines.items()}
    lowest = min(value for line in lines.values() for _, value in line)
    title, unit = ("Accuracy", "%") if task.points else ("Loss", "")
    return plot(
        f"{title} of {task.name} against bytes sent and received by a site",
        unit,
        series,
        lambda place: f"{least * 10**place / MEGABYTE:.2g} MB",
        float(int(lowest)),
    )


def _short(name: str) -> str:
    """For the margin of a plot."""
    return name.replace("float32", "f32").replace(" of the rounds", "")


def _mean_line(courses: Sequence[Course]) -> list[tuple[float, float]]:
    points = zip(*(each.points for each in courses), strict=True)
    return [(same[0].sent + same[0].received, statistics.mean(each.figure for each in same)) for same in points]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="default: all")
    parser.add_argument("--seeds", type=int, default=8, help="paired seeds (default %(default)s)")
    parser.add_argument("--batches", type=int, help="at each site (default: as many as a task needs)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: as many as cores)")
    parser.add_argument("--short", action="store_true", help="two ways only")
    parser.add_argument("--out", type=Path, help="folder for plots")
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of a table")
    options = parser.parse_args()
    if not FOLDER.is_dir():
        sys.exit(f"bench-traffic: {MISSING}")
    for name in options.tasks:
        task, pictured = TASKS[name], {}
        task = replace(task, batches=options.batches or task.batches)
        chosen = list(SHORT) if options.short else ways(name)
        for found, courses in measure(task, chosen, options.seeds, options.jobs):
            print(msgspec.json.encode(found).decode() if options.json else text(found, "%" * task.points), flush=True)
            pictured[found.way] = courses
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            shown = {_short(way.name): pictured[way.name] for way in ways("") if way.name in pictured}
            (options.out / f"traffic-{name}.svg").write_text(picture(task, shown))


if __name__ == "__main__":
    main()
