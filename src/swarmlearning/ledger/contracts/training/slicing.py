"""A round that is merged in slices: what members state about them, and what follows from that.

Every member that can merges its slices of all contributors' models (`Sliced`), and all fetch each slice as soon as it
is stated. Nothing here depends on who leads: statements hold for the recipe, so another leader goes on from them. What
goes wrong is settled by what members state, in `follow`, after each transaction:

- A slice whose merger is lost, or cannot merge it (`ReportFault`), goes to another member, which the contract chooses
  (`assigning.py`); so does one that the leader takes from a merger which is far too slow, or serves it to nobody
  (`Reassign`).
- A contributor whose model two mergers cannot get or use (of two organisations, where three or more take part), or all
  others, is left out of all slices: a new recipe, of which all slices are merged again. Where too few are left the
  round is collected again. Where mergers disagree about whom they cannot reach, and nobody can merge a slice, the one
  reported most is left out.
- Mergers that state different digests for one slice: a third decides, by merging it, too; where none is left, what most
  of those have stated that are there, or the leader has.
- By the geometric median mergers survey their slices first, and the leader states the coefficients that follow from
  their statistics (`Weigh`): a new recipe, which all merge by. With other contributors they survey anew.
- A slice that nobody holds from whom others can fetch is merged again, also of a result that stands: contributors keep
  their models until all present members have it.
- Where no member is there that could merge slices, or two leaders lack one that nobody is left to merge, or no model is
  left, the leader makes the result as in any other round.

The leader, which holds all, publishes once each slice is held by another live member (`publishing.py`); without that
wait where it was deposed before in the round, since the others may hang.
"""

from collections import Counter
from collections.abc import Collection

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training import transactions
from swarmlearning.ledger.contracts.training.assigning import (
    concerns,
    given_on,
    hardest_first,
    has_unobtainable_slice,
    mergers,
    passed_on,
    silent,
    unable_to,
)
from swarmlearning.ledger.contracts.training.bodies import (
    Exclusion,
    Held,
    Reassign,
    ReportFault,
    Sliced,
    StateLink,
    Weigh,
)
from swarmlearning.ledger.contracts.training.majorities import all_hold
from swarmlearning.ledger.contracts.training.mergemode import MergeMode, ms_of_one
from swarmlearning.ledger.contracts.training.recipes import (
    MOST_SURVEYS,
    contributions,
    divided,
    is_divisible,
    place,
    recipe_of,
    weighed,
)
from swarmlearning.ledger.contracts.training.sizes import model_size
from swarmlearning.ledger.contracts.training.slices import Fault, Link, Recipe, Slice, Slicing, live_holders, roots_of
from swarmlearning.ledger.contracts.training.state import Round, Training, alive, enough
from swarmlearning.ledger.contracts.training.transfers import back_in, check_coded
from swarmlearning.ledger.contracts.training.transitions import (
    are_enough,
    member_of,
    round_led,
    standing_result,
    without_slices,
)
from swarmlearning.ledger.contracts.training.weighing import WHOLE

MOST_DETAIL = 100
"""Characters that are kept of what a merger says about a fault."""

# --- transactions -----------------------------------------------------------------------------------------------------


def state_link(state: Training, body: StateLink, uid: str) -> Training:
    """Notes a member's link. Raises `Rejection`."""
    member_of(state, uid)
    link = Link(uid, body.up, body.down, body.merges)
    if link in state.links:
        raise Rejection(Code.NO_CHANGE, f"{uid} has stated this link already")
    others = [each for each in state.links if each.uid != uid and each.uid in state.members]
    return msgspec.structs.replace(state, links=tuple(sorted((*others, link), key=lambda each: each.uid)))


def sliced(state: Training, body: Sliced, uid: str) -> Training:
    """A merger has merged its slice, or surveyed it; so may have one that had it before, and whose word
    counts as much. Raises `Rejection`."""
    slicing, found = _slice(state, body.round, body.recipe, body.slice)
    if uid not in found.readers:
        raise Rejection(Code.NOT_MERGER, f"slice {body.slice} of round {body.round} is for {found.merger}, not {uid}")
    if uid in found.roots or uid in found.statistics:
        raise Rejection(Code.NO_CHANGE, f"{uid} has stated slice {body.slice} of round {body.round} already")
    check_coded(state, _round_of(state, body.round), body, survey=slicing.survey)
    if slicing.survey:
        changed = msgspec.structs.replace(found, statistics={**found.statistics, uid: body.root})
    else:
        changed = msgspec.structs.replace(found, roots={**found.roots, uid: body.root})
    if body.change:
        changed = msgspec.structs.replace(changed, changes={**found.changes, uid: body.change})
    return _with(state, slicing.with_slice(body.slice, changed))


