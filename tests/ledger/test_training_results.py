"""The training contract when members cannot get a result: it is missing, void, or settled."""

import pytest

from support.play import Play, merged, over
from swarmlearning.ledger.contracts.rejection import Rejection

OPEN = "1970-01-01 00:00:00Z"


def test_a_member_that_misses_the_result_is_not_awaited() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.submit("a", "b")
    play.missing("c")
    assert play.frozen
    assert (play.result.missing, play.result.holders) == (("c",), ("a", "b"))


def test_a_member_that_has_the_result_after_all_is_awaited_again() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    play.publish()
    play.missing("b")
    assert play.text == (
        f"round 1, open since {OPEN}: 0 models in, minPeers 2; waiting for a, b (cannot fetch the latest model from a)"
    )
    play.report("b")
    assert (play.result.missing, play.result.holders, play.member("b").awaited) == ((), ("a", "b"), True)


def test_a_final_result_is_settled_when_all_live_members_hold_it() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    with pytest.raises(Rejection, match="not-over"):
        play.settle()
    play = over()
    with pytest.raises(Rejection, match="not all live members hold it yet"):
        play.settle()
    play.report("b")
    play.settle()
    assert play.state.settled
    with pytest.raises(Rejection, match="settled already"):
        play.settle()


def test_a_settled_result_is_never_void() -> None:
    play = over()
    play.set_attendance("b", "lost")
    play.settle()
    play.set_attendance("a", "left")
    play.set_attendance("b", "present")
    play.missing("b")
    with pytest.raises(Rejection, match="all live members held its final model"):
        play.void()


def test_until_the_final_result_is_settled_only_members_that_were_restarted_are_admitted() -> None:
    play = over()
    play.set_attendance("b", "restarted", incarnation=2)
    play.open("b", incarnation=2)
    assert (play.state.over, play.state.round, play.member("b").attendance) == (True, None, "present")
    with pytest.raises(Rejection, match="training-over"):
        play.open("c")
    play.report("b")
    play.settle()
    with pytest.raises(Rejection, match="training-over"):
        play.open("b", incarnation=2)


def test_holders_without_their_ml_processes_settle_a_final_result() -> None:
    play = over()
    play.set_attendance("a", "ml-lost")
    play.set_attendance("b", "lost")
    play.settle()


def test_a_round_whose_base_is_lost_too_begins_with_the_models_that_members_have() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    play.close("a", "inactive")
    play.close("b", "inactive")
    play.submit("a", "b", kind="inactive")
    play.publish(result=merged(0))
    play.missing("a", "b")
    play.void()
    assert (play.round.number, play.round.base) == (1, "")
    play.submit("a", "b", kind="inactive")
    play.publish()
    assert [part.weight for part in play.result.receipt.contributions] == [1, 1]


def test_a_result_that_nobody_holds_is_void_and_its_round_collects_again() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.submit("a", "b")
    play.freeze()
    play.submit("c")
    play.publish()
    play.submit("a")
    play.missing("a", "c")
    with pytest.raises(Rejection, match=r"still-held: .* live members that do not miss it: b"):
        play.void()
    play.set_attendance("b", "lost")
    play.void()
    assert (play.round.number, play.round.base, play.round.submissions) == (1, merged(0), {})
    assert (play.round.term, play.leader, play.round.phase) == (1, "a", "collecting")
    assert (play.state.result, play.state.rounds) == (None, 1)
    assert [play.member(uid).contributed for uid in "abc"] == [1, 1, 1]
    assert play.member("c").late == 0
    assert [play.member(uid).awaited for uid in "abc"] == [True, False, True]
    play.submit("a", "c")
    play.publish()
    assert play.result.closed.number == 1


def test_a_member_without_its_ml_process_is_live_and_may_hold_the_result() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    play.publish()
    play.set_attendance("a", "ml-lost")
    play.missing("b")
    with pytest.raises(Rejection, match="still-held"):
        play.void()
    play.missing("a")
    play.void()
    assert play.round.number == 0


def test_no_result_is_void_while_no_member_is_live() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    play.publish()
    play.missing("a", "b")
    play.set_attendance("a", "lost")
    play.set_attendance("b", "lost")
    with pytest.raises(Rejection, match="do not miss it: none"):
        play.void()


def test_a_final_result_that_all_miss_is_void_too() -> None:
    play = Play("a", "b")
    play.close("a")
    play.close("b")
    play.submit("a", "b", kind="snapshot")
    play.publish()
    play.missing("a", "b")
    play.void()
    assert (play.state.over, play.round.number, play.round.term) == (False, 0, 1)
    play.submit("a", "b", kind="snapshot")
    play.publish()
    assert play.state.over
