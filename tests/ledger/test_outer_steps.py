"""Outer steps on the ledger: which sessions they are sound with, when one is due, and whose momentum is whose."""

import hashlib
import re

import msgspec
import pytest

from support.network import Ledger, session
from support.play import Play, merged
from swarmlearning.ledger.bodies import OpenSession
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.bodies import CreateContract
from swarmlearning.ledger.contracts.training.outer import OuterOptimizer, Step
from swarmlearning.ledger.contracts.training.steps import momentum_of

NESTEROV = OuterOptimizer("nesterov", "0.7", "0.9")
ADAM = OuterOptimizer("adam", "0.01", "0.9")


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def step(number: int) -> Step:
    return Step(digest("mean", number), digest("momentum", number))


def opened(**changes: object) -> Play:
    """Two members with an outer optimizer; round 0 is open."""
    play = Play()
    for uid in ("a", "b"):
        play.open(uid, 1, **({"outer": NESTEROV, "checkin": "inactive"} | changes))
    return play


def after(rounds: int) -> Play:
    """The same after so many rounds, in which all report."""
    play = opened()
    for number in range(rounds):
        play.submit("a", "b")
        play.publish(step=step(number) if number else None)
        play.report("a", "b")
    return play


# --- sessions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"adaptive": True}, "useAdaptiveSync cannot be used with an outerOptimizer"),
        ({"checkin": "snapshot"}, "checkinModelOnTrainEnd snapshot cannot be used"),
    ],
)
def test_a_session_that_is_not_sound_with_its_optimizer_is_refused_with_the_reason(
    changes: dict[str, object], why: str
) -> None:
    with pytest.raises(Rejection, match=why):
        opened(**changes)


def test_a_session_is_not_closed_in_the_mode_snapshot_either() -> None:
    play = opened()
    with pytest.raises(Rejection, match="use inactive or active"):
        play.close("a", "snapshot")
    play.close("a", "active")


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (None, "outerOptimizer is nesterov (0.7, 0.9), this session has none"),
        (ADAM, "outerOptimizer is nesterov (0.7, 0.9), this session has adam (0.01, 0.9)"),
    ],
)
def test_all_sites_have_the_same_optimizer_with_the_same_numbers(other: OuterOptimizer | None, text: str) -> None:
    with pytest.raises(Rejection, match=re.escape(text)):
        opened().open("c", outer=other, checkin="inactive")


def test_a_contract_that_names_an_optimizer_takes_no_session_with_another() -> None:
    made = Ledger(rules=3, newest_rules=3)
    made.join("op-1", "SWCI")
    made.join("a")
    made.send("op-1", CreateContract(outer=ADAM), "lung")
    with pytest.raises(Rejection, match=re.escape("with outerOptimizer adam (0.01, 0.9); this session has none")):
        made.send("a", session(), "lung")
    made.send("a", session(outer=ADAM, checkin="inactive"), "lung")


@pytest.mark.parametrize("rules", [1, 2])
def test_before_rules_version_3_there_is_no_outer_optimizer(rules: int) -> None:
    made = Ledger(rules=rules, newest_rules=3)
    made.join("op-1", "SWCI")
    made.join("a")
    for uid, body in (
        ("a", session(outer=NESTEROV, checkin="inactive")),
        ("op-1", CreateContract(outer=NESTEROV)),
    ):
        with pytest.raises(Rejection, match="needs rules version 3"):
            made.send(uid, body, "lung")
    made.send("op-1", CreateContract(), "lung")
    made.send("a", session(), "lung")


@pytest.mark.parametrize("rate", ["0", "0.70", "1e-3", "1000", "-1", ".5", "0.1234567", "nan", ""])
def test_a_rate_has_one_form_and_is_in_bounds(rate: str) -> None:
    body = msgspec.to_builtins(session(outer=NESTEROV, checkin="inactive"))
    body["outer"]["rate"] = rate
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, OpenSession)


# --- rounds -----------------------------------------------------------------------------------------------------------


def test_the_first_round_has_no_base_to_step_from() -> None:
    play = opened()
    play.submit("a", "b")
    with pytest.raises(Rejection, match="there is none to be an outer step"):
        play.publish(step=step(0))
    play.publish()
    assert play.state.steps == {}


def test_each_later_round_has_a_step_and_leaves_a_momentum() -> None:
    play = after(1)
    play.submit("a", "b")
    with pytest.raises(Rejection, match="there is due to be an outer step"):
        play.publish()
    play.publish(step=step(1))
    assert momentum_of(play.state, merged(1)) == step(1).momentum
    assert momentum_of(play.state, merged(0)) == ""


def test_without_an_optimizer_no_step_is_taken() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    play.submit("a", "b")
    with pytest.raises(Rejection, match="there is none to be an outer step"):
        play.publish(step=step(1))


@pytest.mark.parametrize(
    "wrong",
    [
        Step(digest("mean", 1)),
        Step(merged(1), step(1).momentum, "'w'"),
        Step(digest("mean", 1), "", "'w'"),
    ],
)
def test_a_step_that_contradicts_itself_is_refused(wrong: Step) -> None:
    play = after(1)
    play.submit("a", "b")
    with pytest.raises(Rejection):
        play.publish(step=wrong)


def test_where_a_step_is_not_finite_the_merge_stands_and_the_next_step_is_a_first_one() -> None:
    play = after(2)
    play.submit("a", "b")
    play.publish(step=Step(merged(2), fault="'w'"))
    assert play.state.steps[merged(2)].fault == "'w'"
    assert momentum_of(play.state, merged(2)) == ""


def test_a_result_that_is_the_base_unchanged_keeps_its_momentum() -> None:
    play = after(2)
    play.close("a", "active")
    play.submit("a", kind="active", digest=merged(1))
    play.submit("b", digest=merged(1))
    with pytest.raises(Rejection, match="there is none to be"):
        play.publish(result=merged(1), step=step(2))
    play.publish(result=merged(1))
    assert momentum_of(play.state, merged(1)) == step(1).momentum


def test_only_the_momenta_of_result_and_base_are_kept() -> None:
    assert set(after(5).state.steps) == {merged(4), merged(3)}


def test_a_void_result_leads_back_to_its_base_and_that_ones_momentum() -> None:
    play = after(2)
    play.submit("a", "b")
    play.publish(step=step(2))
    play.missing("a", "b")
    play.void()
    assert play.round.base == merged(1)
    assert play.state.steps == {merged(1): step(1)}
    play.missing("a", "b", number=1)
    play.void(1)
    assert play.round.base == ""
    assert play.state.steps == {}


def test_a_reset_leaves_no_momentum() -> None:
    play = after(2)
    play.reset(forced=True)
    assert play.state.steps == {}