def held(state: Training, body: Held, uid: str) -> Training:
    """A member holds copies of slices. Raises `Rejection`."""
    member_of(state, uid)
    before = slicing = _slice(state, body.round, body.recipe, max(body.slices))[0]
    for index in body.slices:
        found = slicing.slices[index]
        if not found.root:
            raise Rejection(Code.NOT_MERGED, f"it is not known yet what slice {index} of round {body.round} is")
        if uid not in found.holders:
            copies = {**found.copies, found.root: tuple(sorted((*found.copies.get(found.root, ()), uid)))}
            slicing = slicing.with_slice(index, msgspec.structs.replace(found, copies=copies))
    if body.roots != roots_of(before.slices, body.slices):
        raise Rejection(Code.NOT_MERGED, f"by now other digests count of these slices of round {body.round}")
    if slicing is before:
        raise Rejection(Code.NO_CHANGE, f"{uid} has stated these slices already")
    return _with(state, slicing)


def report_fault(state: Training, body: ReportFault, uid: str) -> Training:
    """A merger cannot merge its slice, because of one contributor. Raises `Rejection`."""
    slicing, found = _slice(state, body.round, body.recipe, body.slice)
    current = _round_of(state, body.round)
    if uid != found.merger:
        raise Rejection(Code.NOT_MERGER, f"slice {body.slice} of round {body.round} is for {found.merger}, not {uid}")
    if body.exclusion.uid not in {one.uid for one in contributions(state, current, slicing.excluded)}:
        raise Rejection(Code.NOT_A_MEMBER, f"{body.exclusion.uid} contributes nothing to round {body.round}")
    if body.exclusion.reason == "kept-back":
        raise Rejection(Code.WRONG_CONTRIBUTORS, "what a site keeps back follows from the ledger")
    if uid in found.roots or uid in found.statistics or uid in unable_to(slicing, body.slice):
        raise Rejection(Code.NO_CHANGE, f"{uid} has merged slice {body.slice}, or reported already why it cannot")
    shortened = msgspec.structs.replace(body.exclusion, detail=body.exclusion.detail[:MOST_DETAIL])
    fault = Fault(body.slice, uid, shortened)
    return _with(state, msgspec.structs.replace(slicing, faults=(*slicing.faults, fault)))


def reassign(state: Training, body: Reassign, uid: str) -> Training:
    """The leader takes slices from their mergers. Raises `Rejection`."""
    current = round_led(state, body.round, body.term, uid)
    before = slicing = _slice(state, current.number, body.recipe, max(body.slices))[0]
    for index in hardest_first(state, slicing, body.slices):
        slicing = passed_on(state, slicing, index, uid, body.term)
    if slicing == before:
        raise Rejection(Code.NOT_MERGER, f"nobody is left who could merge slices {list(body.slices)}")
    return _with(state, slicing)


def weigh(state: Training, body: Weigh, uid: str) -> Training:
    """The leader states the coefficients that follow from the statistics of all slices. From now on they are those of
    the recipe, whoever leads. Raises `Rejection`."""
    current = round_led(state, body.round, body.term, uid)
    slicing, _ = _slice(state, current.number, body.recipe, 0)
    if not slicing.survey:
        raise Rejection(Code.NO_CHANGE, f"the coefficients of round {body.round} are known already")
    if lacking := sum(not each.statistics for each in slicing.slices):
        raise Rejection(Code.NOT_MERGED, f"{lacking} of {len(slicing.slices)} slices have not been surveyed yet")
    parts = recipe_of(state, current, slicing).contributors
    if len(body.coefficients) != len(parts) or sum(body.coefficients) != WHOLE:
        raise Rejection(Code.WRONG_CONTRIBUTION, f"each of {len(parts)} models has a coefficient; they sum to {WHOLE}")
    if body.again and slicing.survey == MOST_SURVEYS:
        raise Rejection(Code.WRONG_CONTRIBUTION, f"after {MOST_SURVEYS} surveys the coefficients are known")
    found = msgspec.structs.replace(
        slicing, survey=slicing.survey + 1 if body.again else 0, weighed=weighed(parts, body.coefficients)
    )
    return _with(state, _anew(found, recipe_of(state, current, found)))


# --- what follows -----------------------------------------------------------------------------------------------------


def follow(state: Training, now_ms: int) -> Training:
    """The state after all that follows from it: rounds cut, contributors left out, slices given to others."""
    state = _cut(_decided(_timed(state, now_ms)), now_ms)
    while (after := _without_unusable(state)) is not state:
        state = _given(_cut(_decided(after), now_ms))
    return _given(state)


def _given(state: Training) -> Training:
    given = tuple(given_on(state, each) for each in state.slicings)
    return state if given == state.slicings else msgspec.structs.replace(state, slicings=given)


