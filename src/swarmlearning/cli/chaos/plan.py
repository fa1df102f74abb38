"""Plans of faults, and the schedule that a seed makes of one. Pure: the same plan and seed give the same schedule.

A plan file is TOML (or JSON of the same form):

    name = "my-plan"
    faults = 20                              # how many
    pause_rounds = [1, 3]                    # rounds in good order before each, drawn between

    [[recipes]]                              # each recipe and phase comes once before any comes again
    fault = "kill"                           # kill, freeze, partition, slow-link, corrupt-file
    target = "leader"                        # leader, follower, sn, ml (the last two: only kill and freeze)
    phases = ["collecting", "merging"]       # when: these, publishing, distributing; without: at any time
    seconds = [3.0, 5.0]                     # until a killed process is started again, or the fault is over
    mb_per_s = 1.0                           # of a slow link
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Annotated, Literal

import msgspec

from swarmlearning.supervise.processes import RunError

Kind = Literal["kill", "freeze", "partition", "slow-link", "corrupt-file"]
Target = Literal["leader", "follower", "sn", "ml"]
Phase = Literal["any", "collecting", "merging", "publishing", "distributing"]

Seconds = Annotated[float, msgspec.Meta(ge=0, le=600)]

ON_THE_NETWORK = ("partition", "slow-link")
PROCESSES_ONLY = ("kill", "freeze")
SHORTEST_FREEZE = 3.0
"""Seconds; a shorter one is no fault, only a pause."""
PICKS = 1 << 16


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of fault: the fault, its target, the phase of a round, for how many seconds (drawn between two)."""

    fault: Kind
    target: Target
    phases: tuple[Phase, ...] = ("any",)
    seconds: tuple[Seconds, Seconds] = (3.5, 5.0)
    mb_per_s: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`faults` of these recipes, with so many undisturbed rounds before each (drawn between two)."""

    name: str
    recipes: Annotated[tuple[Recipe, ...], msgspec.Meta(min_length=1)]
    faults: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 10
    pause_rounds: tuple[Annotated[int, msgspec.Meta(ge=1)], int] = (1, 2)
    about: str = ""

    @property
    def on_the_network(self) -> bool:
        """True when some fault is one of the network between the nodes."""
        return any(recipe.fault in ON_THE_NETWORK for recipe in self.recipes)


class Fault(msgspec.Struct, frozen=True):
    """One fault of a schedule. `pick` chooses among several that could be hit (`chosen`)."""

    number: int
    kind: Kind
    target: Target
    phase: Phase
    seconds: float
    mb_per_s: float
    pause_rounds: int
    pick: int


def schedule(plan: Plan, seed: int) -> tuple[Fault, ...]:
    """The faults of a run, in order: every recipe in every phase of it once before any comes a second time."""
    random = Random(f"{plan.name} {seed}")
    cards = _cards(plan, random)
    return tuple(_fault(plan, number, *next(cards), random) for number in range(1, plan.faults + 1))


def load(path: Path) -> Plan:
    """The plan in a file. Raises `RunError` with the fault and its place."""
    try:
        text = path.read_text()
        plan = msgspec.convert(tomllib.loads(text) if path.suffix == ".toml" else json.loads(text), Plan)
    except (OSError, ValueError) as error:  # as all that the three parsers raise
        raise RunError(f"{path} is no plan: {error}") from error
    for recipe in plan.recipes:
        if recipe.target in ("sn", "ml") and recipe.fault not in PROCESSES_ONLY:
            raise RunError(f"{path} is no plan: a {recipe.target} can be killed or frozen, not hit by {recipe.fault}")
        if recipe.fault == "freeze" and recipe.seconds[0] < SHORTEST_FREEZE:
            raise RunError(f"{path} is no plan: a freeze lasts longer than a lease: {SHORTEST_FREEZE:.0f} s or more")
    for low, high in (plan.pause_rounds, *(recipe.seconds for recipe in plan.recipes)):
        if low > high:
            raise RunError(f"{path} is no plan: {low} to {high} is not a range")
    return plan


def _cards(plan: Plan, random: Random) -> Iterator[tuple[Recipe, Phase]]:
    """All pairs of recipe and phase, shuffled; then all again, shuffled anew; without end."""
    while True:
        deck = [(recipe, phase) for recipe in plan.recipes for phase in recipe.phases]
        random.shuffle(deck)
        yield from deck


def _fault(plan: Plan, number: int, recipe: Recipe, phase: Phase, random: Random) -> Fault:
    return Fault(
        number=number,
        kind=recipe.fault,
        target=recipe.target,
        phase=phase,
        seconds=round(random.uniform(*recipe.seconds), 2),
        mb_per_s=recipe.mb_per_s,
        pause_rounds=random.randint(*plan.pause_rounds),
        pick=random.randrange(PICKS),
    )
