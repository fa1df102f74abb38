"""The training contract: which member leads a round, and how a leader is deposed."""

import msgspec
import pytest

from support.network import session
from support.play import Play
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.sessions import open_session
from swarmlearning.ledger.contracts.training.state import Attendance, Charter, Training, empty
from swarmlearning.ledger.contracts.training.transitions import elect_leader

# --- which member leads -----------------------------------------------------------------------------------------------


def test_the_leader_of_a_round_follows_from_its_round_and_term() -> None:
    play = Play("c", "a", "b")
    leaders = []
    for _ in range(4):
        leaders.append(play.leader)
        play.complete_round("a", "b", "c")
    assert leaders == ["a", "b", "c", "a"]
    assert play.leader == "b"
    play.depose("sn", by_sn=True, cause="lease")
    assert (play.round.term, play.leader) == (1, "c")


def test_the_leader_does_not_depend_on_the_order_in_which_members_joined() -> None:
    assert Play("a", "b", "c", min_peers=3).leader == Play("c", "b", "a", min_peers=3).leader


def test_a_leader_need_not_have_submitted_a_model() -> None:
    play = Play("a", "b", "c")
    play.submit("b", "c")
    play.freeze("a")
    play.publish("a")
    assert play.result.leader == "a"


def test_a_member_that_is_not_willing_never_leads() -> None:
    play = Play()
    play.open("a", may_lead=False)
    play.open("b")
    for _ in range(3):
        assert play.leader == "b"
        play.complete_round("a", "b")


def test_a_round_that_no_member_can_lead_has_a_text_and_goes_on_once_a_member_can() -> None:
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


def test_a_member_without_a_running_ml_process_leads_only_if_no_other_can() -> None:
    play = Play("a", "b", "c")
    play.set_attendance("a", "ml-lost")
    play.set_attendance("b", "ml-lost")
    play.depose("sn", by_sn=True, cause="lease")
    assert play.leader == "c"
    play.set_attendance("c", "lost")
    assert play.leader in ("a", "b")


@pytest.mark.parametrize("attendance", ["lost", "restarted"])
def test_a_leader_that_goes_away_is_replaced_at_once(attendance: Attendance) -> None:
    play = Play("a", "b")
    play.submit("b")
    play.set_attendance("a", attendance)
    assert (play.round.term, play.leader, list(play.round.submissions)) == (1, "b", ["b"])


def test_a_leader_that_loses_its_ml_process_goes_on_leading() -> None:
    play = Play("a", "b")
    play.set_attendance("a", "ml-lost")
    assert (play.round.term, play.leader) == (0, "a")


def test_when_all_members_are_lost_the_first_to_return_leads() -> None:
    play = Play("a", "b")
    play.set_attendance("a", "lost")
    play.set_attendance("b", "lost")
    assert play.leader == ""
    play.set_attendance("b", "present")
    assert play.leader == "b"


# --- the order of leaders ---------------------------------------------------------------------------------------------


def opened(uids: str, network: str, name: str = "contract", identities: str = "") -> Training:
    """A contract in which all these open a session, in this order."""
    state = empty(name)
    for uid, identity in zip(uids, identities or uids, strict=True):
        body = session(len(uids))
        state = open_session(state, body, uid, 1, 0, network=network, identity=identity)
    return state


def leaders(state: Training) -> list[str]:
    """The member that would lead in each of the first terms of round 0."""
    play = Play()
    play.state = state
    found = []
    for _ in range(len(state.members)):
        found.append(play.leader)
        play.depose("sn", by_sn=True, cause="lease")
    return found


def test_the_order_of_leaders_does_not_depend_on_which_member_joined_first() -> None:
    assert leaders(opened("abcde", "1" * 64)) == leaders(opened("edcba", "1" * 64))


def test_every_member_has_its_turn_to_lead() -> None:
    assert sorted(leaders(opened("abcde", "1" * 64))) == list("abcde")


def test_no_member_leads_first_in_every_network_whatever_its_uid() -> None:
    first = {leaders(opened("0abcd", f"{number:064}"))[0] for number in range(64)}
    assert first == set("0abcd")


def test_the_order_of_leaders_follows_from_network_contract_and_identities() -> None:
    order = opened("abcde", "1" * 64).order
    assert opened("abcde", "1" * 64).order == order
    assert opened("abcde", "2" * 64).order != order
    assert opened("abcde", "1" * 64, name="another").order != order
    assert opened("abcde", "1" * 64, identities="vwxyz").order != order


MANY = {"a": "one", "b": "two", "x": "three"} | {f"c{number}": "two" for number in range(5)}


def leading(charter: Charter) -> list[str]:
    """The organisations that lead the first 24 terms of a round, one of which has six of the eight sites."""
    play = Play(*MANY, organisations=MANY, charter=charter)
    found = []
    for _ in range(24):
        found.append(MANY[play.leader])
        play.depose("sn", by_sn=True, cause="lease")
    return found


def test_an_organisation_with_many_sites_leads_no_more_often_where_rounds_need_several_organisations() -> None:
    found = leading(Charter(owner="one", min_organisations=2))
    assert {name: found[:3].count(name) for name in ("one", "two", "three")} == {"one": 1, "two": 1, "three": 1}


