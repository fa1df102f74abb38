"""The record of one run of a training contract: what each site did in each round, in a few dozen bytes a cell.

64 sites and 1,000 rounds are 64,000 cells: as objects they would need hundreds of bytes each, and whoever shows past
runs keeps the cells of all of them. So each site has a column of plain numbers, one for each round. Pure.
"""

from array import array
from collections.abc import Iterable, Mapping
from math import isnan, nan
from typing import Final, NamedTuple, Self

import msgspec

from swarmlearning.ledger.bodies import ReportPerformance
from swarmlearning.ledger.contracts.taskrunner import Taskrunner, taskrunner
from swarmlearning.ledger.contracts.training.state import Training, empty
from swarmlearning.ledger.history import RoundRecord
from swarmlearning.ledger.world import World
from swarmlearning.views.curves import RoundMean, average, best_round

UNKNOWN: Final = 0
CONTRIBUTED: Final = 1
LATE: Final = 2
LOST: Final = 3
ABSENT: Final = 4
EXCLUDED: Final = 5
"""The part of a site in a round, in the low bits of its cell; it was no member yet: `UNKNOWN`."""
PART: Final = 0x0F
REPEATED: Final = 0x10
WITHHELD: Final = 0x20
"""Beside `CONTRIBUTED`: its model was not trained for the round; its privacy lock gave none."""
REPORTED: Final = 0x40
"""It has reported that it holds the result, with whatever it has measured."""

ORDINARY: Final = 8
"""Eighths of the syncFrequency between rounds that are as far apart as the sites have said."""
MEASURES: Final = ("loss", "metric", "distance", "cosine")
COUNTS: Final = ("epochs", "total_epochs")


class Head(msgspec.Struct, frozen=True):
    """A round with a result; `time_ms` is the block time of that, `eighths` the pace at which it was trained (see
    `contracts/training/adaptive.py`): 8 where no site trains adaptively."""

    term: int
    leader: str
    time_ms: int
    eighths: int = ORDINARY


class RunTask(msgspec.Struct, frozen=True):
    """The assignment by which SWOPs have started a run's sites."""

    taskrunner: str
    serial: int
    task: str
    organisation: str
    on_behalf_of: str
    assigned_ms: int


class Curve(NamedTuple):
    """The means over the sites of each round that any site has measured, and the best of them."""

    means: list[RoundMean]
    best: RoundMean | None


class Column:
    """What one site did in each round, by number. Measures are NaN where nothing is stated; `measured`: it has stated a
    loss or a metric of any."""

    __slots__ = ("counts", "measured", "measures", "parts")

    def __init__(self) -> None:
        self.measured = False
        self.parts = bytearray()
        self.measures = {name: array("d") for name in MEASURES}
        self.counts = {name: array("Q") for name in COUNTS}

    def reach(self, number: int) -> None:
        """Makes room for the round of this number."""
        if (more := number + 1 - len(self.parts)) > 0:
            self.parts.extend(bytes(more))
            for measured in self.measures.values():
                measured.extend([nan] * more)
            for counted in self.counts.values():
                counted.extend([0] * more)

    def part(self, number: int) -> int:
        """The cell of this round."""
        return self.parts[number] if number < len(self.parts) else UNKNOWN

    def measure(self, name: str, number: int) -> float | None:
        """A measure of this round; None where none is stated."""
        found = self.measures[name]
        return None if number >= len(found) or isnan(found[number]) else found[number]

    def stated(self, number: int) -> bool:
        """True if a loss or a metric of this round is stated."""
        return self.measure("loss", number) is not None or self.measure("metric", number) is not None

    def saved(self) -> tuple[bytes, dict[str, bytes]]:
        """The cells, and the numbers by name, as bytes of this machine."""
        measures = {name: found.tobytes() for name, found in self.measures.items()}
        return bytes(self.parts), measures | {name: found.tobytes() for name, found in self.counts.items()}

    @classmethod
    def resumed(cls, parts: bytes, numbers: Mapping[str, bytes]) -> Self:
        """The column that was saved so. Raises `ValueError` for other bytes."""
        made = cls()
        made.parts = bytearray(parts)
        for found in (made.measures, made.counts):
            for name, column in found.items():
                column.frombytes(numbers.get(name, b""))
                if len(column) != len(parts):
                    raise ValueError(f"a column of {len(column)} {name} for {len(parts)} rounds")
        made.measured = any(map(made.stated, range(len(parts))))
        return made


class SavedRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run's record as it is kept on disk."""

    state: Training
    begun_ms: int
    over_ms: int
    reset_ms: int
    task: RunTask | None
    heads: list[Head | None]
    columns: dict[str, tuple[bytes, dict[str, bytes]]]
    excluded: dict[int, dict[str, str]]


