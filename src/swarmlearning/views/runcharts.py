"""What is drawn of a run: curves of each site and the swarm, the participation matrix, influence, and the interval.

In the form that `ui/static/charts/` takes, and as rows of a table. A long run is thinned out for curves: of n rounds
every k-th stays, with the first, the last and the best one. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from swarmlearning.views.curves import RoundMean, average
from swarmlearning.views.names import Names, name_of, node_names
from swarmlearning.views.records import (
    ABSENT,
    CONTRIBUTED,
    EXCLUDED,
    LATE,
    LOST,
    ORDINARY,
    PART,
    REPEATED,
    WITHHELD,
    Column,
    RunRecord,
)
from swarmlearning.views.render import clock
from swarmlearning.views.report import Recorder
from swarmlearning.views.runs import Parameters, RunSummary, latest, record_of, summary_of
from swarmlearning.views.tables import table

POINTS: Final = 400
"""Rounds that a curve shows, unless more are asked for."""
DIGITS: Final = 5
"""Significant digits of a measure in a chart."""
SWARM: Final = "swarm"

LETTERS: Final[Mapping[int, str]] = {CONTRIBUTED: "c", LATE: "t", LOST: "x", ABSENT: "a", EXCLUDED: "e"}
"""Of a cell of the matrix; `L`, `l`: has led, and contributed or not; `r`: a repeated model; `w`: withheld by its lock;
a space: no member yet."""


class Series(msgspec.Struct, frozen=True, omit_defaults=True):
    """A curve: `kind` is `site` or `swarm`; each measure has a value for each round of the charts, null where nobody
    has measured one. `epochs` of the swarm: the mean of its sites'."""

    name: str
    kind: str
    loss: list[float | None]
    metric: list[float | None]
    epochs: list[float | None] = []


class Curves(msgspec.Struct, frozen=True):
    """All curves of a run against their rounds, and against the `time` of the results (Unix milliseconds). `marks`: the
    best round."""

    series: list[Series]
    round: list[int]
    time: list[int]
    marks: list[dict[str, int | str]]


class Matrix(msgspec.Struct, frozen=True):
    """Participation: a text of letters for each site, one for each round from `first` on."""

    first: int
    sites: list[str]
    cells: list[str]


class InfluenceOf(msgspec.Struct, frozen=True):
    """A site's influence by round: how far its model lay from the result, and the cosine of its update with the merged
    one, as leaders have stated."""

    name: str
    distance: list[float | None]
    cosine: list[float | None]


class RunCharts(msgspec.Struct, frozen=True):
    """All that is drawn of a run. `interval`: the length of the rounds in eighths of the sites' syncFrequency, for each
    round of the curves; 8 where it is not adaptive."""

    curves: Curves
    matrix: Matrix
    influence: list[InfluenceOf]
    interval: list[int]


class Compared(msgspec.Struct, frozen=True):
    """Several runs beside each other: their summaries, the names of parameters that differ, and the swarm's curve of
    each. Times of the curves are milliseconds since the begin of each run."""

    runs: list[RunSummary]
    differing: list[str]
    curves: list[Series]
    rounds: list[list[int]]
    times: list[list[int]]


def run_charts(recorder: Recorder, contract: str, run: int, points: int = POINTS) -> RunCharts:
    """The charts of a run, of at most about so many rounds. Raises `UnknownRunError`."""
    record, world = record_of(recorder, contract, run), recorder.chain.world
    names, state = node_names(world), latest(world, record)
    uids, (means, best) = sorted(state.members), record.curve(state.rounds)
    shown = thinned(state.rounds, points, best)
    columns = [(name_of(names, uid), record.columns.get(uid) or Column()) for uid in uids]
    return RunCharts(
        curves=Curves(
            series=[
                _swarm(SWARM, means, shown, [column for _, column in columns]),
                *(_series(name, column, shown) for name, column in columns),
            ],
            round=shown,
            time=[_time(record, number) for number in shown],
            marks=[{"round": best.round, "text": "best"}] if best else [],
        ),
        matrix=matrix_of(record, names, uids, state.rounds),
        influence=[
            InfluenceOf(name, *(_values(column, measure, shown) for measure in ("distance", "cosine")))
            for name, column in columns
        ],
        interval=[head.eighths if (head := record.heads[number]) else ORDINARY for number in shown],
    )


