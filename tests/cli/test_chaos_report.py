"""Lost rounds, and the resilience report's figures: from ledgers made in memory."""

import pytest

from support.network import Ledger
from support.rounds import SITES, UNUSABLE, merge_again, publish, report_all, submit, three_sites
from swarmlearning.cli.chaos.inject import Injected
from swarmlearning.cli.chaos.plan import Fault, Plan, Recipe
from swarmlearning.cli.chaos.report import Recovery, lost_rounds, problems, resilience
from swarmlearning.cli.report import Report
from swarmlearning.ledger.bodies import Freeze, Lost
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.history import steps
from swarmlearning.views.report import RoundReport

PLAN = Plan(name="two", faults=2, recipes=(Recipe("kill", "leader"),))


@pytest.fixture
def ledger() -> Ledger:
    return three_sites()


def led(ledger: Ledger) -> tuple[str, list[str]]:
    """The leader, and the others."""
    assert ledger.training.round is not None
    leader = ledger.training.round.leader
    return leader, [site for site in SITES if site != leader]


def lost(ledger: Ledger) -> int:
    return lost_rounds(steps(ledger.blocks))


def test_a_round_with_all_sites_is_not_lost(ledger: Ledger) -> None:
    for number in range(3):
        submit(ledger, *SITES)
        publish(ledger, f"{number}" * 64)
        report_all(ledger)
    assert lost(ledger) == 0


def test_a_round_that_closed_without_a_site_that_was_up_is_lost(ledger: Ledger) -> None:
    leader, (first, second) = led(ledger)
    submit(ledger, leader, first)
    ledger.send(leader, Freeze(0, 0, (second,)))
    publish(ledger, "0" * 64)
    assert lost(ledger) == 1


def test_a_round_that_closed_without_a_site_that_was_down_is_not_lost(ledger: Ledger) -> None:
    leader, (first, second) = led(ledger)
    ledger.send("sn-1", Lost(second, 1), network.CONTRACT)
    submit(ledger, leader, first)
    publish(ledger, "0" * 64)
    assert lost(ledger) == 0


def test_a_round_that_leaves_out_a_site_that_went_down_meanwhile_is_not_lost(ledger: Ledger) -> None:
    leader, (first, second) = led(ledger)
    submit(ledger, leader, first)
    submit(ledger, second, digest=UNUSABLE)
    ledger.send("sn-1", Lost(second, 1), network.CONTRACT)
    publish(ledger, "0" * 64)
    assert lost(ledger) == 0


def test_a_round_that_leaves_out_the_model_of_a_site_that_is_up_is_lost(ledger: Ledger) -> None:
    leader, (first, second) = led(ledger)
    submit(ledger, leader, first)
    submit(ledger, second, digest=UNUSABLE)
    publish(ledger, "0" * 64)
    assert lost(ledger) == 1


def test_the_death_of_a_site_counts_before_the_ledger_knows_of_it(ledger: Ledger) -> None:
    leader, (first, second) = led(ledger)
    submit(ledger, leader, first)
    submit(ledger, second, digest=UNUSABLE)
    publish(ledger, "0" * 64)
    assert lost_rounds(steps(ledger.blocks), {(0, second)}) == 0
    assert lost_rounds(steps(ledger.blocks), {(0, first), (1, second)}) == 1


def test_a_void_result_is_a_lost_round(ledger: Ledger) -> None:
    merge_again(ledger, "9" * 64)
    assert lost(ledger) == 1


# --- the figures


def injected(number: int, seconds: float) -> Injected:
    return Injected(Fault(number, "kill", "leader", "any", 1.0, 1.0, 1, 0), "site-1", 5, seconds, 0)


def run(**changes: object) -> Report:
    both = RoundReport(0, "site-1", ["site-1", "site-2"], [], [], [], {})
    one = RoundReport(1, "site-1", ["site-1"], [], ["site-2"], [], {})
    values: dict[str, object] = {
        "status": "complete",
        "over": True,
        "sites": [],
        "swarm_accuracy": None,
        "pooled_accuracy": None,
        "model": "a" * 64,
        "digests": {"site-1": "a" * 64, "site-2": "a" * 64},
        "rounds": [both, one],
        "ledger_verified": True,
        "wall_seconds": 1.0,
    }
    return Report(**(values | changes))  # type: ignore[arg-type]


def test_the_resilience_report_counts_faults_rounds_and_recoveries() -> None:
    report = resilience(PLAN, 7, [injected(1, 2.5), injected(2, 3.5)], [], run())
    assert (report.plan, report.seed, report.faults, report.rounds, report.rounds_lost) == ("two", 7, 2, 2, 0)
    assert report.recovery_s == Recovery(3.0, 3.5)
    assert report.participation == {"site-1": 2, "site-2": 1}
    assert (report.digests_equal, report.ledger_verified) == (True, True)
    assert problems(report, PLAN, run()) == []


def test_a_resilience_report_without_a_fault_is_a_problem() -> None:
    report = resilience(PLAN, 7, [], [], run())
    assert report.recovery_s == Recovery(None, None)
    assert problems(report, PLAN, run()) == ["training was over after 0 of 2 faults; train longer, or plan fewer"]


@pytest.mark.parametrize("held", [None, "b" * 64])
def test_sites_that_do_not_hold_the_final_model_are_a_problem(held: str | None) -> None:
    result = run(digests={"site-1": "a" * 64, "site-2": held})
    report = resilience(PLAN, 7, [injected(1, 1.0), injected(2, 1.0)], [], result)
    assert not report.digests_equal
    assert "the sites do not hold the ledger's final model" in problems(report, PLAN, result)[0]


@pytest.mark.parametrize("changes", [{"over": False}, {"ledger_verified": False}])
def test_a_training_that_is_not_over_or_a_ledger_that_does_not_verify_is_a_problem(changes: dict[str, bool]) -> None:
    result = run(status="not over: …", **changes)
    report = resilience(PLAN, 7, [injected(1, 1.0), injected(2, 1.0)], [], result)
    assert problems(report, PLAN, result) == ["not over: …"]
