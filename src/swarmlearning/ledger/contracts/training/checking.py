"""What members state about the checks of a result (`checks.py`), and when it can be checked. Pure.

Contributors keep their models of a round that was merged in slices until the next round's are fixed, so until then its
result can be checked. A member says first that it checks (`Check`): from then on it may read its parts, which all see.
"""

from collections.abc import Set

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.bodies import Check, Checked
from swarmlearning.ledger.contracts.training.checks import (
    Checks,
    Part,
    assigned,
    merged_by,
    without_readers_of_all,
)
from swarmlearning.ledger.contracts.training.recipes import recipe_of
from swarmlearning.ledger.contracts.training.slices import Slice, Slicing
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Result, Training, alive
from swarmlearning.ledger.contracts.training.transitions import member_of


def is_open(state: Training) -> bool:
    """True while the contributions are kept from which the result of the last checks was merged: it stands, and the
    contributors of the next round are not fixed yet."""
    checks, result, current = state.checks, state.result, state.round
    if checks is None or result is None or state.settled or not _are_of(checks, result):
        return False
    return current is None or current.phase != "frozen"


def readable_parts(state: Training, number: int, contributor: str, readers: Set[str]) -> list[Part]:
    """The parts of this contributor's model of that round that these members may read now, to check its result."""
    checks = state.checks
    if checks is None or checks.round != number or not is_open(state):
        return []
    if contributor not in {each.uid for each in checks.recipe.contributors}:
        return []
    return [part for part in checks.parts if part.uid in readers and part.uid in checks.begun]


def check(state: Training, body: Check, uid: str) -> Training:
    """A member begins to check its part. Raises `Rejection`."""
    member_of(state, uid)
    checks = _checks(state, body.round, body.result)
    if uid in checks.begun:
        raise Rejection(Code.NO_CHANGE, f"{uid} has stated already that it checks round {body.round}")
    if not is_open(state):
        raise Rejection(Code.TOO_LATE, f"round {body.round} can no longer be checked: contributions are not kept")
    if not checks.parts_of(uid):
        raise Rejection(Code.NOT_CHECKER, f"no part of round {body.round} is for {uid} to check")
    begun = tuple(sorted((*checks.begun, uid)))
    return msgspec.structs.replace(state, checks=msgspec.structs.replace(checks, begun=begun))


def checked(state: Training, body: Checked, uid: str) -> Training:
    """A member that has begun states what it has found, once. Raises `Rejection`."""
    checks = _checks(state, body.round, body.result)
    if uid not in checks.begun:
        raise Rejection(Code.NOT_CHECKER, f"{uid} has not stated that it checks round {body.round}")
    if uid in checks.found:
        raise Rejection(Code.NO_CHANGE, f"{uid} has stated already what it found in round {body.round}")
    if list(body.wrong) != sorted(checks.slices_of(uid).intersection(body.wrong)):
        raise Rejection(Code.NOT_CHECKER, f"{uid} names slices of round {body.round} that are not for it to check")
    found = {**checks.found, uid: body.wrong}
    return msgspec.structs.replace(state, checks=msgspec.structs.replace(checks, found=found))


def follow(state: Training) -> Training:
    """The state where each result that was merged in slices has its parts assigned as soon as it stands; those of the
    last one stay, for people, until then, or until it is void."""
    result = state.result
    if result is None:
        return state if state.checks is None else msgspec.structs.replace(state, checks=None)
    slicing = slicing_of(state, result.closed.number)
    if slicing is None or (state.checks is not None and _are_of(state.checks, result)):
        return state
    return msgspec.structs.replace(state, checks=_made(state, result, slicing))


def _made(state: Training, result: Result, slicing: Slicing) -> Checks:
    members = sorted(alive(state))
    parts = assigned(slicing.slices, members, result.digest) if members else ()
    if len(members) > 2:  # one of two has read half of the other's model, or more, and checks the rest
        parts = without_readers_of_all(parts, slicing.slices)
    merged = []
    for each in slicing.slices:
        first, *others = merged_by(each)
        merged.append(Slice(each.start, each.stop, first, tuple(others)))
    recipe = recipe_of(state, result.closed, slicing)
    return Checks(result.closed.number, result.digest, recipe, tuple(merged), parts)


def _are_of(checks: Checks, result: Result) -> bool:
    return (checks.round, checks.result) == (result.closed.number, result.digest)


def _checks(state: Training, number: int, result: str) -> Checks:
    """Raises `Rejection`."""
    checks = state.checks
    if checks is None or (checks.round, checks.result) != (number, result):
        raise Rejection(Code.OTHER_ROUND, f"round {number} is not the last one that was merged in slices")
    return checks
