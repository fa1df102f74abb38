"""The training contract when members go away: who leads, who is waited for, what becomes of a result, what is said."""

from typing import get_args

import pytest

from support.play import Play, merged
from swarmlearning.ledger.bodies import ExclusionReason
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import Attendance
from swarmlearning.views.render import REASONS

OPEN = "1970-01-01 00:00:00Z"

AWAY: list[Attendance] = ["lost", "restarted", "ml-lost"]


# --- who leads ------------------------------------------------------------------------------------------------------


def test_the_leader_follows_from_round_and_term() -> None:
    play = Play("c", "a", "b")
    leaders = []
    for _ in range(4):
        leaders.append(play.leader)
        play.complete_round("a", "b", "c")
    assert leaders == ["a", "b", "c", "a"]
    assert play.leader == "b"
    play.depose("sn", by_sn=True, cause="lease")
    assert (play.round.term, play.leader) == (1, "c")


def test_the_order_in_which_members_came_does_not_matter() -> None:
    assert Play("a", "b", "c", min_peers=3).leader == Play("c", "b", "a", min_peers=3).leader


def test_a_leader_need_not_have_contributed() -> None:
    play = Play("a", "b", "c")
    play.submit("b", "c")
    play.freeze("a")
    play.publish("a")
    assert play.result.leader == "a"


def test_who_is_not_willing_never_leads() -> None:
    play = Play()
    play.open("a", may_lead=False)
    play.open("b")
    for _ in range(3):
        assert play.leader == "b"
        play.complete_round("a", "b")


def test_nobody_eligible_is_a_state_with_a_text_and_ends_when_somebody_is() -> None:
    play = Play()
    play.open("a", may_lead=False)
    play.open("b", may_lead=False)
    assert play.leader == ""
    assert play.text == "round 0: no member can lead (all lost, or SL_MAKE_ME_ADMIN=False)"
    with pytest.raises(Rejection, match="not-leader: round 0 is led by nobody, not a"):
        play.freeze("a")
    with pytest.raises(Rejection, match="stale-term"):
        play.depose("a")
    play.submit("a", "b")
    assert play.frozen
    play.open("c")
    assert play.leader == "c"
    play.publish()


def test_without_a_living_ml_process_a_member_leads_only_if_nobody_else_can() -> None:
    play = Play("a", "b", "c")
    play.set_attendance("a", "ml-lost")
    play.set_attendance("b", "ml-lost")
    play.depose("sn", by_sn=True, cause="lease")
    assert play.leader == "c"
    play.set_attendance("c", "lost")
    assert play.leader in ("a", "b")


@pytest.mark.parametrize("attendance", ["lost", "restarted"])
def test_a_leader_that_goes_away_is_followed_at_once(attendance: Attendance) -> None:
    play = Play("a", "b")
    play.submit("b")
    play.set_attendance("a", attendance)
    assert (play.round.term, play.leader, list(play.round.submissions)) == (1, "b", ["b"])


def test_a_leader_that_loses_its_ml_process_goes_on_leading() -> None:
    play = Play("a", "b")
    play.set_attendance("a", "ml-lost")
    assert (play.round.term, play.leader) == (0, "a")


def test_when_all_are_lost_the_first_to_come_back_leads() -> None:
    play = Play("a", "b")
    play.set_attendance("a", "lost")
    play.set_attendance("b", "lost")
    assert play.leader == ""
    play.set_attendance("b", "present")
    assert play.leader == "b"


# --- deposing -------------------------------------------------------------------------------------------------------


def test_an_sn_deposes_a_leader_whose_lease_is_gone() -> None:
    play = Play("a", "b")
    play.depose("sn", by_sn=True, cause="lease")
    assert (play.round.term, play.leader) == (1, "b")
    assert play.member("a").present


def test_a_leader_may_abdicate() -> None:
    play = Play("a", "b")
    play.depose("a")
    assert (play.round.term, play.leader) == (1, "b")


