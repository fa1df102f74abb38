"""Outer steps in the simulation: what a site makes of a merge, and what is to hold of it.

A step's outcome is named by all that it follows from. Who makes it from damaged files notices that at once: real sites
do so when what they have made is not what the ledger states.
"""

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from simulation import models, wayback
from simulation.violation import require
from swarmlearning.ledger.bodies import Publish
from swarmlearning.ledger.contracts.training.outer import OuterOptimizer, Step
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.contracts.training.steps import made_of, momentum_of, takes_steps
from swarmlearning.rounds.events import Dropped

if TYPE_CHECKING:
    from simulation.site import Plan, Site
    from simulation.swarm import Swarm

NESTEROV = OuterOptimizer("nesterov", "0.7", "0.9")
SHARE = 0.3
"""Of the swarms, those that have an outer optimizer."""


def is_stepped(seed: int) -> bool:
    """Whether the swarm of this seed has an outer optimizer."""
    return random.Random(f"outer {seed}").random() < SHARE


def sound(plan: "Plan") -> "Plan":
    """The plan as it can be with an outer optimizer."""
    return replace(plan, adaptive=False, checkin="active" if plan.checkin == "snapshot" else plan.checkin)


def stepped(base: str, momentum: str, merged: str) -> tuple[str, Step]:
    """The names of what a step makes."""
    made = (base, momentum, merged)
    return models.name("stepped", *made), Step(merged, models.name("momentum", *made))


def take(site: "Site", training: Training, base: str, merged: str) -> tuple[str, Step] | None:
    """Steps, and stores what is made; None where what it begins with is not here, or damaged, which the machine is
    told."""
    momentum = momentum_of(training, base)
    needed = {base, momentum} - {""}
    if not needed <= site.store.whole:
        for digest in sorted(needed - site.store.whole):
            site.store.drop(digest)
            site.tell(Dropped(digest))
        return None
    result, step = stepped(base, momentum, merged)
    for digest in (result, *made_of(step)):
        site.store.put(digest)
    return result, step


def wanted(site: "Site", training: Training, result: str) -> list[set[str]]:
    """What a site fetches to have this result, the first choice first: what was merged, where it can make the result of
    that, or the result and its momentum."""
    step = training.steps.get(result)
    if step is None:
        return wayback.wanted(site, training, result)
    direct = {result, step.momentum} - {""} - site.store.whole
    standing = training.result
    if standing is None or standing.digest != result or result in site.store.whole:
        return [direct]
    base = standing.closed.base
    here = {base, momentum_of(training, base)} - {""} <= site.store.whole
    ways = [way - site.store.whole for way in wayback.wanted(site, training, step.merged)]
    return [*ways, direct] if here else [direct]


def arrived(site: "Site", training: Training, result: str, came: set[str]) -> None:
    """Stores what has come, and makes the result of it."""
    for digest in came:
        site.store.put(digest)
        site.store.known(digest)
    wayback.arrived(site, training, came)
    step, standing = training.steps.get(result), training.result
    if step is None or standing is None or {result, step.momentum} - {""} <= site.store.whole:
        return
    made = take(site, training, standing.closed.base, step.merged)
    require(made is None or made == (result, step), f"{site.uid} makes another result than {result[:6]}")
    for digest in (result, *made_of(step)) if made else ():
        site.store.known(digest)


class StepWitness:
    """Knows what each momentum and result was made of."""

    def __init__(self, swarm: "Swarm") -> None:
        self._swarm = swarm
        self._momenta: dict[str, str] = {}

    def published(self, before: Training, after: Training, sender: str, body: Publish) -> None:
        """Checks that a result is one step from its base towards what was merged, by the base's own momentum."""
        current = before.round
        assert current is not None
        what = f"the result of round {body.round}, by {sender}"
        due = takes_steps(before, current) and body.result != current.base
        require(due == (body.step is not None), f"{what} has no step, or one too many")
        if body.step is None:
            return
        self._momenta[body.result] = body.step.momentum
        if sender not in self._swarm.sites:
            return
        expected = stepped(current.base, self._momenta.get(current.base, ""), body.step.merged)
        require((body.result, body.step) == expected, f"{what} is another step than that from its base")
        require(after.steps.get(body.result) == body.step, f"{what}: its momentum is not kept")
        self._swarm.struck["outer step"] += 1

    def advanced(self, before: Training, after: Training) -> None:
        """Checks that each model that training can go on from, or back to, has its momentum as long as it is there."""
        named = {after.result.digest, after.result.closed.base} if after.result else set()
        named |= {after.round.base} if after.round else set()
        for model, step in before.steps.items():
            if model in named and before.run == after.run:
                require(after.steps.get(model) == step, f"the momentum of {model[:6]} has changed, or is gone")
        require(set(after.steps) <= named, "a momentum is kept of a model that nobody goes on from")