def test_every_site_has_its_turn_to_lead_where_organisations_take_turns() -> None:
    play = Play(*MANY, organisations=MANY, charter=Charter(owner="one", min_organisations=2))
    found = []
    for turn in range(3 * 6):
        current = msgspec.structs.replace(play.round, number=turn, leader="")
        elected = elect_leader(msgspec.structs.replace(play.state, round=current)).round
        assert elected is not None
        found.append(elected.leader)
    assert [MANY[uid] for uid in found] == [MANY[uid] for uid in found[:3]] * 6
    assert set(found) == set(MANY)


def test_sites_take_turns_to_lead_whosever_they_are_where_a_contract_counts_sites() -> None:
    found = leading(Charter(owner="one"))
    assert found[:8].count("two") == 6


def test_the_order_of_leaders_stays_as_members_come_and_go() -> None:
    state = opened("abcde", "1" * 64)
    later = open_session(state, session(5), "x", 1, 0, network="1" * 64, identity="x")
    assert later.order == state.order


def test_a_leader_that_was_deposed_comes_after_all_that_were_not() -> None:
    play = Play("a", "b", "c", "d")
    found = []
    for _ in range(8):
        found.append(play.leader)
        play.depose(*sorted({"a", "b", "c", "d"} - {play.leader})[:2])
    assert found == [*"abcd", *"abcd"]
    assert play.round.doublings == 3


# --- deposing ---------------------------------------------------------------------------------------------------------


def test_an_sn_deposes_a_leader_whose_lease_has_expired() -> None:
    play = Play("a", "b")
    play.depose("sn", by_sn=True, cause="lease")
    assert (play.round.term, play.leader) == (1, "b")
    assert play.member("a").present


def test_a_leader_may_depose_itself() -> None:
    play = Play("a", "b")
    play.depose("a")
    assert (play.round.term, play.leader) == (1, "b")


@pytest.mark.parametrize("first_is_sn", [True, False])
def test_two_reports_of_no_progress_depose_a_leader_and_one_does_not(first_is_sn: bool) -> None:
    play = Play("a", "b", "c")
    play.depose("sn" if first_is_sn else "b", by_sn=first_is_sn)
    assert (play.round.term, play.leader) == (0, "a")
    play.depose("c")
    assert (play.round.term, play.leader, play.round.no_progress) == (1, "b", {})


def test_a_member_that_was_deposed_does_not_lead_again_while_others_can() -> None:
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


def test_reports_of_no_progress_in_one_term_do_not_count_in_the_next() -> None:
    play = Play("a", "b", "c")
    play.depose("b")
    play.depose("sn", by_sn=True, cause="lease")
    play.depose("c")
    assert (play.round.term, play.leader) == (1, "b")


def test_a_deposed_leader_cannot_publish_but_its_model_still_counts() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    play.depose("sn", by_sn=True, cause="lease")
    with pytest.raises(Rejection, match="stale-term: round 0 is in term 1, not 0"):
        play.publish("a", term=0)
    play.publish("b")
    assert [part.uid for part in play.result.receipt.contributions] == ["a", "b"]


def test_progress_clears_reports_of_none_and_only_the_leader_of_the_term_can_report_it() -> None:
    play = Play("a", "b", "c")
    play.depose("b")
    for uid, changes in (("b", {}), ("a", {"term": 1}), ("a", {"number": 1})):
        with pytest.raises(Rejection, match=r"not-leader|stale-term|other-round"):
            play.progress(uid, **changes)
    play.progress("a")
    play.depose("c")
    assert (play.round.term, play.leader, play.round.no_progress) == (0, "a", {"c": ""})
    play.depose("b")
    assert (play.round.term, play.leader) == (1, "b")


def test_a_leader_that_has_sent_something_since_is_not_deposed() -> None:
    play = Play("a", "b")
    with pytest.raises(Rejection, match="progress: the leader sent a transaction at height 9, after 8"):
        play.depose("sn", by_sn=True, cause="lease", leader_height=9, seen_height=8)
    play.depose("sn", by_sn=True, cause="lease", leader_height=9, seen_height=9)
    assert play.round.term == 1


# --- a leader that takes too long -------------------------------------------------------------------------------------


def test_two_members_depose_a_leader_that_reports_progress_but_takes_too_long() -> None:
    play = Play("a", "b", "c")
    play.submit("a", "b", "c")
    play.depose("b", cause="overdue", leader_height=9)
    play.progress("a")
    assert play.leader == "a"
    play.depose("c", cause="overdue", leader_height=10)
    assert (play.round.term, play.leader) == (1, "b")


def test_one_of_two_members_deposes_the_other_when_it_takes_too_long_to_lead() -> None:
    play = Play("a", "b")
    play.submit("a", "b")
    play.depose("b", cause="overdue", leader_height=9)
    assert (play.round.term, play.leader) == (1, "b")


def test_a_leader_does_not_report_itself_as_overdue() -> None:
    play = Play("a", "b", "c")
    assert play.leader == "a"
    with pytest.raises(Rejection, match="not-allowed: a leads this term itself"):
        play.depose("a", cause="overdue")


def test_an_sn_does_not_judge_how_long_a_leader_takes() -> None:
    play = Play("a", "b", "c")
    with pytest.raises(Rejection, match="not-allowed"):
        play.depose("sn", by_sn=True, cause="overdue")
