"""Slices go to others as soon as it is known that their mergers cannot merge them; of each counts what most have
stated."""

from simulation.slicerules import able, can_take, counting, holding, unable
from simulation.violation import require
from swarmlearning.ledger.contracts.training.slices import Slicing
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Training


def check_counting(known: Slicing | None, slicing: Slicing) -> None:
    """What counts of a slice, and who holds that, follows from what was stated."""
    before = known.slices if known else ()
    for index, each in enumerate(slicing.slices):
        if index < len(before) and each is before[index]:
            continue
        require(each.root == counting(each), f"slice {index} counts as {each.root[:6]}: {each.roots}")
        require(each.holders == holding(each), f"{set(each.holders)} hold slice {index}, and not {holding(each)}")


def check_given_on(before: Training, state: Training, slicing: Slicing) -> None:
    """Slices that nobody holds, and whose merger is lost or cannot merge them, go to others at once. Where all
    that could have merged one have, one of them is right; and where none of them can, it is due to some model."""
    result, known = state.result, slicing_of(before, slicing.round)
    standing = result is not None and result.closed.number == slicing.round
    there = able(state, slicing)
    alive = {uid for uid, member in state.members.items() if member.alive}
    if slicing.over or (result is not None and standing and not there.isdisjoint(result.holders)):
        return
    for index, each in enumerate(slicing.slices):
        former = known.slices[index] if known and len(known.slices) == len(slicing.slices) else each
        if each.merger != former.merger and each.merger not in there:
            better = can_take(state, slicing, index, but=each.former)
            require(not better, f"slice {index} goes to {each.merger}, whom nobody can fetch from, not to {better}")
        if not there.isdisjoint(holding(each)):
            continue
        cannot = unable(slicing, index)
        takers = sorted(there - cannot)
        if set(takers) <= set(each.former) and each.merger in alive and each.merger not in cannot:
            continue  # a leader has taken it from all these
        stays = each.merger not in there or each.merger in cannot
        require(not stays or not takers, f"slice {index} stays with {each.merger}, and does not go to {takers}")
        if there and not takers and not standing:
            stated = there & each.roots.keys()
            require(bool(stated), f"slice {index} can be merged by nobody, for {slicing.faults}")
            require(bool(counting(each)), f"nobody decides what slice {index} is: {each.roots}")
