"""The judgement of a soak: is a series flat? Pure.

A series is judged without its first half, in which all that is bounded fills. Its growth is the slope of the median
of all pairs (Theil and Sen), which single peaks do not move, over the time that is judged. It is flat if it has grown
by no more than a share of its median and an allowance for what a single look may differ by.
"""

from collections.abc import Sequence
from itertools import combinations
from statistics import median

import msgspec

JUDGED_SECONDS = 600.0
"""A shorter soak shows whether the swarm survives, and nothing of growth."""
WARM_UP = 0.5
"""The share of a soak in which what is bounded fills: etcd has 10,000 entries in memory after 25 minutes."""
MOST_POINTS = 150
"""Of a series that are compared, evenly spread: pairs grow by the square."""


class Bound(msgspec.Struct, frozen=True):
    """What a series may grow by: a share of its median, and in its own unit; up to its `ceiling` by any amount."""

    share: float
    allowance: float
    ceiling: float = 0.0


BOUNDS = {
    "memory_mb": Bound(0.1, 4.0),
    "descriptors": Bound(0.05, 4.0),
    "disk_mb": Bound(0.1, 5.0),
    "answer_ms": Bound(0.5, 5.0),
    "round_s": Bound(0.5, 0.5),
    "cpu_ms_a_round": Bound(0.25, 5.0),
}

CEILINGS = {"disk_mb SNs": 3 * 450.0, "disk_mb SLs": 8 * 25.0}
"""What the bounds of docs/year.md add up to, of files that are not full within an hour. SN: five segments of etcd's log
and the next one, 64 MB each, its snapshots and database, logs. SL: logs, the diary, and an hour's curves."""


def bound_of(series: str) -> Bound:
    """The bound of a series, whose name begins with what is measured."""
    return msgspec.structs.replace(BOUNDS[series.partition(" ")[0]], ceiling=CEILINGS.get(series, 0.0))


class Judgement(msgspec.Struct, frozen=True):
    """One series: its median and its growth over the time judged, both in its unit."""

    series: str
    median: float
    growth: float
    allowed: float
    flat: bool


def judge(name: str, points: Sequence[tuple[float, float]], bound: Bound) -> Judgement:
    """Judges points of (seconds, value), in their order."""
    begin, end = points[0][0], points[-1][0]
    judged = [point for point in points if point[0] >= begin + WARM_UP * (end - begin)]
    growth = slope(thinned(judged)) * (judged[-1][0] - judged[0][0])
    middle = median(value for _, value in judged)
    allowed = bound.share * middle + bound.allowance
    flat = growth <= allowed or max(value for _, value in judged) <= bound.ceiling
    return Judgement(name, round(middle, 3), round(growth, 3), round(allowed, 3), flat)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes of all pairs; 0 for fewer than two points."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if b[0] > a[0]]
    return median(slopes) if slopes else 0.0


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `MOST_POINTS` of them, each the median of its neighbours."""
    step = -(-len(points) // MOST_POINTS)
    groups = [points[at : at + step] for at in range(0, len(points), step)]
    return [(median(at for at, _ in group), median(value for _, value in group)) for group in groups]
