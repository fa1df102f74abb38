"""The training contract when models are lost, or those who hold them serve nobody, and who leads then."""

from dataclasses import dataclass

import pytest

from support.play import Play, merged
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.losing import is_out_of_reach, lost_model


def published(*members: str, min_peers: int = 2) -> Play:
    """The result of round 0 stands, and only `a`, who led, holds it."""
    play = Play(*members, min_peers=min_peers)
    play.submit(*members)
    play.publish("a")
    return play


# --- a result that its holders serve to nobody ------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Of `members` with `min_peers`, these hold the result, miss it, and have given it up."""

    members: str
    min_peers: int
    holders: str
    missing: str = ""
    given_up: str = ""
    lost: bool = False


@pytest.mark.parametrize(
    "case",
    [
        Case("ab", 2, "", "ab", lost=True),
        Case("abc", 2, "", "ab", lost=False),
        Case("ab", 2, "a", "b", lost=False),
        Case("ab", 2, "a", "", "b", lost=True),
        Case("ab", 1, "a", "", "b", lost=False),
        Case("abc", 2, "a", "b", "c", lost=False),
        Case("abc", 2, "a", "", "bc", lost=True),
        Case("abc", 2, "ab", "", "c", lost=False),
        Case("abc", 3, "ab", "", "c", lost=True),
        Case("abcde", 2, "abc", "", "de", lost=False),
        Case("abcde", 2, "ab", "", "cde", lost=True),
        Case("abcde", 3, "a", "", "bc", lost=False),
        Case("abcde", 3, "a", "", "bcd", lost=True),
        Case("abcd", 2, "ab", "", "cd", lost=False),
    ],
)
def test_a_result_is_lost_when_too_few_hold_it_and_those_who_miss_it_have_given_up(case: Case) -> None:
    play = Play(*case.members, min_peers=case.min_peers)
    play.submit(*case.members)
    play.publish("a")
    play.report(*case.holders)
    play.missing(*(uid for uid in case.missing + case.given_up))
    play.missing(*case.given_up, lasting=True)
    assert (lost_model(play.state) == 0) == case.lost
    if case.lost:
        play.void()
        assert (play.round.number, play.round.term, play.state.result) == (0, 1, None)
    else:
        with pytest.raises(Rejection, match="still-held"):
            play.void()


def test_a_leader_whose_result_nobody_could_fetch_does_not_lead_while_others_can() -> None:
    play = published("a", "b", "c")
    play.missing("b", "c")
    play.missing("b", "c", lasting=True)
    play.void()
    assert play.member("a").unreachable
    leaders = set()
    for _ in range(6):
        leaders.add(play.leader)
        play.depose("sn", by_sn=True, cause="lease")
    assert leaders == {"b", "c"}
    play.set_attendance("b", "lost")
    play.set_attendance("c", "lost")
    assert play.leader == "a", "nobody else can"


def test_a_leader_whose_result_nobody_could_fetch_leads_again_when_all_others_have_failed_twice() -> None:
    """A full disk at the only other site must not be the end (seed 20000614)."""
    play = published("a", "b", "c")
    play.missing("b", "c")
    play.missing("b", "c", lasting=True)
    play.void()
    play.submit("a", "b", "c")
    leaders = []
    for _ in range(6):
        leaders.append(play.leader)
        play.depose(play.leader)
    assert sorted(leaders[:4]) == ["b", "b", "c", "c"]
    assert leaders[4] == "a"


def test_a_member_that_another_leader_has_fetched_from_may_lead_again() -> None:
    play = published("a", "b", "c")
    play.missing("b", "c")
    play.missing("b", "c", lasting=True)
    play.void()
    play.submit("a", "b", "c")
    play.publish(without={"a": "unreachable"})
    assert play.member("a").unreachable, "its model was not fetched"
    play.report("a", "b", "c")
    play.submit("a", "b", "c")
    play.publish()
    assert not play.member("a").unreachable


def test_a_member_that_serves_its_contributions_but_not_its_results_does_not_lead_again() -> None:
    play = published("a", "b", "c")
    for _ in range(2):
        play.missing("b", "c", slow=True)
        play.void()
        play.submit("a", "b", "c")
        play.publish()
        play.report("a", "b", "c")
        may_lead = not play.member("a").unreachable
        while may_lead and play.leader != "a":
            play.depose("sn", by_sn=True, cause="lease")
        play.submit("a", "b", "c")
        play.publish()
    assert play.member("a").unreachable