class RunRecord:
    """One run. `state` is the newest of it; times are block times in Unix milliseconds, 0: not yet. `excluded`: why a
    site's model is not in the result, by round and UID."""

    def __init__(self, name: str, run: int) -> None:
        self.state = empty(name, run)
        self.begun_ms = self.over_ms = self.reset_ms = 0
        self.task: RunTask | None = None
        self.heads: list[Head | None] = []
        self.columns: dict[str, Column] = {}
        self.excluded: dict[int, dict[str, str]] = {}
        self._means: list[RoundMean | None] = []

    def advance(self, state: Training, time_ms: int) -> None:
        """The run stands like this at a block time."""
        self.state = state
        if state.members and not self.begun_ms:
            self.begun_ms = time_ms
        if state.over and not self.over_ms:
            self.over_ms = time_ms

    def end(self, time_ms: int) -> None:
        """The contract was reset: of the state only what a report needs is kept, without receipts and models."""
        self.reset_ms = time_ms
        result = self.state.result
        if result is not None:
            bare = msgspec.structs.replace(result.receipt, contributions=(), exclusions=())
            closed = msgspec.structs.replace(result.closed, submissions={}, late={}, barred={})
            result = msgspec.structs.replace(result, receipt=bare, closed=closed, losses={})
        self.state = msgspec.structs.replace(self.state, round=None, result=result)

    def close(self, record: RoundRecord) -> None:
        """A round has its result. Of one that is made again, the later stands."""
        number = record.number
        self.heads.extend([None] * (number + 1 - len(self.heads)))
        adaptive = any(member.adaptive for member in self.state.members.values())  # the ledger's pace moves in any case
        eighths = self.state.pace.eighths if adaptive else ORDINARY
        self.heads[number] = Head(record.term, record.leader, record.time_ms, eighths)
        self.excluded.pop(number, None)
        if record.excluded:
            self.excluded[number] = {part.uid: part.why for part in record.excluded}
        for column in self.columns.values():
            column.reach(number)
            column.parts[number] &= REPORTED
            for name in ("distance", "cosine"):
                column.measures[name][number] = nan
        for code, uids in (
            (CONTRIBUTED, record.contributed),
            (LATE, record.late),
            (LOST, record.lost),
            (ABSENT, record.absent),
            (EXCLUDED, [part.uid for part in record.excluded]),
        ):
            self._set(number, code, uids)
        self._set(number, REPEATED, record.repeated)
        self._set(number, WITHHELD, record.withheld)
        for part in record.contributions:
            for name, value in (("distance", part.distance), ("cosine", part.cosine)):
                if value is not None:
                    self.columns[part.uid].measures[name][number] = value

    def report(self, uid: str, body: ReportPerformance) -> None:
        """A site reports what it has measured with a result. What says nothing takes the place of nothing only."""
        column = self._column(uid, body.round)
        del self._means[body.round :]
        loss, metric = column.measures["loss"], column.measures["metric"]
        if column.parts[body.round] & REPORTED and body.loss is None and body.metric is None:
            return
        column.parts[body.round] |= REPORTED
        column.measured |= body.loss is not None or body.metric is not None
        loss[body.round] = nan if body.loss is None else body.loss
        metric[body.round] = nan if body.metric is None else body.metric
        column.counts["epochs"][body.round] = body.epochs
        column.counts["total_epochs"][body.round] = body.total_epochs

    def curve(self, count: int) -> Curve:
        """The swarm's curve over the first `count` rounds; only what has changed since the last time is computed."""
        columns = [column for uid, column in self.columns.items() if uid in self.state.members]
        self._means.extend(_mean(columns, number) for number in range(len(self._means), count))
        means = [mean for mean in self._means[:count] if mean is not None]
        return Curve(means, best_round(means, sum(column.measured for column in columns)))

    def saved(self) -> SavedRun:
        """What `resumed` takes."""
        return SavedRun(
            self.state,
            self.begun_ms,
            self.over_ms,
            self.reset_ms,
            self.task,
            self.heads,
            {uid: column.saved() for uid, column in self.columns.items()},
            self.excluded,
        )

    @classmethod
    def resumed(cls, saved: SavedRun) -> Self:
        """The record that was saved so. Raises `ValueError` for other bytes."""
        made = cls(saved.state.name, saved.state.run)
        made.state, made.task, made.heads = saved.state, saved.task, saved.heads
        made.begun_ms, made.over_ms, made.reset_ms = saved.begun_ms, saved.over_ms, saved.reset_ms
        made.columns = {uid: Column.resumed(*column) for uid, column in saved.columns.items()}
        made.excluded = saved.excluded
        return made

    def _set(self, number: int, code: int, uids: Iterable[str]) -> None:
        for uid in uids:
            self._column(uid, number).parts[number] |= code

    def _column(self, uid: str, number: int) -> Column:
        column = self.columns.get(uid)
        if column is None:
            column = self.columns[uid] = Column()
        column.reach(number)
        return column


def _mean(columns: Iterable[Column], number: int) -> RoundMean | None:
    stated = [column for column in columns if column.stated(number)]
    loss, metric = (
        [value for column in stated if (value := column.measure(name, number)) is not None]
        for name in ("loss", "metric")
    )
    return RoundMean(number, average(loss), average(metric), len(stated)) if stated else None


def task_of(world: World, state: Training, uid: str) -> RunTask | None:
    """The assignment for which a SWOP has started this site of a training; None where none has reported that."""
    member = state.members.get(uid)
    origin = member.origin if member else None
    runner = taskrunner(world, origin.taskrunner) if origin else None
    assignment = runner.assignment if runner else None
    if member is None or origin is None or runner is None or assignment is None or assignment.serial != origin.serial:
        return None
    if (uid, member.organisation) not in started(runner):
        return None
    person = assignment.on_behalf_of or ""
    return RunTask(
        runner.name, assignment.serial, assignment.task, assignment.organisation, person, assignment.assigned_ms
    )


def started(runner: Taskrunner) -> set[tuple[str, str]]:
    """UID and organisation of each site that a SWOP of that organisation has reported to have started."""
    return {(pair.uid, peer.organisation) for peer in runner.peers for pair in peer.reports}
