"""Fetching the slices that others have merged: from those who state that they have them, or else from anybody.

All fetch each slice as soon as it is stated, so others have most of what a merger has made when its link is cut. What
they have the ledger does not show; they are asked all the same, before those that do not answer or are lost.
"""

from collections.abc import Sequence, Set
from typing import Final

from swarmlearning.ledger.contracts.training.recipes import place
from swarmlearning.ledger.contracts.training.slices import Slice, Slicing, live_holders
from swarmlearning.ledger.contracts.training.state import Round, alive
from swarmlearning.ledger.contracts.training.transfers import back_in
from swarmlearning.rounds.events import Timer
from swarmlearning.rounds.facts import RoundFacts
from swarmlearning.rounds.known import Progress, is_here, subject
from swarmlearning.rounds.linking import Linking
from swarmlearning.rounds.slices import Coded, FetchSlice, SliceMissing
from swarmlearning.rounds.timers import NEVER

TRIES: Final = 5
"""Attempts to get a slice of the standing result before the whole of it is fetched, which has several times as many
bytes as the changes that slices are: a link may be cut for a moment."""


def note_missing(known: Progress, standing: Slicing | None, failed: SliceMissing) -> None:
    """Nobody who was asked has given the slice. `standing`: the slices of the standing result."""
    known.missed[failed.slice] += 1
    known.unresponsive |= known.tried.get(failed.slice, set())
    if standing is not None and standing.recipe == failed.recipe:
        tries = TRIES if standing.slices[failed.slice].change else 1
        known.in_vain = known.in_vain or known.missed[failed.slice] >= tries


def collect(facts: RoundFacts, linking: Linking, current: Round, slicing: Slicing, known: Progress) -> None:
    """Wants all slices that are not here, of those that were merged."""
    there = facts.once("others", lambda: alive(facts.training) - {facts.uid})
    result = facts.training.result
    have_all = there.intersection(result.holders) if result and result.closed is current else set[str]()
    for index, each in enumerate(slicing.slices):
        if not each.root or is_here(known, index, each) or _is_to_be_stated(known, index, each, facts.uid):
            continue
        holders = live_holders(each, there) | have_all
        others = () if holders - known.unresponsive else _in_turn(facts, there - holders, index)
        asked = {*holders, *others}
        pauses = subject(FetchSlice, slicing.recipe, index)
        if holders - known.tried.get(index, holders):
            facts.timers.resume(pauses)
            known.missed.pop(index, None)
        if not asked or facts.timers.pausing(pauses):
            continue
        late = Timer("slice", NEVER, pauses)
        if len(asked) > 1 and facts.timers.every(late, linking.seconds(current, slicing, facts.uid)):
            known.turns[index] = known.turns.get(index, 0) + 1
            facts.timers.pause(pauses)  # what is not wanted meanwhile is cancelled: another is tried first then
            continue
        known.tried[index] = holders
        if have_all:
            order = _in_turn(facts, holders - known.unresponsive or holders, index)
        else:
            order = _likeliest_first(facts, each, holders, known.unresponsive)
        turned = _turned(order, known.turns.get(index, 0))
        coded = Coded(each.change, current.base, back_in(facts.training, current.base)) if each.change else None
        work = FetchSlice(slicing.recipe, index, each.start, each.stop, each.root, turned, coded=coded, others=others)
        facts.work.want(work, facts.now)


def _is_to_be_stated(known: Progress, index: int, found: Slice, uid: str) -> bool:
    """True while the ledger does not show yet that this node has merged the slice, in another way than those that count
    so far: what it fetched would take the place of what it is about to state (seed 973)."""
    return index in known.merged and uid in found.readers and uid not in found.roots


def _likeliest_first(facts: RoundFacts, found: Slice, holders: Set[str], unresponsive: Set[str]) -> tuple[str, ...]:
    return tuple(
        sorted(holders, key=lambda uid: (uid in unresponsive, uid not in found.roots, place(facts.training, uid)))
    )


def _in_turn(facts: RoundFacts, others: Set[str], index: int) -> tuple[str, ...]:
    """These members, for each slice first another one: nobody is asked for all, and one whose link is cut for few."""
    return _turned(sorted(others, key=lambda uid: place(facts.training, uid)), index)


def _turned(order: Sequence[str], turns: int) -> tuple[str, ...]:
    first = turns % max(1, len(order))
    return (*order[first:], *order[:first])
