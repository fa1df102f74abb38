"""Faults that `make mutate-slices` and `make mutate-steps` put into the code have their places there."""

import ast

import pytest

from simulation.__main__ import simulate
from simulation.kinds import CODED, FEEDBACK, OUTER
from simulation.mutants import faulty
from simulation.mutations import FAULTS, Fault
from simulation.stepfaults import STEP_FAULTS


@pytest.mark.parametrize("fault", [*FAULTS, *STEP_FAULTS], ids=lambda fault: fault.name)
def test_a_fault_has_one_place_in_the_code_which_is_code_with_it_too(fault: Fault) -> None:
    ast.parse(faulty(fault))


def test_faults_have_names_of_their_own() -> None:
    names = [fault.name for fault in (*FAULTS, *STEP_FAULTS)]
    assert len(set(names)) == len(names)


def test_a_sweep_passes_over_swarms_of_other_kinds_and_counts_those_of_each() -> None:
    found = simulate(4, 6, only=[FEEDBACK])
    assert found.outcomes.total() == 2
    assert found.kinds == {FEEDBACK: 2, CODED: 2, OUTER: 1}, "seed 7 and 9; 4 and 6 have outer steps alone"
