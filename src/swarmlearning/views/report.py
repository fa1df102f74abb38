"""Facts about whole trainings, collected from a verified chain block by block: rounds, participation, curves."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, Self, TypeAlias

import msgspec

from swarmlearning.ledger.bodies import OpenSession, ReportPerformance, Submit
from swarmlearning.ledger.chain import Chain, Step
from swarmlearning.ledger.contracts.training.state import Training, empty
from swarmlearning.ledger.history import rounds
from swarmlearning.views.curves import Reported, RoundMean, best_round, round_means
from swarmlearning.views.growth import Growth
from swarmlearning.views.nodes import sl_names
from swarmlearning.views.records import (
    ABSENT,
    CONTRIBUTED,
    COUNTS,
    EXCLUDED,
    LATE,
    LOST,
    PART,
    REPEATED,
    REPORTED,
    Head,
    RunRecord,
    SavedRun,
    task_of,
)
from swarmlearning.views.resets import ended_runs
from swarmlearning.views.timeline import Key, Moments, Timeline
from swarmlearning.views.training import main_contract

Part: TypeAlias = Literal["led and contributed", "led", "contributed", "repeated", "late", "lost", "excluded", "absent"]
"""`repeated`: it contributed a model that was not trained for this round, such as that of a script that had ended."""


class Influence(msgspec.Struct, frozen=True):
    """As the round's leader states: how far a site's model lay from the merged one, and the cosine of the angle
    between its update and the merged update; null is not stated. An outlier has the largest distance of all."""

    distance: float | None
    cosine: float | None


class RoundReport(msgspec.Struct, frozen=True):
    """A round with a result. Each site that had a session is in exactly one of the five lists from `contributors` to
    `excluded`, which has the reasons; `influence` has an entry for each contributor, `repeated` those of them whose
    model was not trained for this round, `time_ms` is the block time of the result."""

    number: int
    leader: str
    contributors: list[str]
    late: list[str]
    lost: list[str]
    absent: list[str]
    excluded: dict[str, str]
    influence: dict[str, Influence] = {}
    time_ms: int = 0
    repeated: list[str] = []

    def part(self, site: str) -> Part:
        """The part of this site in the round."""
        if site == self.leader:
            return "led and contributed" if site in self.contributors else "led"
        if site in self.contributors:
            return "repeated" if site in self.repeated else "contributed"
        if site in self.late:
            return "late"
        if site in self.lost:
            return "lost"
        return "excluded" if site in self.excluded else "absent"


class Performance(msgspec.Struct, frozen=True):
    """A site's report after it had loaded the result of a round: its own loss and metric, and epochs done."""

    round: int
    site: str
    loss: float | None
    metric: float | None
    epochs: int
    total_epochs: int


class TrainingReport(msgspec.Struct, frozen=True):
    """One run of a training contract, numbered from 1. `problem` is why the chain does not verify, empty when it does;
    the rest is what the blocks that do verify contain. `holds` maps each site to the final model (digest) it has
    reported to hold. `best`: the round with the best result, as sites have measured; see `best_round`."""

    problem: str
    over: bool
    rounds: list[RoundReport]
    model: str
    holds: dict[str, str | None]
    contract: str = ""
    run: int = 1
    performances: list[Performance] = []
    best: RoundMean | None = None


