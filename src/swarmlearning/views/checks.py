"""What members have checked of a result that was merged in slices: facts, and their one rendering as text."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from swarmlearning.ledger.contracts.training.checking import is_open
from swarmlearning.ledger.contracts.training.checks import Checks, found_wrong
from swarmlearning.ledger.contracts.training.slices import UNITS, Slice, chunks_between
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.views.names import Names, name_of

Standing: TypeAlias = Literal["checked", "checking", "not-checked"]


class CheckedPart(msgspec.Struct, frozen=True):
    """A member's part: its `share` of the model, and in which slices it has found other bytes."""

    uid: str
    share: float
    standing: Standing
    wrong: tuple[int, ...] = ()


class WrongSlice(msgspec.Struct, frozen=True):
    """A slice in which members have found other bytes than the contributions give, and who has merged it."""

    slice: int
    merged_by: tuple[str, ...]
    found_by: tuple[str, ...]


class RoundChecks(msgspec.Struct, frozen=True):
    """The checks of a round's result: how much of it has been `checked`, 0 to 1, whether more can be (`open`)."""

    round: int
    result: str
    open: bool
    checked: float
    parts: tuple[CheckedPart, ...]
    wrong: tuple[WrongSlice, ...] = ()


def round_checks(state: Training) -> RoundChecks | None:
    """Those of the last result that was merged in slices; None where there is none."""
    checks = state.checks
    if checks is None:
        return None
    parts = tuple(
        CheckedPart(uid, checks.units_of([uid]) / UNITS, _standing(checks, uid), checks.found.get(uid, ()))
        for uid in checks.members
    )
    wrong = tuple(
        WrongSlice(index, _mergers(checks.slices[index]), tuple(found_by))
        for index, found_by in found_wrong(checks).items()
    )
    done = checks.units_of(checks.found) / UNITS
    return RoundChecks(checks.round, checks.result, is_open(state), done, parts, wrong)


def named(found: RoundChecks, name: Callable[[str], str]) -> RoundChecks:
    """The same with names in the place of UIDs, for people."""
    replace = msgspec.structs.replace
    return replace(
        found,
        parts=tuple(replace(part, uid=name(part.uid)) for part in found.parts),
        wrong=tuple(
            replace(
                each,
                merged_by=tuple(name(uid) for uid in each.merged_by),
                found_by=tuple(name(uid) for uid in each.found_by),
            )
            for each in found.wrong
        ),
    )


def chunks_of(checks: Checks, uid: str, count: int) -> list[range]:
    """The chunks that a member checks, of a model with so many; none of a run that is shorter than a chunk."""
    runs = [chunks_between(part.start, part.stop, count) for part in checks.parts_of(uid)]
    return [run for run in runs if run]


def checks_text(found: RoundChecks, names: Names) -> str:
    """What has been checked, in one line; what is wrong, by name, in lines after it."""
    by = [part for part in found.parts if part.standing == "checked"]
    left = [part for part in found.parts if part.standing != "checked"]
    number = f"round {found.round}"
    if not by:
        text = f"nothing of {number} has been checked yet" if found.open else f"nothing of {number} has been checked"
    else:
        right = ", and all of that is right" if not found.wrong else ""
        text = f"{_percent(found.checked)} of {number} have been checked, by {_members(len(by))}{right}"
    if by and left:
        text += f"; {_members(len(left))} {'has not checked its part' if len(left) == 1 else 'have not checked theirs'}"
    return "\n".join([text, *(_wrong_text(each, names) for each in found.wrong)])


def _wrong_text(wrong: WrongSlice, names: Names) -> str:
    mergers, finders = ([name_of(names, uid) for uid in uids] for uids in (wrong.merged_by, wrong.found_by))
    return (
        f"slice {wrong.slice + 1}, merged by {', '.join(mergers)}, has other bytes than the sites' models give, as "
        f"{', '.join(finders)} {'states' if len(finders) == 1 else 'state'}"
    )


def _mergers(found: Slice) -> tuple[str, ...]:
    return found.merger, *found.former


def _standing(checks: Checks, uid: str) -> Standing:
    if uid in checks.found:
        return "checked"
    return "checking" if uid in checks.begun else "not-checked"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _members(count: int) -> str:
    return "1 member" if count == 1 else f"{count} members"