@pytest.mark.parametrize("first_is_sn", [True, False])
def test_two_reporters_of_no_progress_depose_one_does_not(first_is_sn: bool) -> None:
    play = Play("a", "b", "c")
    play.depose("sn" if first_is_sn else "b", by_sn=first_is_sn)
    assert (play.round.term, play.leader) == (0, "a")
    play.depose("c")
    assert (play.round.term, play.leader, play.round.no_progress) == (1, "b", ())


def test_who_was_deposed_does_not_lead_again_at_once() -> None:
    """Its turn may come twice in a row, as others have gone meanwhile."""
    play = Play("a", "b", "c", "d")
    play.depose("b", "c")
    assert play.leader == "b"
    play.set_attendance("a", "lost")
    play.set_attendance("d", "lost")
    play.depose("a", "c")
    assert play.round.term == 2
    assert play.leader == "c"
    play.set_attendance("b", "lost")
    play.depose("c")
    assert play.leader == "c", "nobody else can"


def test_reports_of_one_term_do_not_count_in_the_next() -> None:
    play = Play("a", "b", "c")
    play.depose("b")
    play.depose("sn", by_sn=True, cause="lease")
    play.depose("c")
    assert (play.round.term, play.leader) == (1, "b")


def test_a_stale_leader_cannot_publish_but_its_model_still_counts() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    play.depose("sn", by_sn=True, cause="lease")
    with pytest.raises(Rejection, match="stale-term: round 0 is in term 1, not 0"):
        play.publish("a", term=0)
    play.publish("b")
    assert [part.uid for part in play.result.receipt.contributions] == ["a", "b"]


def test_progress_clears_the_reports_and_only_the_leader_of_the_term_can_say_it() -> None:
    play = Play("a", "b", "c")
    play.depose("b")
    for uid, changes in (("b", {}), ("a", {"term": 1}), ("a", {"number": 1})):
        with pytest.raises(Rejection, match=r"not-leader|stale-term|other-round"):
            play.progress(uid, **changes)
    play.progress("a")
    play.depose("c")
    assert (play.round.term, play.leader, play.round.no_progress) == (0, "a", ("c",))
    play.depose("b")
    assert (play.round.term, play.leader) == (1, "b")


def test_a_leader_that_has_spoken_since_is_not_deposed() -> None:
    play = Play("a", "b")
    with pytest.raises(Rejection, match="progress: the leader spoke at height 9, after 8"):
        play.depose("sn", by_sn=True, cause="lease", spoke=9, seen_height=8)
    play.depose("sn", by_sn=True, cause="lease", spoke=9, seen_height=9)
    assert play.round.term == 1


# --- who is waited for ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attendance", AWAY)
def test_who_is_away_is_not_waited_for(attendance: Attendance) -> None:
    play = Play("a", "b", "c")
    play.submit("a", "b")
    play.set_attendance("c", attendance)
    assert play.frozen


@pytest.mark.parametrize("attendance", AWAY)
def test_but_never_is_a_round_closed_below_min_peers(attendance: Attendance) -> None:
    play = Play("a", "b", "c", min_peers=3)
    play.submit("a", "b")
    play.set_attendance("c", attendance)
    assert not play.frozen
    assert (
        play.text
        == f"round 0, open since {OPEN}: 2 models in, minPeers 3; waiting for c ({REASONS[attendance]} since {OPEN})"
    )


def test_who_comes_back_with_the_latest_model_is_waited_for_at_once() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.set_attendance("c", "lost")
    play.set_attendance("c", "present")
    assert play.member("c").awaited


def test_who_comes_back_without_it_is_waited_for_when_it_has_it() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b")
    play.set_attendance("c", "lost")
    play.set_attendance("c", "present")
    assert not play.member("c").awaited
    assert play.text.endswith("waiting for a, b, c (joins once it holds the latest model)")
    play.report("c", loss=None)
    assert play.member("c").awaited


def test_before_the_first_result_who_comes_back_is_waited_for_at_once() -> None:
    play = Play("a", "b", "c")
    play.set_attendance("c", "lost")
    play.set_attendance("c", "present")
    play.submit("a", "b")
    assert not play.frozen