def is_to_be_sliced(state: Training, number: int) -> bool:
    """True if this round is to be merged in slices, as far as is known: nobody may read a whole model of it."""
    return state.merge_mode is not None and state.merge_mode.round == number and state.merge_mode.sliced


def slicing_of(state: Training, number: int) -> Slicing | None:
    """The slices of this round; None where one leader merges it."""
    for each in state.slicings:
        if each.round == number:
            return each
    return None


def open_slicing(state: Training, number: int) -> Slicing | None:
    """The same while the round's models are kept, so that a slice can be merged, or merged again."""
    slicing = slicing_of(state, number)
    return slicing if slicing and not slicing.over else None


def _decided(state: Training) -> Training:
    """How the round in progress is merged is decided as the first model is in, before anybody can read it: the leader
    of a round without slices fetches models at once, and with slices nobody reads a whole one."""
    current, mode = state.round, state.merge_mode or MergeMode()
    if current is None or mode.round == current.number or not (size := model_size(state, current)):
        return state
    if state.merge_mode is None and len(current.submissions) > 1:
        # Since then these rules are in force: a leader may have fetched models already.
        return msgspec.structs.replace(state, merge_mode=msgspec.structs.replace(mode, round=current.number))
    there = sum(member.present for member in state.members.values())
    by_links = ms_of_one(state.links, size, there)
    return msgspec.structs.replace(state, merge_mode=mode.decided(current.number, size * there, by_links))


def _cut(state: Training, now_ms: int) -> Training:
    """The round in progress is cut once it is frozen; that of the standing result stays until all have it. Where it
    travels as changes it stays as long as the result, for members that come back later."""
    current, mode = state.round, state.merge_mode
    frozen = current if current and current.phase == "frozen" else None
    of_the_round = slicing_of(state, frozen.number) if frozen else None
    kept = (*_of_the_result(state), *([of_the_round] if of_the_round else []))
    if kept != state.slicings:
        state = msgspec.structs.replace(state, slicings=kept)
    if frozen is None or mode is None or mode.round != frozen.number:
        return state
    if known := slicing_of(state, frozen.number):
        return _with_present_recipe(state, frozen, known)
    if mode.frozen_ms:
        return state
    slicing = divided(state, frozen) if mode.sliced else None
    comparable = slicing is not None if mode.sliced else is_divisible(state, frozen)
    mode = mode.frozen(now_ms, sliced=slicing is not None, comparable=comparable)
    slicings = (*state.slicings, slicing) if slicing else state.slicings
    return msgspec.structs.replace(state, merge_mode=mode, slicings=slicings)


def _of_the_result(state: Training) -> list[Slicing]:
    """The slices of the standing result that are still of use; there may be none."""
    result = state.result
    slicing = slicing_of(state, result.closed.number) if result else None
    if result is None or slicing is None:
        return []
    if slicing.over or not all_hold(state):
        return [slicing]
    coded = back_in(state, result.closed.base) != "float32"
    return [msgspec.structs.replace(slicing, over=True)] if coded else []


def _with_present_recipe(state: Training, current: Round, known: Slicing) -> Training:
    """Where the contributors have changed, what was stated was about others; who has left the swarm is not left out of
    the round any more. Where none is left, or no member that could merge slices, or leaders lack slices that nobody is
    left to merge, the leader makes the result as in any other round."""
    excluded = tuple(each for each in known.excluded if each.uid in current.submissions)
    present = msgspec.structs.replace(known, excluded=excluded)
    recipe = recipe_of(state, current, present)
    nobody_merges = bool(alive(state)) and not mergers(state, present)
    if not recipe.contributors or nobody_merges or has_unobtainable_slice(state, present):
        return without_slices(state, current.number)
    if recipe.name != known.recipe:
        present = _anew(present, recipe)
    return state if present == slicing_of(state, current.number) else _with(state, present)


def _anew(slicing: Slicing, recipe: Recipe) -> Slicing:
    """Nothing is stated about this recipe yet. Who has read a slice before may merge it, too, and has read it."""
    kept = slicing.weighed if slicing.weighed == recipe.contributors else ()
    slices = tuple(
        Slice(each.start, each.stop, each.merger, each.former, passed=each.passed) for each in slicing.slices
    )
    contributors = {each.uid for each in recipe.contributors}
    faults = tuple(each for each in slicing.faults if each.uid in contributors)
    return Slicing(slicing.round, recipe.name, slices, slicing.excluded, faults, recipe.survey, kept)


def _timed(state: Training, now_ms: int) -> Training:
    """Measures how long rounds take."""
    mode, result = state.merge_mode, state.result
    if mode and mode.is_measured and result and result.closed.number == mode.round and all_hold(state):
        return msgspec.structs.replace(state, merge_mode=mode.measured(now_ms))
    return state


