"""Swarms in virtual time whose rounds are merged in slices: `make simulate SLICES=1` runs more of them."""

from collections import Counter
from collections.abc import Callable

import pytest

from simulation.__main__ import simulate
from simulation.abuse import ABUSES
from simulation.forbidden import OF_CHECKS, OF_SLICES
from simulation.slicemoves import SLICE_MOVES, SURVEY_MOVES

CHUNK = 100
STATED = {"Sliced", "Held", "ReportFault", "Reassign", "StateLink", "Publish", "Depose", "Missing", "Void"}
STATED |= {"Weigh", "Check", "Checked"}
STRUCK = {
    "merger that lies",
    "pair of sites that do not reach each other",
    "member that reads a whole model",
    "check",
    "check that finds a lie",
    "models weighed",
    "models weighed again",
    "read that is tried",
    "result that is published too early",
    "result of its own",
    "read that is tried (refused)",
    *("crash", "freeze", "die", "vanish", "fill", "stick", "cut", "split", "wall off", "drip", "trickle", "lose file"),
    "crash of a leader",
}


@pytest.mark.parametrize("first", [0, 100])
def test_a_swarm_that_merges_in_slices_holds_its_invariants_whatever_faults_strike(
    first: int, simulated: Callable[[Counter[str], float], None]
) -> None:
    found = simulate(first, CHUNK, sliced=True)
    simulated(found.outcomes, found.cpu_seconds)
    assert found.outcomes["complete"] > CHUNK * 0.9
    assert {kind for kind in STRUCK if not found.struck[kind]} == set(), "nothing is left out"
    assert found.said.keys() >= STATED, "everything that can be said of slices has its occasion"
    assert found.moves.keys() >= SLICE_MOVES.keys(), "adversarial members state all of it, true or not"
    assert {move.removesuffix(" (refused)") for move in found.moves} >= SURVEY_MOVES.keys()
    assert found.moves.keys() >= {*OF_SLICES, *OF_CHECKS, *ABUSES}, "all that is forbidden is tried"
