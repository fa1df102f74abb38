"""The training contract: which members a round waits for, and the text that names them."""

from typing import get_args

import pytest

from support.play import Play
from swarmlearning.ledger.bodies import ExclusionReason
from swarmlearning.ledger.contracts.training.state import Attendance
from swarmlearning.views.render import REASONS

OPEN = "1970-01-01 00:00:00Z"

AWAY: list[Attendance] = ["lost", "restarted", "ml-lost"]


# --- which members a round waits for ----------------------------------------------------------------------------------


@pytest.mark.parametrize("attendance", AWAY)
def test_a_round_does_not_wait_for_a_member_that_is_away(attendance: Attendance) -> None:
    play = Play("a", "b", "c")
    play.submit("a", "b")
    play.set_attendance("c", attendance)
    assert play.frozen


@pytest.mark.parametrize("attendance", AWAY)
def test_a_round_is_never_closed_below_min_peers_though_members_are_away(attendance: Attendance) -> None:
    play = Play("a", "b", "c", min_peers=3)
    play.submit("a", "b")
    play.set_attendance("c", attendance)
    assert not play.frozen
    assert (
        play.text
        == f"round 0, open since {OPEN}: 2 models in, minPeers 3; waiting for c ({REASONS[attendance]} since {OPEN})"
    )


def test_a_member_that_returns_with_the_latest_model_is_awaited_at_once() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.set_attendance("c", "lost")
    play.set_attendance("c", "present")
    assert play.member("c").awaited


def test_a_member_that_returns_without_the_latest_model_is_awaited_once_it_has_it() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b")
    play.set_attendance("c", "lost")
    play.set_attendance("c", "present")
    assert not play.member("c").awaited
    assert play.text.endswith("waiting for a, b, c (joins once it holds the latest model)")
    play.report("c", loss=None)
    assert play.member("c").awaited


def test_a_member_that_returns_before_the_first_result_is_awaited_at_once() -> None:
    play = Play("a", "b", "c")
    play.set_attendance("c", "lost")
    play.set_attendance("c", "present")
    play.submit("a", "b")
    assert not play.frozen


def test_a_restarted_process_is_present_again_only_when_it_has_opened_its_session() -> None:
    play = Play("a", "b", "c")
    play.set_attendance("c", "restarted", incarnation=2)
    for attendance in ("lost", "present", "ml-lost", "present"):
        play.set_attendance("c", attendance, incarnation=2)
    assert play.member("c").attendance == "restarted"
    play.set_attendance("c", "lost", incarnation=2)
    assert play.member("c").attendance == "lost"
    play.open("c", incarnation=2)
    assert play.member("c").present


def test_sessions_of_lost_members_do_not_open_round_0_until_they_return() -> None:
    play = Play("a", min_peers=2)
    play.set_attendance("a", "lost")
    play.open("b")
    assert play.state.round is None
    lost = f"; waiting for a (lost since {OPEN})"
    assert play.text == f"1 of 2 sessions of contract contract are open; round 0 waits for 1 more{lost}"
    play.set_attendance("a", "present")
    assert play.round.number == 0


def test_the_attendance_of_a_node_that_is_no_member_changes_nothing() -> None:
    play = Play("a", "b")
    before = play.state
    play.set_attendance("x", "lost")
    play.set_attendance("a", "present")
    assert play.state is before


# --- members that are not trusted any more ----------------------------------------------------------------------------


def test_the_model_of_a_member_that_is_shut_out_is_not_merged() -> None:
    play = Play("a", "b", "c")
    play.submit("a", "b")
    play.shut_out("b")
    assert (list(play.round.submissions), play.frozen, play.member("b").attendance) == (["a"], False, "left")
    play.submit("c")
    play.publish()
    assert [part.uid for part in play.result.receipt.contributions] == ["a", "c"]


def test_a_frozen_round_goes_on_without_the_model_of_a_member_that_is_shut_out() -> None:
    play = Play("a", "b", "c")
    play.submit("a", "b", "c")
    play.shut_out("c")
    assert (list(play.round.submissions), play.round.term, play.frozen) == (["a", "b"], 0, True)
    play.publish()


def test_a_frozen_round_with_too_few_models_after_a_member_is_shut_out_is_collected_again_with_late_ones() -> None:
    play = Play("a", "b", "c", "d", min_peers=2)
    play.submit("a", "b")
    play.freeze()
    play.shut_out("b")
    assert (list(play.round.submissions), play.round.term, play.frozen) == (["a"], 1, False)
    play.submit("c", "d")
    play.publish()
    play.submit("a", "c")
    play.freeze()
    play.submit("d")
    play.shut_out("a")
    assert (list(play.round.submissions), play.round.term, play.frozen) == (["c", "d"], 1, True)


def test_the_late_model_of_a_member_that_is_shut_out_is_forgotten_and_does_not_count() -> None:
    play = Play("a", "b", "c")
    play.submit("a", "b")
    play.freeze()
    play.submit("c")
    play.shut_out("c")
    assert (list(play.round.submissions), play.round.late, play.frozen) == (["a", "b"], {}, True)


def test_a_result_into_which_the_model_of_a_member_was_merged_stands_when_that_is_shut_out() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    before = play.result
    play.shut_out("b")
    assert play.result.digest == before.digest


def test_a_member_that_leaves_in_good_order_has_its_model_merged() -> None:
    play = Play("a", "b", "c")
    play.submit("a", "b")
    play.set_attendance("b", "left")
    assert list(play.round.submissions) == ["a", "b"]


# --- the text for those who wait --------------------------------------------------------------------------------------


def test_the_waiting_text_names_how_many_are_missing_and_which_members() -> None:
    assert Play().text == "no session is open yet"
    play = Play("a", "b", min_peers=4)
    assert play.text == "2 of 4 sessions of contract contract are open; round 0 waits for 2 more"
    play.open("c")
    play.open("d")
    play.submit("a", "b")
    play.set_attendance("d", "ml-lost")
    assert (
        play.text
        == f"round 0, open since {OPEN}: 2 models in, minPeers 4; waiting for c, d (without its script since {OPEN})"
    )
    play.open("d")
    play.submit("c", "d")
    assert play.text == "round 0: a is merging 4 models"


@pytest.mark.parametrize("reason", [reason for reason in get_args(ExclusionReason) if reason != "kept-back"])
def test_the_waiting_text_names_a_member_whose_model_was_left_out_and_why(reason: ExclusionReason) -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    play.publish(without={"b": reason})
    why = "others cannot fetch models from it" if reason in ("unreachable", "too-slow") else "its model cannot be used"
    assert play.text == f"round 0, open since {OPEN}: 1 models in, minPeers 2; waiting for b ({why})"