@pytest.mark.parametrize("change", ["restarted", "another address"])
def test_a_member_that_was_restarted_or_has_another_address_may_lead_again(change: str) -> None:
    play = published("a", "b", "c")
    play.missing("b", "c")
    play.missing("b", "c", lasting=True)
    play.void()
    if change == "restarted":
        play.open("a", incarnation=2)
    else:
        play.readdress("a")
    assert not play.member("a").unreachable


def test_a_holder_that_returns_is_given_another_chance_before_its_result_is_lost() -> None:
    play = published("a", "b")
    play.set_attendance("a", "lost")
    play.missing("b")
    play.missing("b", lasting=True)
    assert lost_model(play.state) is None, "too few are there"
    play.open("a", incarnation=2)
    assert lost_model(play.state) is None
    play.missing("b", lasting=True)
    assert lost_model(play.state) == 0


def test_as_many_holders_as_others_keep_a_result_that_these_have_given_up_until_the_holders_are_gone() -> None:
    """An operator who stops a site whose link drips lets the others go on without it (seed 93009522)."""
    play = published("a", "b", min_peers=1)
    assert not is_out_of_reach(play.state)
    play.missing("b")
    assert not is_out_of_reach(play.state), "it still tries"
    play.missing("b", lasting=True)
    assert is_out_of_reach(play.state)
    assert lost_model(play.state) is None
    play.set_attendance("a", "left")
    assert not is_out_of_reach(play.state)
    assert lost_model(play.state) == 0


def test_a_result_is_not_lost_while_fewer_than_min_peers_are_there_to_make_it_again() -> None:
    play = published("a", "b", "c")
    play.missing("a", "b")
    play.set_attendance("c", "lost")
    play.set_attendance("b", "lost")
    assert lost_model(play.state) is None
    play.set_attendance("b", "present")
    assert lost_model(play.state) == 0


def ended(*members: str, min_peers: int) -> Play:
    """Training is over; only `a`, who led, holds its result."""
    play = Play(*members, min_peers=min_peers)
    for uid in members:
        play.close(uid)
    play.submit(*members, kind="snapshot")
    play.publish("a")
    return play


def test_a_final_result_is_settled_without_a_member_that_has_given_it_up_where_enough_others_hold_it() -> None:
    play = ended("a", "b", "c", min_peers=2)
    play.report("b")
    play.missing("c")
    with pytest.raises(Rejection, match="not all live members hold it yet"):
        play.settle()
    play.missing("c", lasting=True)
    play.settle()
    assert play.state.settled


def test_a_final_result_is_not_settled_without_a_member_that_gets_it_slowly() -> None:
    play = ended("a", "b", "c", min_peers=2)
    play.report("b")
    play.missing("c", slow=True)
    with pytest.raises(Rejection, match="not all live members hold it yet"):
        play.settle()
    play.report("c")
    play.settle()
    assert play.state.settled


def test_a_result_that_all_others_get_too_slowly_is_lost_until_one_of_them_has_it() -> None:
    play = published("a", "b", "c")
    play.missing("b", "c", slow=True)
    assert lost_model(play.state) == 0
    with pytest.raises(Rejection, match="reported this already"):
        play.missing("b", slow=True)
    play.report("c")
    assert lost_model(play.state) is None


def test_a_final_result_that_most_have_given_up_is_made_again_instead_of_settled() -> None:
    play = ended("a", "b", "c", min_peers=1)
    play.missing("b", "c")
    play.missing("b", "c", lasting=True)
    with pytest.raises(Rejection, match="not all live members hold it yet"):
        play.settle()
    play.void()
    assert not play.state.over


def test_a_final_result_that_all_who_are_left_miss_is_void_though_they_are_too_few_so_that_others_can_join() -> None:
    play = ended("a", "b", "c", min_peers=3)
    play.set_attendance("a", "lost")
    play.missing("b", "c")
    play.void()
    play.open("d")
    assert play.state.members["d"].present


def test_patience_with_a_leader_whose_results_are_lost_is_doubled_each_time() -> None:
    play = Play("a", min_peers=2)
    play.open("b", may_lead=False)
    found = []
    for _ in range(3):
        play.submit("a", "b")
        play.publish("a")
        play.missing("b")
        play.missing("b", lasting=True)
        play.void()
        assert play.leader == "a", "nobody else may"
        found.append(play.round.doublings)
    assert found == [2, 3, 4]


# --- a base that is lost too ------------------------------------------------------------------------------------------


def void_round_1(*members: str, min_peers: int = 2) -> Play:
    """Round 1 is collected again from the result of round 0, since its own result was lost."""
    play = Play(*members, min_peers=min_peers)
    play.complete_round(*members)
    play.submit(*members)
    play.publish()
    play.missing(*members)
    play.void()
    return play


