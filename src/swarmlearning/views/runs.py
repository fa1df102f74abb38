"""All runs of training contracts, past and present: who requested them, how they went, what is noted about them.

From a `Recorder` alone, so from the verified ledger. A run is named by its contract and its number: `study/2`. Names
and notes are safe to show. Pure.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import msgspec

from swarmlearning.errors import UserError
from swarmlearning.ledger.contracts.experiments import Annotation, annotations_of
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.contracts.training.state import Member, Training
from swarmlearning.ledger.world import World
from swarmlearning.views.agreed import outer_of, transfer_back_of, transfer_of
from swarmlearning.views.curves import RoundMean
from swarmlearning.views.names import LONGEST_PERSON, Names, displayed, name_of, node_names
from swarmlearning.views.records import CONTRIBUTED, PART, RunRecord
from swarmlearning.views.report import Recorder

LONGEST_NOTE = 2000

State: TypeAlias = Literal["opening", "running", "over", "reset"]
"""No round has begun; rounds go on; training is over; the contract was reset before that."""


class UnknownRunError(UserError):
    """There is no such run on the ledger."""


class Note(msgspec.Struct, frozen=True):
    """What an organisation has noted about a run; `lines` of its text, `by`: its operator, or the person for whom."""

    organisation: str
    lines: tuple[str, ...]
    tags: tuple[str, ...]
    hidden: bool
    by: str
    changed_ms: int


class Parameters(msgspec.Struct, frozen=True):
    """What all sites of a run have in common; what differs is a range, such as `16-32`; empty where none is known."""

    merge_method: str
    min_peers: int
    initial: str
    sync_frequency: str
    epochs: str
    weightage: str
    weights: str
    adaptive: str
    checkin: str
    min_organisations: int
    structure: str
    outer_optimizer: str = ""
    transfer: str = "float32"
    transfer_back: str = "float32"


class RunSummary(msgspec.Struct, frozen=True):
    """One run. `requested_by`: the person for whom its task was assigned, or else its contract created; empty where
    none is stated. `task` by `taskrunner` has started its sites, `assigned_by` an organisation. Times in Unix
    milliseconds, None: not yet. `loss`, `metric`: means over the sites, of the latest round that any has measured.
    `tags`: of all organisations; `hidden`: from the organisation that asks."""

    id: str
    contract: str
    run: int
    state: State
    owner: str
    task: str
    taskrunner: str
    assigned_by: str
    requested_by: str
    begun_ms: int | None
    ended_ms: int | None
    sites: tuple[str, ...]
    organisations: tuple[str, ...]
    rounds: int
    loss: float | None
    metric: float | None
    best: RoundMean | None
    model: str
    parameters: Parameters
    notes: tuple[Note, ...]
    tags: tuple[str, ...]
    hidden: bool


class SiteView(msgspec.Struct, frozen=True):
    """A site of a run: in how many rounds it took which part, and its latest measures."""

    name: str
    organisation: str
    weightage: int
    sync_frequency: int
    contributed: int
    missed: int
    loss: float | None
    metric: float | None
    holds: bool


class RunView(msgspec.Struct, frozen=True):
    """A run with its sites; what is drawn of it is in `runcharts`."""

    summary: RunSummary
    sites: tuple[SiteView, ...]


def run_id(contract: str, run: int) -> str:
    """The name of a run."""
    return f"{contract}/{run}"


def run_key(named: str) -> tuple[str, int]:
    """Contract and number of a run's name. Raises `UnknownRunError` for what names none."""
    contract, _, number = named.rpartition("/")
    if not contract or not number.isascii() or not number.isdigit() or len(number) > 10:
        raise UnknownRunError(
            f"{displayed(named)!r} names no run; a run is named by its contract and its number: "
            "defaultbb.cqdb.sml.hpe/1"
        )
    return contract, int(number)


def record_of(recorder: Recorder, contract: str, run: int) -> RunRecord:
    """The record of a run that has begun. Raises `UnknownRunError`, which lists those that there are."""
    found = recorder.runs.get((contract, run))
    if found is None or not found.state.members:
        known = [displayed(run_id(*key)) for key in recorder.trainings[-10:]]
        raise UnknownRunError(
            f"the ledger has no run {run} of contract {displayed(contract)}; the latest are "
            f"{', '.join(known) or 'none'}"
        )
    return found


def run_list(recorder: Recorder, organisation: str = "", *, hidden: bool = False) -> list[RunSummary]:
    """All runs, newest first: without those that the `organisation` has hidden, unless these are wanted, too."""
    found = [summary_of(recorder, *key, organisation) for key in recorder.trainings]
    found.sort(key=lambda each: (each.begun_ms or 0, each.run), reverse=True)
    return [each for each in found if hidden or not each.hidden]


