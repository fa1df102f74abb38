"""The way back as coded changes, in some seeds: what a site fetches in the place of what was merged, and what is to
hold of it.

A change is named by its base and by what it gives of it. Who has the base whole makes that of it.
"""

import random
from typing import TYPE_CHECKING

from simulation import models
from simulation.violation import require
from swarmlearning.choices import TransferBack
from swarmlearning.ledger.bodies import Publish
from swarmlearning.ledger.contracts.training.slices import Recipe
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.contracts.training.transfers import back_in, merged_of

if TYPE_CHECKING:
    from simulation.site import Site
    from simulation.swarm import Swarm

SHARE = 0.6
"""Of contracts that could be anything, those whose merges travel as changes."""
OF_A_MODEL = 0.25
"""Bytes of a change."""


def back_of(swarm: "Swarm", seed: int) -> TransferBack:
    """How merges travel back in this seed's swarm; a random stream of its own decides."""
    if random.Random(f"back {seed}").random() >= SHARE:
        return "float32"
    swarm.struck["changes that travel back"] += 1
    return "int8"


def change_of(base: str, merged: str) -> str:
    """The name of the change from a base to what was merged, or to a slice of it."""
    return models.name("change", base, merged)


def made(site: "Site", training: Training, base: str, merged: str) -> str:
    """Codes the change to what was merged, where merges travel so, and stores it."""
    if back_in(training, base) == "float32" or merged in ("", base):
        return ""
    change = change_of(base, merged)
    site.store.put(change)
    return change


def of_slice(recipe: Recipe, root: str) -> str:
    """The name of the change that a slice is of its base, where merges travel so."""
    return change_of(recipe.base, root) if recipe.back != "float32" and not recipe.survey else ""


def wanted(site: "Site", training: Training, merged: str) -> list[set[str]]:
    """What a site fetches to have what was merged, the first choice first: a change of its base, or itself."""
    result = training.result
    if result is None or not training.change or merged != merged_of(training) or merged in site.store.whole:
        return [{merged}]
    return [{training.change}, {merged}] if result.closed.base in site.store.whole else [{merged}]


def arrived(site: "Site", training: Training, came: set[str]) -> None:
    """Makes what was merged of its change, where that has come."""
    if training.result is None or training.change not in came:
        return
    merged, base = merged_of(training), training.result.closed.base
    require(training.change == change_of(base, merged), f"{site.uid} makes another model of a change than was merged")
    site.store.put(merged)
    site.store.known(merged)
    site.swarm.struck["model made of a change"] += 1


def published(swarm: "Swarm", before: Training, sender: str, body: Publish) -> None:
    """Checks that a result has its change where it is to have one, and the right one."""
    current = before.round
    assert current is not None
    due = _is_due(before, current, body)
    what = f"the result of round {body.round}, by {sender}"
    require(due == bool(body.change), f"{what} has no coded change, or one too many")
    if due and sender in swarm.sites:
        merged = body.step.merged if body.step else body.result
        require(body.change == change_of(current.base, merged), f"{what} has a change that gives something else")


def _is_due(before: Training, current: Round, body: Publish) -> bool:
    back = back_in(before, current.base) != "float32"
    return back and body.result != current.base and slicing_of(before, current.number) is None
