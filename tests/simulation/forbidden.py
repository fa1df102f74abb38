"""What the ledger has to refuse, whoever says it: no honest site tries it, and adversarial ones do so rarely. And what
it has to accept of a leader. It is tried with the contract alone, and ordered nowhere."""

import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from simulation.abuse import accuse_alone, accuse_together, take_in_turn
from simulation.models import name
from simulation.moves import STRANGER
from simulation.occasions import Occasion, refusal
from simulation.slicerules import can_take, contributors, counting, holding, unable, unusable
from simulation.violation import require
from swarmlearning.ledger.bodies import (
    Body,
    Check,
    Checked,
    Held,
    Reassign,
)
from swarmlearning.ledger.contracts.training.recipes import MOST_SURVEYS
from swarmlearning.ledger.contracts.training.slices import roots_of
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Training

if TYPE_CHECKING:
    from simulation.swarm import Swarm

TRIED: Final = 0.25
"""The probability that something is tried after a block."""
AT_ONCE: Final = 3
"""Kinds of which one is tried then, each."""
ABUSED: Final = 0.2
"""The probability that members make as much as they can then of what they may do."""
MADE_UP: Final = name("made up by nobody")


Try = tuple[str, Body]
"""Who says it, and what."""


def slice_of_another(on: Occasion) -> Iterator[Try]:
    for index in on.indexes:
        each = on.slicing.slices[index]
        for uid in on.members:
            if uid not in (each.merger, *each.former):
                yield uid, on.sliced(index, MADE_UP)


def another_word(on: Occasion) -> Iterator[Try]:
    for index in on.indexes:
        each = on.slicing.slices[index]
        for uid in {**each.roots, **each.statistics}:
            yield uid, on.sliced(index, MADE_UP)


def copies_of_other_bytes(on: Occasion) -> Iterator[Try]:
    for index in on.indexes:
        each = on.slicing.slices[index]
        for uid in on.members if counting(each) else ():
            if uid not in holding(each):
                yield uid, Held(on.slicing.round, on.slicing.recipe, (index,), MADE_UP)


def copies_of_nothing(on: Occasion) -> Iterator[Try]:
    for index in on.indexes:
        if not counting(on.slicing.slices[index]):
            roots = roots_of(on.slicing.slices, [index])
            yield on.members[0], Held(on.slicing.round, on.slicing.recipe, (index,), roots)


def fault_of_another_merger(on: Occasion) -> Iterator[Try]:
    for index in on.indexes:
        for uid in on.members:
            if uid != on.slicing.slices[index].merger:
                yield uid, on.fault(index, on.dice.choice(sorted(contributors(on.current, on.slicing))))


def fault_of_a_stranger(on: Occasion) -> Iterator[Try]:
    others = [uid for uid in on.members if uid not in contributors(on.current, on.slicing)]
    for index in on.indexes:
        merger = on.slicing.slices[index].merger
        if merger in on.state.members:
            yield merger, on.fault(index, on.dice.choice([STRANGER, *others]))


def slice_taken_twice(on: Occasion) -> Iterator[Try]:
    for index in on.indexes:
        if index in on.taken and not on.slicing.slices[index].ruled:
            yield on.current.leader, Reassign(on.current.number, on.current.term, on.slicing.recipe, (index,))


def slice_taken_by_another(on: Occasion) -> Iterator[Try]:
    body = Reassign(on.current.number, on.current.term, on.slicing.recipe, (on.indexes[0],))
    yield from ((uid, body) for uid in on.members if uid != on.current.leader)


def weighed_by_another(on: Occasion) -> Iterator[Try]:
    if on.slicing.survey:
        yield from ((uid, on.weigh(again=False)) for uid in on.members if uid != on.current.leader)


def weighed_unsurveyed(on: Occasion) -> Iterator[Try]:
    if on.slicing.survey and not all(each.statistics for each in on.slicing.slices):
        yield on.current.leader, on.weigh(again=False)


def surveyed_for_ever(on: Occasion) -> Iterator[Try]:
    if on.slicing.survey == MOST_SURVEYS:
        yield on.current.leader, on.weigh(again=True)