def test_a_process_that_was_started_again_is_back_with_its_session_only() -> None:
    play = Play("a", "b", "c")
    play.set_attendance("c", "restarted", incarnation=2)
    for attendance in ("lost", "present", "ml-lost", "present"):
        play.set_attendance("c", attendance, incarnation=2)
    assert play.member("c").attendance == "restarted"
    play.set_attendance("c", "lost", incarnation=2)
    assert play.member("c").attendance == "lost"
    play.open("c", incarnation=2)
    assert play.member("c").present


def test_sessions_of_lost_members_do_not_open_round_0_until_they_are_back() -> None:
    play = Play("a", min_peers=2)
    play.set_attendance("a", "lost")
    play.open("b")
    assert play.state.round is None
    lost = f"; waiting for a (lost since {OPEN})"
    assert play.text == f"1 of 2 sessions of contract contract are open; round 0 waits for 1 more{lost}"
    play.set_attendance("a", "present")
    assert play.round.number == 0


def test_attendance_of_strangers_changes_nothing() -> None:
    play = Play("a", "b")
    before = play.state
    play.set_attendance("x", "lost")
    play.set_attendance("a", "present")
    assert play.state is before


# --- a result that cannot be had ------------------------------------------------------------------------------------


def test_missing_is_a_statement_and_takes_the_member_out_of_the_waiting() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.submit("a", "b")
    play.missing("c")
    assert play.frozen
    assert (play.result.missing, play.result.holders) == (("c",), ("a", "b"))


def test_a_report_takes_the_statement_back() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    play.publish()
    play.missing("b")
    assert play.text == (
        f"round 1, open since {OPEN}: 0 models in, minPeers 2; waiting for a, b (can get the latest model from nobody)"
    )
    play.report("b")
    assert (play.result.missing, play.result.holders, play.member("b").awaited) == ((), ("a", "b"), True)


def over() -> Play:
    """Training is over; `a`, who led, has the final result."""
    play = Play("a", "b")
    play.close("a")
    play.close("b")
    play.submit("a", "b", kind="snapshot")
    play.publish()
    return play


def test_a_final_result_is_settled_when_all_that_are_there_hold_it() -> None:
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


def test_what_is_settled_is_never_void() -> None:
    play = over()
    play.set_attendance("b", "lost")
    play.settle()
    play.set_attendance("a", "left")
    play.set_attendance("b", "present")
    play.missing("b")
    with pytest.raises(Rejection, match="all live members held its final model"):
        play.void()


def test_until_then_a_member_that_was_restarted_is_taken_back_and_nobody_else() -> None:
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


def test_with_their_ml_processes_gone_those_who_hold_it_settle_it() -> None:
    play = over()
    play.set_attendance("a", "ml-lost")
    play.set_attendance("b", "lost")
    play.settle()


def test_when_the_model_before_is_nowhere_either_all_begin_with_what_they_have() -> None:
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


def test_a_result_that_nobody_holds_is_void_and_its_round_collected_again() -> None:
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


def test_a_node_without_its_ml_process_is_alive_and_may_hold_the_result() -> None:
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


def test_with_nobody_alive_nothing_is_void() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    play.publish()
    play.missing("a", "b")
    play.set_attendance("a", "lost")
    play.set_attendance("b", "lost")
    with pytest.raises(Rejection, match="do not miss it: none"):
        play.void()


def test_the_final_result_can_be_void_too() -> None:
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


# --- what is said to those who wait ---------------------------------------------------------------------------------


def test_the_text_names_how_many_and_whom() -> None:
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


@pytest.mark.parametrize("reason", get_args(ExclusionReason))
def test_the_text_names_who_must_bring_another_model(reason: ExclusionReason) -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    play.publish(without={"b": reason})
    why = "others cannot fetch models from it" if reason in ("unreachable", "too-slow") else "its model cannot be used"
    assert play.text == f"round 0, open since {OPEN}: 1 models in, minPeers 2; waiting for b ({why})"
