"""Thousands of swarms in virtual time, each with its own faults: `make simulate` runs more of them, or one again."""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from simulation.__main__ import random_swarm, simulate, trace
from simulation.faults import FAULTS, leave, strike
from simulation.lying import DATES
from simulation.moves import MOVE, REFUSED
from simulation.scenario import Scenario
from simulation.site import Plan, Site
from simulation.swarm import Swarm
from simulation.unsigned import signatures_unchecked
from swarmlearning.ledger.contracts.training import publishing, slicing, transactions, transitions
from swarmlearning.ledger.contracts.training.state import Round, Training

SEEDS = 900
PURE_SEEDS = 300
"""Seeds that `pytest --pure` simulates, as `make check` runs it."""
CHUNK = 300
LASTS = 60.0
LASTING = {
    "clock that differs",
    "changes that travel back",
    "coded changes",
    "contribution left out as too slow",
    "demand for contributors",
    "doubled message",
    "drip",
    "haste",
    "jam",
    "late joiner",
    "late message",
    "lost message",
    "model made of a change",
    "privacy budget that is spent",
    "privacy lock",
    "revoke",
    "site of an organisation",
    "silent merges",
    "skewed clock",
    "slow disk",
    "slow link",
    "slow training",
    "trickle",
}
MOVES_WITHOUT_EFFECT = {
    *REFUSED,
    *("voids", "reports another lost", "opens a session elsewhere"),
    *("SN: voids", "SN: settles", "SN: passes a request on"),
}
"""Moves of adversarial nodes that the ledger refuses: always, or, those of SNs, nearly always."""
RARE_MOVES = {"settles"}
"""Moves for which a chunk of seeds may have no occasion."""
SEALED = {"SN: seals a void block", "SN: orders nothing", *(f"SN: dates a block {when}" for when in DATES)}
"""What SNs of adversarial organisations do besides."""
REPORTS_PER_PATIENCE = {
    *("Register", "OpenSession", "CloseSession", "Leave"),
    *("SubmitTrained", "SubmitCarried", "SubmitSnapshot", "SubmitActive", "SubmitInactive", "SubmitWithheld"),
    *("Freeze", "Progress", "Publish", "ReportPerformance", "Depose"),
    *("Lost", "Back", "Missing", "Void", "Settle"),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "first" in metafunc.fixturenames:
        metafunc.parametrize("first", range(0, PURE_SEEDS if metafunc.config.getoption("pure") else SEEDS, CHUNK))


def test_a_swarm_holds_its_invariants_whatever_faults_strike(
    first: int, simulated: Callable[[Counter[str], float], None]
) -> None:
    found = simulate(first, CHUNK)
    simulated(found.outcomes, found.cpu_seconds)
    assert found.outcomes["complete"] > CHUNK * 0.9
    assert {fault.__name__.replace("_", " ") for fault in FAULTS} | LASTING <= found.struck.keys(), (
        "nothing is left out"
    )
    moves = SEALED | {f"{move} (refused)" if move in MOVES_WITHOUT_EFFECT else move for move in MOVE}
    assert moves - RARE_MOVES <= found.moves.keys(), "adversarial nodes make every move"
    assert found.said.keys() >= REPORTS_PER_PATIENCE, "everything that can be said has its occasion"


def test_the_same_seed_is_the_same_run_in_every_process() -> None:
    command = [sys.executable, "-m", "simulation", "--first", "2", "--seeds", "2", "--trace"]
    paths = {"PYTHONPATH": str(Path(__file__).parent.parent), "PYTHONHASHSEED": "1"}
    again = subprocess.run(command, env=os.environ | paths, capture_output=True, text=True, check=True)
    assert again.stdout.splitlines() == [*trace(2), *trace(3)]


@pytest.mark.parametrize("seed", range(12, 18))
def test_a_process_hears_nothing_that_the_one_before_it_has_waited_for(seed: int) -> None:
    """The SN that a site said good-bye to could order nothing until the site was there again (seed 60017442)."""
    with signatures_unchecked():
        swarm = Swarm(Scenario((Plan(train=30.0), Plan(train=30.0)), min_peers=2, sns=3, latency=0.5), seed)
        swarm.until_healed(LASTS)
        swarm.clock.after(5.0, lambda: isolate_for_one_that_leaves(swarm, swarm.sites["sl-1"]))
        assert swarm.run() == "complete"


def isolate_for_one_that_leaves(swarm: Swarm, site: Site) -> None:
    """Isolates the SN of a site that leaves then and is soon started again."""
    sn = site.link.sn
    sn.isolated = True
    swarm.clock.after(LASTS, lambda: swarm.join_sn(sn))
    swarm.clock.after(1.0, lambda: strike(swarm, leave, site, 3.0))


def test_a_swarm_is_not_expected_to_have_the_models_of_adversarial_members_though_nothing_else_happens() -> None:
    with signatures_unchecked():
        swarm = random_swarm(70005524)
        assert swarm.intruders
        assert swarm.run() == "complete"


def test_sites_that_have_not_joined_by_the_end_of_a_training_are_not_expected_to_settle_it() -> None:
    with signatures_unchecked():
        swarm = random_swarm(2)
        assert swarm.run() == "complete"
    first, *_ = swarm.sites
    training = swarm.training
    of_one = msgspec.structs.replace(training, members={first: training.members[first]})
    assert swarm.min_peers > 1
    assert swarm.can_go_on(training)
    assert not swarm.can_go_on(of_one)


def test_a_violation_names_the_seed_and_shows_its_last_steps_and_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def led_by_anybody(state: Training, number: int, term: int, uid: str) -> Round:
        return transitions.round_in_progress(state, number)

    for module in (publishing, transactions, slicing):
        monkeypatch.setattr(module, "round_led", led_by_anybody)
    with pytest.raises(AssertionError) as found:
        simulate(0, 200)
    text = str(found.value)
    assert re.search(r"^seed \d+: Violation: the result of round \d+", text)
    assert re.search(r"^ +\d+\.\d{3} sl-\d+ +\[\d+\] Submit round \d+", text, re.MULTILINE)
    assert re.search(r"make simulate FIRST=\d+ SEEDS=1 TRACE=1$", text)
