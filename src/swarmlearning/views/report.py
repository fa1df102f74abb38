"""Facts about whole trainings, collected from a verified chain block by block: rounds, participation, curves."""

from collections.abc import Iterable
from typing import Literal, Self, TypeAlias

import msgspec

from swarmlearning.ledger.bodies import ReportPerformance
from swarmlearning.ledger.chain import Chain, Step
from swarmlearning.ledger.contracts.training.state import Training, empty
from swarmlearning.ledger.history import RoundRecord, rounds
from swarmlearning.views.curves import Reported, RoundMean, best_round, round_means
from swarmlearning.views.growth import Growth
from swarmlearning.views.nodes import sl_names
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
    """The records of a recorder up to the block with the hash `head`; reports with contract, run and sender."""

    head: str
    void: str
    states: list[Training]
    rounds: list[RoundRecord]
    reports: list[tuple[str, int, str, ReportPerformance]]
    moments: list[tuple[Key, Moments]]
    growth: Growth = Growth()


class Recorder:
    """Collects what a chain records about trainings, and its `growth`; `chain` is the one after the last block.

    `void` names the first block that is void and the reason, empty without one. Memory grows with rounds, not with
    blocks.
    """

    def __init__(self) -> None:
        self.chain = Chain()
        self.void = ""
        self.growth = Growth()
        self.timeline = Timeline()
        self._states: dict[tuple[str, int], Training] = {}
        self._rounds: dict[tuple[str, int], dict[int, RoundRecord]] = {}
        self._reports: dict[tuple[str, int], dict[tuple[int, str], ReportPerformance]] = {}

    def add(self, step: Step) -> None:
        """Adds the next verified block."""
        self.chain = step.chain
        self.growth = self.growth.after(step)
        if step.void is not None:
            self.void = self.void or f"block {step.chain.height} is void: {step.void}"
        if step.void is not None:
            return
        self.timeline.add(step)
        for signed in step.block.transactions:
            state = step.chain.world.get(f"training/{signed.content.contract}", Training)
            if state is None:
                continue
            key, body = (state.name, state.run), signed.content.body
            self._states[key] = state
            if isinstance(body, ReportPerformance):
                found = self._reports.setdefault(key, {})
                earlier = found.get((body.round, signed.content.sender))
                if earlier is None or body.loss is not None or body.metric is not None:
                    found[body.round, signed.content.sender] = body
        for record in rounds([step]):
            # A round that was voided and merged again comes twice: the later one stands.
            self._rounds.setdefault((record.contract, record.run), {})[record.number] = record

    def saved(self) -> bytes:
        """Returns what was collected until now, as bytes for `resumed`."""
        return msgspec.json.encode(
            _Saved(
                head=self.chain.hash,
                void=self.void,
                states=list(self._states.values()),
                rounds=[record for found in self._rounds.values() for record in found.values()],
                reports=[(*key, uid, body) for key, found in self._reports.items() for (_, uid), body in found.items()],
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
        made._states = {(state.name, state.run): state for state in saved.states}
        for record in saved.rounds:
            made._rounds.setdefault((record.contract, record.run), {})[record.number] = record
        for contract, run, uid, body in saved.reports:
            made._reports.setdefault((contract, run), {})[body.round, uid] = body
        return made

    @property
    def trainings(self) -> list[tuple[str, int]]:
        """Contract and run of every training with a session on the chain, oldest first."""
        return [key for key, state in self._states.items() if state.members]

    def report(self, contract: str = "", run: int | None = None, problem: str = "") -> TrainingReport:
        """The report of one training: by default of the contract with the most rounds, and of its latest run."""
        name = contract or main_contract(self.chain.world)
        latest = self.chain.world.get(f"training/{name}", Training) or empty(name)
        number = latest.run if run is None else run
        state = latest if number == latest.run else self._states.get((name, number), empty(name, number))
        members = {uid: shown for uid, shown in sl_names(self.chain.world).items() if uid in state.members}
        key = (name, state.run)
        standing = [one for number, one in sorted(self._rounds.get(key, {}).items()) if number < state.rounds]
        holders = state.result.holders if state.result else ()
        model = state.result.digest if state.result else ""
        performances = [
            Performance(number, members[uid], body.loss, body.metric, body.epochs, body.total_epochs)
            for (number, uid), body in sorted(self._reports.get(key, {}).items(), key=lambda entry: entry[0])
            if uid in members and number < state.rounds
        ]
        return TrainingReport(
            problem=problem or self.void,
            over=state.over,
            rounds=[_round(record, members) for record in standing],
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


def _round(record: RoundRecord, names: dict[str, str]) -> RoundReport:
    def named(uids: tuple[str, ...]) -> list[str]:
        return [name for uid, name in names.items() if uid in uids]

    return RoundReport(
        number=record.number,
        leader=names[record.leader],
        contributors=named(record.contributed),
        late=named(record.late),
        lost=named(record.lost),
        absent=named(record.absent),
        excluded={names[part.uid]: part.why for part in record.excluded},
        influence={names[part.uid]: Influence(part.distance, part.cosine) for part in record.contributions},
        time_ms=record.time_ms,
        repeated=named(record.repeated),
    )