OF_SLICES: Final[dict[str, Callable[[Occasion], Iterator[Try]]]] = {
    "states a slice that was never for it": slice_of_another,
    "states a slice twice": another_word,
    "says that it holds other bytes than count": copies_of_other_bytes,
    "holds what nobody knows": copies_of_nothing,
    "reports a fault in a slice of another": fault_of_another_merger,
    "reports a fault of one that contributes nothing": fault_of_a_stranger,
    "takes a slice twice in a term": slice_taken_twice,
    "takes a slice, and does not lead": slice_taken_by_another,
    "weighs models, and does not lead": weighed_by_another,
    "weighs models that were not surveyed": weighed_unsurveyed,
    "has models surveyed for ever": surveyed_for_ever,
}


OF_CHECKS: Final = (
    "calls slices wrong that others check",
    "states what it has not begun to check",
    "checks what is not kept",
    "states again what it has found",
)


def tries_of_checks(state: Training, dice: random.Random) -> Iterator[tuple[str, Try]]:
    """What members may not say of the checks of the last result."""
    checks = state.checks
    if checks is None:
        return
    result, current = state.result, state.round
    stands = result is not None and result.digest == checks.result and result.closed.number == checks.round
    kept = stands and not state.settled and (current is None or current.phase == "collecting")
    for uid in sorted(state.members):
        own = checks.slices_of(uid)
        if uid in checks.begun and (others := set(range(len(checks.slices))) - own):
            wrong = Checked(checks.round, checks.result, (dice.choice(sorted(others)),))
            yield OF_CHECKS[0], (uid, wrong)
        if uid not in checks.begun:
            yield OF_CHECKS[1], (uid, Checked(checks.round, checks.result))
            if not kept:
                yield OF_CHECKS[2], (uid, Check(checks.round, checks.result))
        if uid in checks.found:
            yield OF_CHECKS[3], (uid, Checked(checks.round, checks.result))


class Forbidden:
    """Tries it now and then; chance is drawn from dice of its own."""

    def __init__(self, swarm: "Swarm") -> None:
        self._swarm = swarm
        self._dice = random.Random(f"forbidden {swarm.seed}")

    def advanced(self, state: Training, taken: frozenset[int]) -> None:
        """With some blocks, tries some of it."""
        if self._dice.random() >= TRIED:
            return
        current = state.round
        slicing = slicing_of(state, current.number) if current else None
        if current is not None and slicing is not None:
            on = Occasion(state, current, slicing, taken, self._dice)
            for what in self._dice.sample(list(OF_SLICES), AT_ONCE):
                if (found := next(OF_SLICES[what](on), None)) is not None:
                    self._is_refused(what, *found)
            self._take(on)
            if self._dice.random() < ABUSED:
                self._dice.choice((accuse_alone, accuse_together, take_in_turn))(self._swarm, on)
        elif found_all := list(tries_of_checks(state, self._dice)):
            what, tried = self._dice.choice(found_all)
            self._is_refused(what, *tried)

    def _is_refused(self, what: str, uid: str, body: Body) -> None:
        self._swarm.moves[what] += 1
        require(refusal(self._swarm, uid, body) is not None, f"{uid} {what}, and is not refused: {body}")

    def _take(self, on: Occasion) -> None:
        """A leader that does not get a slice may take it from its merger, once a term, where another one can merge it:
        also one that could not have some model before, but has not called it of no use."""
        leader, index = on.current.leader, on.indexes[0]
        each = on.slicing.slices[index]
        if not leader or leader in (each.merger, *holding(each)) or index in on.taken:
            return
        others = can_take(on.state, on.slicing, index, but=())
        again = unable(on.slicing, index) - unusable(on.slicing, index) - each.roots.keys() - {each.merger}
        if others or again.intersection(on.members):
            body = Reassign(on.current.number, on.current.term, on.slicing.recipe, (index,))
            why = refusal(self._swarm, leader, body)
            require(why is None, f"{leader} may not take slice {index} from {each.merger}: {why}")