class _Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The records of a recorder up to the block with the hash `head`."""

    head: str
    void: str
    runs: list[SavedRun]
    moments: list[tuple[Key, Moments]]
    growth: Growth = Growth()


class Recorder:
    """Collects what a chain records about trainings, and its `growth`; `chain` is the one after the last block.

    `void` names the first block that is void and the reason, empty without one; `runs` are the records of all runs by
    contract and number, oldest first. Memory grows with rounds, not with blocks.
    """

    def __init__(self) -> None:
        self.chain = Chain()
        self.void = ""
        self.growth = Growth()
        self.timeline = Timeline()
        self.runs: dict[tuple[str, int], RunRecord] = {}

    def add(self, step: Step) -> None:
        """Adds the next verified block."""
        self.chain = step.chain
        self.growth = self.growth.after(step)
        if step.void is not None:
            self.void = self.void or f"block {step.chain.height} is void: {step.void}"
            return
        self.timeline.add(step)
        for signed in step.block.transactions:
            state = step.chain.world.get(f"training/{signed.content.contract}", Training)
            if state is None:
                continue
            run, now_ms = self._run(state.name, state.run), step.block.header.time_ms
            run.advance(state, now_ms)
            match signed.content.body:
                case ReportPerformance() as report:
                    run.report(sys.intern(signed.content.sender), report)
                case OpenSession() | Submit() if run.task is None:
                    run.task = task_of(step.chain.world, state, signed.content.sender)
        for _, former in ended_runs(step):
            if (ended := self.runs.get((former.name, former.run))) is not None:
                ended.advance(former, step.block.header.time_ms)
                ended.end(step.block.header.time_ms)
        for record in rounds([step]):
            self._run(record.contract, record.run).close(record)

    def _run(self, name: str, number: int) -> RunRecord:
        found = self.runs.get((name, number))
        if found is None:
            found = self.runs[name, number] = RunRecord(name, number)
        return found

    def saved(self) -> bytes:
        """Returns what was collected until now, as bytes for `resumed`."""
        return msgspec.json.encode(
            _Saved(
                head=self.chain.hash,
                void=self.void,
                runs=[run.saved() for run in self.runs.values()],
                moments=list(self.timeline.rounds.items()),
                growth=self.growth,
            )
        )

    @classmethod
    def resumed(cls, chain: Chain, data: bytes) -> Self:
        """A recorder that goes on after `chain`, for which `data` was saved. Raises `ValueError` for other bytes."""
        try:
            saved = msgspec.json.decode(data, type=_Saved)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"not the records of a chain: {error}") from error
        if saved.head != chain.hash:
            raise ValueError("the records of another chain")
        made = cls()
        made.chain, made.void, made.growth = chain, saved.void, saved.growth
        made.timeline.resume(chain.world, dict(saved.moments))
        for each in map(RunRecord.resumed, saved.runs):
            made.runs[each.state.name, each.state.run] = each
        return made

    @property
    def trainings(self) -> list[tuple[str, int]]:
        """Contract and run of every training with a session on the chain, oldest first."""
        return [key for key, run in self.runs.items() if run.state.members]

    def report(self, contract: str = "", run: int | None = None, problem: str = "") -> TrainingReport:
        """The report of one training: by default of the contract with the most rounds, and of its latest run."""
        name = contract or main_contract(self.chain.world)
        latest = self.chain.world.get(f"training/{name}", Training) or empty(name)
        number = latest.run if run is None else run
        record = self.runs.get((name, number)) or RunRecord(name, number)
        state = latest if number == latest.run else record.state
        members = {uid: shown for uid, shown in sl_names(self.chain.world).items() if uid in state.members}
        holders = state.result.holders if state.result else ()
        model = state.result.digest if state.result else ""
        performances = list(performances_of(record, members, state.rounds))
        return TrainingReport(
            problem=problem or self.void,
            over=state.over,
            rounds=[
                _round(record, number, head, members)
                for number, head in enumerate(record.heads[: state.rounds])
                if head is not None
            ],
            model=model,
            holds={shown: model if uid in holders else None for uid, shown in members.items()},
            contract=name,
            run=state.run,
            performances=performances,
            best=best_of(performances),
        )


def best_of(performances: Iterable[Performance]) -> RoundMean | None:
    """The round with the best result, None where no site has measured anything."""
    reports = [Reported(each.round, each.site, each.loss, each.metric) for each in performances]
    measured = {each.site for each in reports if each.loss is not None or each.metric is not None}
    return best_round(round_means(reports), len(measured))


def performances_of(record: RunRecord, names: Mapping[str, str], count: int) -> Iterator[Performance]:
    """What the sites of these names have reported of the first `count` rounds, by round and UID."""
    columns = [(names[uid], record.columns[uid]) for uid in sorted(names.keys() & record.columns.keys())]
    for number in range(count):
        for name, column in columns:
            if column.part(number) & REPORTED:
                epochs, total = (column.counts[each][number] for each in COUNTS)
                loss, metric = (column.measure(each, number) for each in ("loss", "metric"))
                yield Performance(number, name, loss, metric, epochs, total)


def _round(record: RunRecord, number: int, head: Head, names: dict[str, str]) -> RoundReport:
    cells = {uid: record.columns[uid].part(number) for uid in names if uid in record.columns}

    def named(code: int) -> list[str]:
        return [names[uid] for uid, cell in cells.items() if cell & PART == code]

    def influence(uid: str) -> Influence:
        column = record.columns[uid]
        return Influence(column.measure("distance", number), column.measure("cosine", number))

    return RoundReport(
        number=number,
        leader=names[head.leader],
        contributors=named(CONTRIBUTED),
        late=named(LATE),
        lost=named(LOST),
        absent=named(ABSENT),
        excluded={names[uid]: record.excluded[number][uid] for uid, cell in cells.items() if cell & PART == EXCLUDED},
        influence={names[uid]: influence(uid) for uid, cell in cells.items() if cell & PART == CONTRIBUTED},
        time_ms=head.time_ms,
        repeated=[names[uid] for uid, cell in cells.items() if cell & REPEATED],
    )