def test_a_base_that_every_live_member_misses_is_done_without() -> None:
    play = void_round_1("a", "b", "c")
    assert play.round.base == merged(0)
    play.missing("a", "b", number=0)
    with pytest.raises(Rejection, match=r"still-held: .*: c"):
        play.void(number=0)
    play.missing("c", number=0)
    play.void(number=0)
    assert (play.round.number, play.round.base, play.round.submissions) == (1, "", {})
    play.submit("a", "b", "c", base="")
    assert play.frozen


def test_a_base_is_done_without_once_the_last_member_that_might_have_it_is_gone() -> None:
    play = void_round_1("a", "b", "c")
    play.missing("a", "b", number=0)
    play.set_attendance("c", "lost")
    assert lost_model(play.state) == 0


@pytest.mark.parametrize(
    "case",
    [
        Case("ab", 2, "a", "b", lost=False),
        Case("ab", 2, "a", "", "b", lost=True),
        Case("ab", 1, "a", "", "b", lost=False),
        Case("abc", 2, "a", "", "bc", lost=True),
        Case("abc", 2, "ab", "", "c", lost=False),
        Case("abc", 3, "ab", "", "c", lost=True),
        Case("abcd", 2, "ab", "", "cd", lost=False),
        Case("abcde", 3, "a", "b", "cde", lost=True),
        Case("abcde", 4, "a", "b", "cde", lost=False),
    ],
)
@pytest.mark.parametrize("slow", [True, False])
def test_a_base_is_done_without_when_those_who_have_given_it_up_outnumber_those_who_may_have_it(
    case: Case, slow: bool
) -> None:
    """Its holders may be members that nobody can fetch from (seed 20000664)."""
    play = void_round_1(*case.members, min_peers=case.min_peers)
    play.missing(*case.missing, *case.given_up, number=0)
    play.missing(*case.given_up, number=0, lasting=not slow, slow=slow)
    if case.lost:
        play.void(number=0)
        assert (play.round.number, play.round.base) == (1, "")
    else:
        with pytest.raises(Rejection, match="still-held"):
            play.void(number=0)


@pytest.mark.parametrize("lasting", [True, False])
def test_a_missing_base_is_reported_once(lasting: bool) -> None:
    play = void_round_1("a", "b", "c")
    play.missing("a", number=0, lasting=lasting)
    with pytest.raises(Rejection, match="no-change: a has reported this already"):
        play.missing("a", number=0, lasting=lasting)


# --- an operator ends it ----------------------------------------------------------------------------------------------


def test_a_stopped_training_is_over_with_the_result_of_the_round_in_progress() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    play.stop()
    assert not play.state.over
    play.submit("a", "b")
    play.publish()
    assert (play.state.over, play.result.digest, play.state.rounds) == (True, merged(1), 2)
    play.report("a", "b")
    play.settle()
    assert play.state.settled


def test_a_stopped_training_whose_last_result_is_lost_ends_with_the_one_made_again() -> None:
    play = Play("a", "b")
    play.stop()
    play.submit("a", "b")
    play.publish()
    play.missing("a", "b")
    play.void()
    assert not play.state.over
    play.submit("a", "b")
    play.publish()
    assert play.state.over


# --- terms that nobody needs any more ---------------------------------------------------------------------------------


def test_terms_are_free_again_when_no_session_is_open_and_nothing_was_merged() -> None:
    play = Play("a", min_peers=3)
    play.set_attendance("a", "left")
    play.min_peers = 2
    play.open("b")
    play.open("a", incarnation=2)
    assert play.state.terms is not None
    assert play.state.terms.min_peers == 2
    assert play.state.members.keys() == {"a", "b"}
    assert play.round.number == 0


def test_an_open_session_keeps_its_terms_though_nothing_was_merged() -> None:
    play = Play("a", min_peers=3)
    with pytest.raises(Rejection, match=r"minPeers is 3.*use another trainingContract.*swarm contract reset"):
        play.open("b", min_peers=2)


def test_terms_with_which_something_was_merged_stay_though_everybody_is_away() -> None:
    play = published("a", "b")
    for uid in ("a", "b"):
        play.set_attendance(uid, "lost")
    with pytest.raises(Rejection, match="other-terms"):
        play.open("c", structure="6" * 64)


def test_members_that_are_lost_before_round_0_keep_their_sessions_where_the_terms_are_the_same() -> None:
    play = Play("a", min_peers=3)
    play.set_attendance("a", "lost")
    play.open("b")
    assert play.state.members.keys() == {"a", "b"}