def summary_of(recorder: Recorder, contract: str, run: int, organisation: str = "") -> RunSummary:
    """One run as an organisation sees it. Raises `UnknownRunError`."""
    record, world = record_of(recorder, contract, run), recorder.chain.world
    state, charter, task = latest(world, record), record.state.charter, record.task
    means, best = record.curve(state.rounds)
    noted = annotations_of(world, contract, run)
    person = (task.on_behalf_of if task else "") or (charter.on_behalf_of if charter else "")
    return RunSummary(
        id=run_id(contract, run),
        contract=displayed(contract),
        run=run,
        state=_state(record, state),
        owner=charter.sole_owner if charter else "",
        task=displayed(task.task) if task else "",
        taskrunner=displayed(task.taskrunner) if task else "",
        assigned_by=task.organisation if task else "",
        requested_by=displayed(person, LONGEST_PERSON),
        begun_ms=record.begun_ms or None,
        ended_ms=record.over_ms or record.reset_ms or None,
        sites=tuple(name_of(node_names(world), uid) for uid in sorted(state.members)),
        organisations=tuple(sorted({each.organisation for each in state.members.values()})),
        rounds=state.rounds,
        loss=means[-1].loss if means else None,
        metric=means[-1].metric if means else None,
        best=best,
        model=state.result.digest if state.result else "",
        parameters=_parameters(state),
        notes=tuple(_note(world, each) for each in noted),
        tags=tuple(sorted({displayed(tag) for each in noted for tag in each.tags})),
        hidden=any(each.hidden and each.organisation == organisation for each in noted),
    )


def run_view(recorder: Recorder, contract: str, run: int, organisation: str = "") -> RunView:
    """A run with its sites. Raises `UnknownRunError`."""
    summary = summary_of(recorder, contract, run, organisation)
    record, names = record_of(recorder, contract, run), node_names(recorder.chain.world)
    state = latest(recorder.chain.world, record)
    return RunView(summary, tuple(_site(record, state, names, uid) for uid in sorted(state.members)))


def latest(world: World, record: RunRecord) -> Training:
    """The run as it stands: of the present one also what has changed without a transaction of its own."""
    now = world.get(f"training/{record.state.name}", Training)
    return now if now is not None and now.run == record.state.run else record.state


def _state(record: RunRecord, state: Training) -> State:
    if state.over:
        return "over"
    if record.reset_ms:
        return "reset"
    return "running" if state.round is not None or state.rounds else "opening"


def _site(record: RunRecord, state: Training, names: Names, uid: str) -> SiteView:
    member, column = state.members[uid], record.columns.get(uid)
    parts = column.parts[: state.rounds] if column else b""
    contributed = sum(part & PART == CONTRIBUTED for part in parts)
    measured = [column.measure(name, number) for name, number in _last(record, uid, state.rounds)] if column else []
    loss, metric = measured or (None, None)
    return SiteView(
        name=name_of(names, uid),
        organisation=member.organisation,
        weightage=member.weightage,
        sync_frequency=member.sync_frequency,
        contributed=contributed,
        missed=sum(bool(part & PART) for part in parts) - contributed,
        loss=loss,
        metric=metric,
        holds=state.result is not None and uid in state.result.holders,
    )


def _last(record: RunRecord, uid: str, rounds: int) -> Sequence[tuple[str, int]]:
    """Loss and metric, each with the latest round of which the site has stated it."""
    column = record.columns[uid]
    found = []
    for name in ("loss", "metric"):
        stated = (number for number in range(rounds - 1, -1, -1) if column.measure(name, number) is not None)
        found.append((name, next(stated, rounds)))
    return found


def _parameters(state: Training) -> Parameters:
    terms, charter, members = state.terms, state.charter, list(state.members.values())
    return Parameters(
        merge_method=terms.merge_method if terms else "",
        min_peers=terms.min_peers if terms else 0,
        initial=terms.initial if terms else "",
        sync_frequency=_range(each.sync_frequency for each in members),
        epochs=_range(each.epochs for each in members),
        weightage=_range(each.weightage for each in members),
        weights=charter.weights if charter else "own",
        adaptive=_some(members, "adaptive"),
        checkin=", ".join(sorted({each.checkin for each in members})),
        min_organisations=charter.min_organisations if charter else 1,
        structure=terms.structure if terms else "",
        outer_optimizer=outer_of(state),
        transfer=transfer_of(state),
        transfer_back=transfer_back_of(state),
    )


def _range(values: Iterable[int]) -> str:
    found = sorted(set(values))
    return "" if not found else str(found[0]) if len(found) == 1 else f"{found[0]}-{found[-1]}"


def _some(members: Sequence[Member], name: str) -> str:
    """Which of the members this is true of: `all`, `some` or `none`."""
    true = sum(bool(getattr(each, name)) for each in members)
    return "none" if not true else "all" if true == len(members) else "some"


def _note(world: World, found: Annotation) -> Note:
    operator = world.get(f"node/{found.by}", Node)
    return Note(
        organisation=found.organisation,
        lines=tuple(displayed(line, LONGEST_NOTE) for line in found.text.split("\n")) if found.text else (),
        tags=tuple(displayed(tag) for tag in found.tags),
        hidden=found.hidden,
        by=displayed(found.on_behalf_of or (operator.name if operator else found.by), LONGEST_PERSON),
        changed_ms=found.changed_ms,
    )
