"""Trainings as they go: for each contract the round in progress, who is waited for and why, and how each site is."""

from functools import partial

import msgspec
from fastapi import FastAPI

from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.world import World
from swarmlearning.ui.network.feed import Feed
from swarmlearning.ui.network.notes import Note
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Here
from swarmlearning.views.checks import RoundChecks, round_checks
from swarmlearning.views.checks import named as named_checks
from swarmlearning.views.names import displayed, fetch_addresses, name_of, node_names
from swarmlearning.views.render import REASONS, waiting_text
from swarmlearning.views.runs import LONGEST_NOTE, RunSummary, summary_of
from swarmlearning.views.sliced import RoundWay, round_way, with_names
from swarmlearning.views.training import Activity, Phase, activity, waiting_in
from swarmlearning.views.trainings import ContractState, contract_status


class ContractRow(msgspec.Struct, frozen=True):
    """A contract in short: `path` of its page, the present run, and for whom it waits."""

    name: str
    path: str
    state: ContractState
    run: int
    rounds: int
    sites: int
    text: str


class TrainingListView(msgspec.Struct, frozen=True):
    """All training contracts, those at work first."""

    contracts: list[ContractRow]


class SiteNow(msgspec.Struct, frozen=True):
    """A site of a training now. `reason`: why its model is not in the round, empty where it is. `share` of its epochs
    is done; `left_ms`: what the rest takes at that pace. None: not known."""

    name: str
    organisation: str
    activity: Activity
    reason: str
    leads: bool
    contributed: int
    epochs: int
    total_epochs: int
    share: float | None
    left_ms: int | None
    loss: float | None
    metric: float | None


class TrainingView(msgspec.Struct, frozen=True):
    """A contract: its present run (None before the first session), and its round in progress. `notes` wait for a run
    to begin. `way`: how the round is merged, once that is decided; `checks`: what members have checked of the last
    result that several sites have merged. Both have names in the place of UIDs."""

    name: str
    contract: str
    run: RunSummary | None
    phase: Phase
    text: str
    round: int | None
    leader: str
    opened_ms: int | None
    have: int
    need: int
    sites: list[SiteNow]
    notes: list[Note] = []
    way: RoundWay | None = None
    checks: RoundChecks | None = None


def add_training(app: FastAPI) -> None:
    """The pages."""

    @page(app, "/training", "training.html")
    async def trainings(visit: Here) -> TrainingListView:
        return list_view(visit.feed.chain.world)

    @page(app, "/training/{contract:path}", "contract.html")
    async def training(visit: Here, contract: str) -> TrainingView:
        found = training_view(visit.feed, contract)
        if found is None:
            raise Denied(404, "training.no-contract")
        notes = [_shown(each) for each in await visit.feed.notes.waiting() if each.contract == contract]
        return msgspec.structs.replace(found, notes=notes)


def list_view(world: World) -> TrainingListView:
    """The list's data."""
    rows = [_row(world, state) for state in world.area("training/", Training)]
    order = ("RUNNING", "INITIALIZED", "UNINITIALIZED", "COMPLETED")
    return TrainingListView(sorted(rows, key=lambda row: (order.index(row.state), row.name)))


def _row(world: World, state: Training) -> ContractRow:
    found = contract_status(world, state.name)
    return ContractRow(found.name, state.name, found.state, state.run, state.rounds, found.active_peers, found.text)


def training_view(feed: Feed, contract: str) -> TrainingView | None:
    """A contract's data; None where there is no such contract."""
    world, recorder = feed.chain.world, feed.recorder
    state = world.get(f"training/{contract}", Training)
    if state is None:
        return None
    facts, names = waiting_in(world, state), node_names(world)
    named = partial(name_of, names)
    begun = (contract, state.run) in recorder.runs and bool(state.members)
    run = summary_of(recorder, contract, state.run, feed.organisation) if begun else None
    passed = feed.chain.time_ms - run.begun_ms if run and run.begun_ms else 0
    reasons = {each.uid: REASONS.get(each.reason, "") for each in facts.awaited}
    return TrainingView(
        name=displayed(contract),
        contract=contract,
        run=run,
        phase=facts.phase,
        text=waiting_text(facts, names, fetch_addresses(world)),
        round=facts.round,
        leader=name_of(names, facts.leader) if facts.leader else "",
        opened_ms=facts.since_ms,
        have=facts.have,
        need=facts.need,
        sites=[
            _site(state, uid, name_of(names, uid), reasons.get(uid, ""), facts.leader == uid, passed)
            for uid in sorted(state.members)
        ],
        way=with_names(way, named) if (way := round_way(state)) else None,
        checks=named_checks(checks, named) if (checks := round_checks(state)) else None,
    )


def _shown(note: Note) -> Note:
    """A note that is safe to show."""
    return msgspec.structs.replace(note, text=displayed(note.text, LONGEST_NOTE), person=displayed(note.person))


def _site(state: Training, uid: str, name: str, reason: str, leads: bool, passed_ms: int) -> SiteNow:
    member = state.members[uid]
    report = member.performance
    done, total = (report.epochs, report.total_epochs) if report else (0, member.epochs)
    left = passed_ms * (total - done) // done if done and total > done and not state.over else None
    return SiteNow(
        name=name,
        organisation=member.organisation,
        activity=activity(state, member),
        reason=reason,
        leads=leads,
        contributed=member.contributed,
        epochs=done,
        total_epochs=total,
        share=min(1.0, done / total) if total else None,
        left_ms=left,
        loss=report.loss if report else None,
        metric=report.metric if report else None,
    )
