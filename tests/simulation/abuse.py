"""What members of rounds in slices could make of what they may do: a leader that keeps the others from speaking leaves
nobody out by that, several in turn read no more than they must, and who is accused by all is left out of all."""

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from simulation.ledger import CONTRACT
from simulation.occasions import Occasion, said
from simulation.slicerules import able, can_take, contributors
from simulation.violation import require
from swarmlearning.ledger.bodies import Depose, Reassign
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.recipes import recipe_of
from swarmlearning.ledger.contracts.training.slices import UNITS, Slicing, units_read
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Training, state_of
from swarmlearning.ledger.contracts.training.transitions import with_member
from swarmlearning.ledger.world import World

if TYPE_CHECKING:
    from simulation.swarm import Swarm

ABUSES: Final = ("accuses alone", "is left out by all others", "gets a slice of which leaders take all")
"""What happens, as it is counted."""
TERMS: Final = 4
"""Leaders, one after the other."""


def accuse_alone(swarm: "Swarm", on: Occasion) -> None:
    """A leader that takes all that it can from the others, in the first term, and then cannot use a model, as it says,
    leaves nobody out: the others are not silent yet, and have something to say. Who has said already that it cannot
    merge has not: where nobody can, one of those that are accused is left out (seed 472)."""
    leader, number = on.current.leader, on.slicing.round
    own = [index for index in on.indexes if on.slicing.slices[index].merger == leader]
    known = {each.uid for each in on.slicing.faults}
    accused = [uid for uid in contributors(on.current, on.slicing) if uid not in (leader, *known)]
    there = able(on.state, on.slicing) - {leader} - {each.by for each in on.slicing.faults}
    if on.current.term or not own or not accused or len(there - {accused[0]}) < 2:
        return
    world = swarm.log.head.world
    takes = [Reassign(number, 0, on.slicing.recipe, (index,)) for index in on.indexes if index not in own]
    for body in (*takes, on.fault(own[0], accused[0])):
        with suppress(Rejection):
            world = said(swarm, world, leader, body)
    swarm.moves[ABUSES[0]] += 1
    left = slicing_of(state_of(world, CONTRACT), number)
    out = left is None or accused[0] in {each.uid for each in left.excluded}
    require(not out, f"{leader} alone leaves {accused[0]} out of round {number}")


def accuse_together(swarm: "Swarm", on: Occasion) -> None:
    """All other mergers of slices that are not merged yet accuse one. Where it is left out what is merged, or surveyed,
    is of the others alone, by coefficients of theirs, and nothing is stated of it yet."""
    accused = on.dice.choice(sorted(contributors(on.current, on.slicing)))
    world = swarm.log.head.world
    for index in on.indexes:
        merger = on.slicing.slices[index].merger
        if merger != accused:
            with suppress(Rejection):
                world = said(swarm, world, merger, on.fault(index, accused))
    state = state_of(world, CONTRACT)
    current, left = state.round, slicing_of(state, on.slicing.round)
    if current is None or left is None or accused not in {each.uid for each in left.excluded}:
        return
    swarm.moves[ABUSES[1]] += 1
    recipe = recipe_of(state, current, left)
    merged = {one.uid: one.digest for one in recipe.contributors}
    require(merged == contributors(current, left), f"without {accused}, round {current.number} is of {merged}")
    named = recipe.name == left.recipe != on.slicing.recipe
    require(named, f"without {accused}, round {current.number} has another recipe than it names")
    stated = [index for index, each in enumerate(left.slices) if each.roots or each.statistics]
    require(not stated, f"what was stated with the model of {accused} counts without it: slices {stated}")


def take_in_turn(swarm: "Swarm", on: Occasion) -> None:
    """Leaders take all that they can, and give up, where nobody could fetch from one of the members lately: whoever
    gets a slice by that and reads all of a model then does so only where nobody else could have got it."""
    hidden = on.dice.choice(on.members)
    world, number = _without_way_to(swarm.log.head.world, hidden), on.slicing.round
    for _ in range(TERMS):
        state = state_of(world, CONTRACT)
        current, slicing = state.round, slicing_of(state, number)
        if current is None or slicing is None or not current.leader or current.number != number:
            return
        for index in on.indexes:
            body = Reassign(number, current.term, slicing.recipe, (index,))
            with suppress(Rejection):
                before, world = world, said(swarm, world, current.leader, body)
                _check_taken(before, world, number, index)
                swarm.moves[ABUSES[2]] += 1
        node = network.node(world, current.leader)
        assert node is not None
        give_up = Depose(number, current.term, node.incarnation, swarm.log.head.height, "progress")
        with suppress(Rejection):
            world = said(swarm, world, current.leader, give_up)


def _without_way_to(world: World, uid: str) -> World:
    """The same world where nobody could fetch from this member lately."""
    state = state_of(world, CONTRACT)
    member = msgspec.structs.replace(state.members[uid], unreachable=True)
    return world.with_entries({f"training/{CONTRACT}": with_member(state, member)})


def _check_taken(before: World, after: World, number: int, index: int) -> None:
    was, now = state_of(before, CONTRACT), state_of(after, CONTRACT)
    known, slicing = slicing_of(was, number), slicing_of(now, number)
    if known is None or slicing is None:
        return
    given = slicing.slices[index].merger
    if given == known.slices[index].merger:
        return  # another one of the digests that its mergers have stated counts
    better = can_take(was, known, index, but=()) if given not in able(was, known) else ()
    require(not better, f"slice {index} goes to {given}, whom nobody can fetch from, and not to {sorted(better)}")
    found = known.slices[index]
    if given not in found.former and units_read(known, given) + found.units == UNITS:
        spare = _spare(was, known, index)
        require(not spare, f"{given} reads all of round {number}, and {spare} could have merged slice {index}")


def _spare(state: Training, slicing: Slicing, index: int) -> list[str]:
    """Who could be given this slice by its leader, and would not read all by that."""
    found, leader = slicing.slices[index], state.round.leader if state.round else ""
    others = can_take(state, slicing, index, but={leader, *found.former})
    return [uid for uid in sorted(others) if units_read(slicing, uid) + found.units < UNITS]
