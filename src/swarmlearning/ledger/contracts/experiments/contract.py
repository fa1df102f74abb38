"""Experiments as a kind of contract: each is a training contract's runs, under its name.

Operators note what concerns their own organisation's view only, so each acts alone: there is nothing to sign. Where a
contract names its members, only they, its owner and its observers do so.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import OPERATORS, OperatorsContract, Permission, Rule, TxContext
from swarmlearning.ledger.contracts.experiments.bodies import MAX_TAGS, AnnotateRun, HideRun, TagRun
from swarmlearning.ledger.contracts.experiments.state import AREA, Annotation, annotations
from swarmlearning.ledger.contracts.network.quotas import check_annotations
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.fields import Body
from swarmlearning.ledger.world import World


def _annotated(known: Annotation, body: AnnotateRun) -> Annotation:
    return msgspec.structs.replace(known, text=body.text)


def _tagged(known: Annotation, body: TagRun) -> Annotation:
    tags = tuple(sorted({*known.tags, *body.add}.difference(body.remove)))
    if len(tags) > MAX_TAGS:
        raise Rejection(
            Code.TOO_MANY,
            f"run {known.run} of contract {known.contract} would have {len(tags)} tags of organisation "
            f"{known.organisation}; {MAX_TAGS} are possible, take others away",
        )
    return msgspec.structs.replace(known, tags=tags)


def _hidden(known: Annotation, body: HideRun) -> Annotation:
    return msgspec.structs.replace(known, hidden=body.hidden)


def _changing(change: Callable[[Annotation, Any], Annotation]) -> Callable[[World, str, Any, TxContext], World]:
    """The handler of a body that changes the annotation of the sender's organisation so."""

    def handle(world: World, contract: str, body: AnnotateRun | TagRun | HideRun, tx: TxContext) -> World:
        own = tx.signer.organisation
        _check_run(world, contract, body.run, own)
        blank = Annotation(contract, body.run, own, tx.sender, tx.time_ms)
        before = world.get(blank.key, Annotation)
        after = change(before or blank, body)
        if after == (before or blank):
            raise Rejection(Code.NO_CHANGE, f"organisation {own} has noted this about run {body.run} already")
        if after.empty:
            return world.without([after.key])
        _check_room(world, before, after)
        stamped = msgspec.structs.replace(after, by=tx.sender, changed_ms=tx.time_ms, on_behalf_of=tx.on_behalf_of)
        return world.with_entries({stamped.key: stamped})

    return handle


def _check_run(world: World, contract: str, run: int, organisation: str) -> None:
    """Raises `Rejection` unless there is or was such a run, and it concerns the organisation."""
    state = world.get(f"training/{contract}", Training)
    if state is None or run > state.run or (run == state.run and not state.members):
        latest = 0 if state is None else state.run if state.members else state.run - 1
        raise Rejection(Code.NO_RUN, f"contract {contract} has no run {run}: it has had {latest}")
    charter = state.charter
    if charter is not None and charter.members:
        named = {charter.owner, *charter.members, *charter.observers}
        if organisation not in named:
            raise Rejection(
                Code.NOT_INVITED,
                f"contract {contract} is for {', '.join(sorted(named))}; its runs are not annotated by {organisation}",
            )


def _check_room(world: World, before: Annotation | None, after: Annotation) -> None:
    """Raises `Rejection` where the organisation has noted too much: every node keeps it all."""
    others = [each for each in annotations(world) if each.organisation == after.organisation and each.key != after.key]
    check_annotations(
        world,
        after.organisation,
        present=len(others) if before is None else 0,
        size=sum(each.size for each in others) + after.size,
        more=after.size > (before.size if before else 0),
    )


_BY_OPERATORS = Permission(OPERATORS)


class ExperimentContract(OperatorsContract):
    """Fulfils `Contract`."""

    kind = "experiment"
    single = False
    entries: Mapping[str, type[msgspec.Struct]] = {AREA: Annotation}
    rules: Mapping[type[Body], Rule] = {
        AnnotateRun: Rule(_changing(_annotated), _BY_OPERATORS),
        TagRun: Rule(_changing(_tagged), _BY_OPERATORS),
        HideRun: Rule(_changing(_hidden), _BY_OPERATORS),
    }


EXPERIMENTS = ExperimentContract()