def _without_unusable(state: Training) -> Training:
    """Leaves contributors out that mergers agree on; collects the round again where too few are left."""
    current = state.round
    slicing = slicing_of(state, current.number) if current else None
    if current is None or slicing is None or not slicing.faults:
        return state
    blamed = sorted({each.uid for each in slicing.faults})
    agreed = {uid: _why(state, slicing, uid) for uid in blamed if _is_agreed(state, slicing, uid)}
    agreed = agreed or _reported_by_all(state, slicing, blamed) or _blocking(state, slicing)
    if not agreed:
        return state
    excluded = (*slicing.excluded, *(agreed[uid] for uid in sorted(agreed)))
    there = current.submissions.keys() - {each.uid for each in excluded}
    if not enough(state, there) or not (current.base or contributions(state, current, excluded)):
        finders = {uid: [each.by for each in slicing.faults if each.uid == uid and not each.may_pass] for uid in agreed}
        return transactions.collect_again(state, current, excluded, finders)
    return _with_present_recipe(state, current, msgspec.structs.replace(slicing, excluded=excluded))


def _is_agreed(state: Training, slicing: Slicing, uid: str) -> bool:
    """True if two mergers cannot use this contributor's model, of two organisations where three or more take part."""
    organisations = {each: state.members[each].organisation for each in _reporters(state, slicing, uid) - {uid}}
    return are_enough(state, uid, organisations)


def _reported_by_all(state: Training, slicing: Slicing, blamed: Collection[str]) -> dict[str, Exclusion]:
    """The contributor that all report who can merge, but itself and those that keep silent (seed 490), where a slice is
    to be merged still, or only it has one (seed 3140). Where there is no such member, all that merge in its place (seed
    2438). One at a time: two that cannot reach each other report each other, and one of them can merge the rest."""
    mute = silent(slicing, state.round.term) if state.round else set[str]()
    able, instead = set(mergers(state, slicing)) - mute, {each.merger for each in slicing.slices} & alive(state) - mute
    counts: dict[str, int] = {}
    for uid in blamed:
        others, reporters = able - {uid} or instead - {uid}, _reporters(state, slicing, uid)
        if others and others <= reporters and not all(live_holders(each, others) for each in slicing.slices):
            counts[uid] = len(reporters)
    if not counts:
        return {}
    leader = state.round.leader if state.round else ""
    worst = max(counts, key=lambda uid: (counts[uid], uid != leader, place(state, uid)))
    return {worst: _why(state, slicing, worst)}


def _reporters(state: Training, slicing: Slicing, uid: str) -> set[str]:
    return {each.by for each in slicing.faults if each.uid == uid and each.by in state.members}


def _why(state: Training, slicing: Slicing, uid: str) -> Exclusion:
    """Why a contributor is left out. What one merger calls unusable does not count as that because another one cannot
    reach its site: that may be reached later, while a model that is barred is not taken again (seed 134)."""
    faults = [each for each in slicing.faults if each.uid == uid]
    unreached, unusable = ([each for each in faults if each.may_pass == no_way] for no_way in (True, False))
    organisations = {each.by: state.members[each.by].organisation for each in unusable if each.by in state.members}
    alone = unreached and not are_enough(state, uid, organisations)
    return (unreached if alone or not unusable else unusable)[-1].exclusion


def _blocking(state: Training, slicing: Slicing) -> dict[str, Exclusion]:
    """The contributor that is reported most where nobody can merge a slice, whomever each merger reports."""
    able = set(mergers(state, slicing))
    for index, each in enumerate(slicing.slices):
        held = live_holders(each, able) or each.roots.keys() & able
        if held or not able or not able <= unable_to(slicing, index):
            continue
        faults = [fault for fault in slicing.faults if fault.by in able and concerns(fault, index)]
        counts = Counter(fault.uid for fault in faults)
        worst = max(faults, key=lambda fault: (counts[fault.uid], place(state, fault.uid)))
        return {worst.uid: worst.exclusion}
    return {}


def _round_of(state: Training, number: int) -> Round:
    """The round in progress, or that of the standing result. Raises `Rejection`."""
    current = state.round
    return current if current and current.number == number else standing_result(state, number).closed


def _slice(state: Training, number: int, recipe: str, index: int) -> tuple[Slicing, Slice]:
    slicing = open_slicing(state, number)
    if slicing is None or slicing.recipe != recipe:
        raise Rejection(Code.OTHER_RECIPE, f"round {number} is not merged in slices, or of other models")
    if index >= len(slicing.slices):
        raise Rejection(Code.OTHER_RECIPE, f"round {number} has {len(slicing.slices)} slices; there is no {index}")
    return slicing, slicing.slices[index]


def _with(state: Training, slicing: Slicing) -> Training:
    slicings = tuple(slicing if each.round == slicing.round else each for each in state.slicings)
    return msgspec.structs.replace(state, slicings=slicings)