def compare(recorder: Recorder, keys: Iterable[tuple[str, int]], organisation: str = "") -> Compared:
    """These runs beside each other. Raises `UnknownRunError`."""
    runs, curves, rounds, times = [], [], [], []
    for contract, run in keys:
        record, summary = record_of(recorder, contract, run), summary_of(recorder, contract, run, organisation)
        means = record.curve(summary.rounds).means
        shown = thinned(summary.rounds, POINTS, summary.best)
        runs.append(summary)
        columns = [column for uid, column in record.columns.items() if uid in record.state.members]
        curves.append(_swarm(summary.id, means, shown, columns))
        rounds.append(shown)
        times.append([_time(record, number) - record.begun_ms for number in shown])
    parameters = [msgspec.structs.asdict(each.parameters) for each in runs]
    differing = [name for name in parameters[0] if len({each[name] for each in parameters}) > 1] if runs else []
    return Compared(runs, differing, curves, rounds, times)


def thinned(rounds: int, points: int, best: RoundMean | None = None) -> list[int]:
    """Round numbers to show of so many: every k-th, the last one and the best one."""
    step = max(1, -(-rounds // max(1, points)))
    return sorted({*range(0, rounds, step), *range(rounds)[-1:], *([best.round] if best else ())})


def matrix_of(record: RunRecord, names: Names, uids: Sequence[str], rounds: int) -> Matrix:
    """The participation of these sites in all rounds."""
    leaders = [head.leader if head else "" for head in record.heads[:rounds]]
    cells = []
    for uid in uids:
        column = record.columns.get(uid) or Column()
        cells.append("".join(letter(column.part(number), leads=leaders[number] == uid) for number in range(rounds)))
    return Matrix(0, [name_of(names, uid) for uid in uids], cells)


def letter(cell: int, *, leads: bool) -> str:
    """The letter of a cell."""
    if cell & WITHHELD:
        return "w"
    if leads:
        return "L" if cell & PART == CONTRIBUTED and not cell & REPEATED else "l"
    return "r" if cell & REPEATED else LETTERS.get(cell & PART, " ")


def rounded(value: float | None) -> float | None:
    """A measure with as many digits as a chart shows."""
    return None if value is None else float(f"{value:.{DIGITS}g}")


# --- tables -----------------------------------------------------------------------------------------------------------

COLUMNS: Final = (
    *("contract", "run", "state", "task", "taskrunner", "assigned_by", "requested_by", "begun", "ended", "sites"),
    *("organisations", "rounds", "loss", "metric", "best_round", "best_loss", "best_metric", "model", "tags", "notes"),
)


def runs_table(runs: Iterable[RunSummary]) -> str:
    """CSV with a line for each run: facts, then parameters."""
    return table(
        [*COLUMNS, *(f"parameter_{name}" for name in Parameters.__struct_fields__)],
        ([*_facts(each), *msgspec.structs.astuple(each.parameters)] for each in runs),
    )


def _facts(each: RunSummary) -> Iterator[object]:
    yield from (each.contract, each.run, each.state, each.task, each.taskrunner, each.assigned_by, each.requested_by)
    yield from (clock(at) if at is not None else "" for at in (each.begun_ms, each.ended_ms))
    yield from ("; ".join(each.sites), "; ".join(each.organisations), each.rounds, each.loss, each.metric)
    yield from (each.best.round, each.best.loss, each.best.metric) if each.best else ("", "", "")
    yield from (each.model, ", ".join(each.tags))
    yield " | ".join(f"{note.organisation}: {' / '.join(note.lines)}" for note in each.notes if note.lines)


# --- inside -----------------------------------------------------------------------------------------------------------


def _series(name: str, column: Column, shown: Sequence[int]) -> Series:
    epochs = column.counts["epochs"]
    at = [float(epochs[number]) if number < len(epochs) and epochs[number] else None for number in shown]
    return Series(name, "site", _values(column, "loss", shown), _values(column, "metric", shown), at)


def _swarm(name: str, means: Iterable[RoundMean], shown: Sequence[int], columns: Sequence[Column]) -> Series:
    by_round = {each.round: each for each in means}
    known = [by_round.get(number) for number in shown]
    loss, metric = ([rounded(getattr(each, of)) if each else None for each in known] for of in ("loss", "metric"))
    return Series(name, "swarm", loss, metric, _mean_epochs(columns, shown))


def _mean_epochs(columns: Sequence[Column], shown: Sequence[int]) -> list[float | None]:
    """How many epochs sites have done on average; before any has said so, none."""
    found: list[float | None] = []
    for number in shown:
        done = [epochs[number] for each in columns if number < len(epochs := each.counts["epochs"]) and epochs[number]]
        found.append(rounded(average(done)) if done else found[-1] if found else 0.0)
    return found


def _values(column: Column, name: str, shown: Sequence[int]) -> list[float | None]:
    return [rounded(column.measure(name, number)) for number in shown]


def _time(record: RunRecord, number: int) -> int:
    head = record.heads[number]
    return head.time_ms if head else record.begun_ms
