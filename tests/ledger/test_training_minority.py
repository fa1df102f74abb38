"""Under a contract that states a minimum of organisations, sites of fewer neither end nor hold up the others."""

from typing import Any

import pytest

from support.play import Play, merged, model
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.barring import is_barred, is_believed
from swarmlearning.ledger.contracts.training.sizes import model_size, next_report, size_of_all
from swarmlearning.ledger.contracts.training.state import Attendance, Charter

SITES = {"a": "one", "b": "two", "c": "three", "x": "hostile", "y": "hostile", "z": "hostile"}


def trained(*uids: str, needed: int = 3, min_peers: int = 3) -> Play:
    """Sites `a`, `b` and `c` of three organisations, and those of a hostile one."""
    charter = Charter(owner="one", min_organisations=needed)
    return Play(*uids, min_peers=min_peers, organisations=SITES, charter=charter)


def after_round_0(*hostile: str, **terms: int) -> Play:
    """The result of round 0 stands; its leader holds it."""
    play = trained("a", "b", "c", *hostile, **terms)
    play.submit("a", "b", "c", *hostile)
    play.publish()
    return play


def ended(*hostile: str) -> Play:
    """Training is over, and `a`, `b` and `c` hold its result."""
    play = trained("a", "b", "c", *hostile)
    for uid in "abc":
        play.close(uid)
    play.submit("a", "b", "c", kind="snapshot")
    if not play.frozen:
        play.freeze()
    play.publish()
    play.report("a", "b", "c")
    return play


# --- terms ----------------------------------------------------------------------------------------------------------

OTHER = "6" * 64


@pytest.mark.parametrize(
    "odd", [{"structure": OTHER}, {"min_peers": 99}, {"initial": "one"}, {"merge_method": "geomedian"}]
)
def test_one_organisation_that_comes_first_lays_down_no_terms_for_the_others(odd: dict[str, Any]) -> None:
    play = trained(needed=2, min_peers=2)
    for uid in "xyz":
        play.open(uid, **odd)
    play.open("a")
    assert play.state.round is None
    play.open("b")
    assert play.round.number == 0
    assert [uid for uid, member in play.state.members.items() if member.present] == ["a", "b"]
    with pytest.raises(Rejection, match="other-terms"):
        play.open("x", incarnation=2, **odd)


@pytest.mark.parametrize("field", ["frozen", "classes", "features"])
def test_what_is_not_merged_is_laid_down_only_by_as_many_organisations_as_a_round_needs(field: str) -> None:
    play = trained("a", needed=2, min_peers=4)
    theirs: dict[str, Any] = {field: OTHER}
    ours: dict[str, Any] = {field: "7" * 64}
    play.open("x", **theirs)
    play.open("b", **ours)
    assert play.member("b").present
    play.open("c", **ours)
    assert play.member("x").attendance == "other-terms"
    with pytest.raises(Rejection, match="other-terms"):
        play.open("y", **theirs)


def test_a_site_with_other_terms_is_refused_once_enough_organisations_agree() -> None:
    play = trained("a", "b", needed=2, min_peers=3)
    with pytest.raises(Rejection, match=r"other-terms: .* model structure is 5+, this session has 6+"):
        play.open("c", structure=OTHER)


def test_a_member_with_other_terms_does_not_count_when_it_returns() -> None:
    play = trained(needed=2, min_peers=2)
    play.open("x", structure=OTHER)
    play.open("a")
    play.open("b")
    play.set_attendance("x", "lost")
    play.set_attendance("x", "present")
    assert play.member("x").attendance == "other-terms"


def test_a_member_with_other_terms_counts_once_it_states_those_of_the_others() -> None:
    play = trained(needed=2, min_peers=2)
    play.open("x", structure=OTHER)
    play.open("a")
    assert "x (has other terms" in play.text or "a (has other terms" in play.text
    play.open("x")
    assert play.round.number == 0


# --- voiding --------------------------------------------------------------------------------------------------------


def test_a_result_is_not_void_because_sites_of_one_organisation_report_that_they_miss_it() -> None:
    play = after_round_0("x", "y", min_peers=4)
    play.report("a", "b")
    play.set_attendance("c", "lost")
    play.missing("x", "y", lasting=True)
    with pytest.raises(Rejection, match="still-held"):
        play.void()


def test_a_final_result_is_not_void_because_one_organisation_misses_it_while_all_others_are_away() -> None:
    play = ended("x")
    for uid in "abc":
        play.set_attendance(uid, "lost")
    play.missing("x", lasting=True)
    with pytest.raises(Rejection, match="still-held"):
        play.void()


def test_a_result_is_void_that_those_who_can_go_on_have_given_up_whatever_one_organisation_reports_to_hold() -> None:
    play = after_round_0("x", "y", "z", needed=2, min_peers=2)
    play.set_attendance(play.result.leader, "lost")
    play.report("x", "y", "z")
    others = [uid for uid in "abc" if play.member(uid).present]
    play.missing(*others, lasting=True)
    play.void()
    assert play.round.number == 0


@pytest.mark.parametrize("over", [False, True])
def test_sites_of_one_organisation_beside_one_that_nobody_can_fetch_from_do_not_outnumber_the_others(
    over: bool,
) -> None:
    """They do not say that they miss the model that the unreachable site alone has (seed 80000114)."""
    organisations = {**SITES, "d": "one"}
    play = Play(
        *organisations, min_peers=2, organisations=organisations, charter=Charter(owner="one", min_organisations=2)
    )
    for uid in "abcd" if over else "":
        play.close(uid)
    play.submit("a", "b", "c", "d", kind="snapshot" if over else "trained")
    play.set_attendance("c", "left")
    while play.leader != "a":
        play.depose(play.leader)
    play.freeze()
    play.publish()
    assert play.state.over is over
    play.report("x", "y", "z")
    play.missing("b", "d", lasting=True)
    if over:
        with pytest.raises(Rejection, match="no-change"):
            play.settle()
    play.void()
    assert play.round.number == 0


@pytest.mark.parametrize("attendance", ["lost", "ml-lost", "left"])
def test_holders_of_one_organisation_that_come_and_go_do_not_keep_others_from_giving_a_result_up(
    attendance: Attendance,
) -> None:
    play = after_round_0("x", "y", "z", needed=2, min_peers=2)
    play.set_attendance(play.result.leader, "lost")
    play.report("x", "y", "z")
    first, *others = [uid for uid in "abc" if play.member(uid).present]
    play.missing(first, lasting=True)
    for number, uid in enumerate("xyzx"):
        play.set_attendance(uid, attendance)
        play.set_attendance(uid, "present")
        if number == 0:
            assert play.result.given_up == (), "a holder that returns is worth another attempt"
            play.missing(first, lasting=True)
    assert play.result.given_up == (first,)
    play.missing(*others, lasting=True)
    play.void()


def test_of_two_organisations_each_can_report_a_result_as_lost() -> None:
    play = trained("a", "b", needed=2, min_peers=2)
    play.submit("a", "b")
    play.publish()
    play.missing("b", lasting=True)
    play.void()
    assert play.round.number == 0


# --- settling -------------------------------------------------------------------------------------------------------


def test_sites_of_too_few_organisations_that_give_a_final_result_up_do_not_hold_it_up_however_many_they_are() -> None:
    charter = Charter(owner="one", min_organisations=2)
    play = Play("a", "b", "x", "y", "z", organisations=SITES, charter=charter)
    for uid in "ab":
        play.close(uid)
    play.submit("a", "b", kind="snapshot")
    play.freeze()
    play.publish()
    play.report("a", "b")
    play.missing("x", "y", "z", lasting=True)
    play.settle()
    assert play.state.settled


def test_a_member_that_never_reports_the_final_result_is_waited_for_until_enough_others_wait_no_longer() -> None:
    play = ended("x")
    with pytest.raises(Rejection, match="not all live members hold it yet"):
        play.settle()
    play.settle("a", "b")
    assert not play.state.settled
    play.settle("c")
    assert play.state.settled
    assert play.result.given_up == ("x",)


def test_sites_of_one_organisation_do_not_end_a_training_that_others_have_not_got_the_model_of() -> None:
    charter = Charter(owner="one", min_organisations=2)
    play = Play("a", "b", "x", "y", organisations=SITES, charter=charter)
    for uid in "axy":
        play.close(uid)
    play.submit("a", "x", "y", kind="snapshot")
    play.submit("b")
    play.publish()
    play.report("x", "y")
    play.settle("x", "y")
    assert not play.state.settled


def test_only_who_holds_the_final_model_reports_once_that_it_waits_no_longer() -> None:
    play = ended("x")
    with pytest.raises(Rejection, match="not-allowed: x does not hold the final model itself"):
        play.settle("x")
    play.settle("a")
    with pytest.raises(Rejection, match="no-change"):
        play.settle("a")


# --- deposing -------------------------------------------------------------------------------------------------------

FIVE = {"a": "one", "b": "two", "c": "three", "x": "hostile", "y": "hostile too"}


def five() -> Play:
    """Sites of five organisations, of which a round needs three."""
    return Play(*FIVE, min_peers=3, organisations=FIVE, charter=Charter(owner="one", min_organisations=3))


def test_two_organisations_of_five_depose_each_leader_once_a_round_and_no_leader_twice() -> None:
    play = five()
    while play.leader not in play.round.deposed:
        play.depose(*(uid for uid in "xy" if uid != play.leader), *("a" if play.leader in "xy" else ""))
    leader = play.leader
    hostile = [uid for uid in "bxy" if uid != leader][-2:]
    play.depose(*hostile)
    assert play.leader == leader
    play.depose(next(uid for uid in "cb" if uid not in (leader, *hostile)))
    assert play.leader != leader


def test_an_sn_and_sites_of_one_organisation_depose_no_leader_twice_in_a_round() -> None:
    organisations = {**SITES, "sn": "founder"}
    play = Play("a", "b", "x", organisations=organisations, charter=Charter(owner="one", min_organisations=2))
    while play.leader not in play.round.deposed:
        play.depose("x" if play.leader != "x" else "a")
        play.depose("sn", by_sn=True)
    leader = play.leader
    first, second = [uid for uid in "xab" if uid != leader]
    play.depose(first)
    play.depose("sn", by_sn=True)
    assert play.leader == leader
    play.depose(second)
    assert play.leader != leader


@pytest.mark.parametrize("ends", ["lost", "publishes nothing"])
def test_sites_of_one_organisation_do_not_keep_the_lead_because_nobody_can_depose_them_in_time(ends: str) -> None:
    """Each is lost, or publishes that it has no usable model, before anybody's patience is over (seed 30004399)."""
    play = trained(*SITES)
    play.submit(*SITES)
    leaders = []
    for _ in range(3 * len(SITES)):
        leader = play.leader
        leaders.append(leader)
        if leader in "abc":
            play.depose(leader)
        elif ends == "lost":
            play.set_attendance(leader, "lost")
            play.set_attendance(leader, "present")
        else:
            if not play.frozen:
                play.freeze(reached=tuple(SITES))
            play.publish(without=dict.fromkeys(play.round.submissions, "unreachable"), result="")
    assert {uid: leaders.count(uid) for uid in SITES} == dict.fromkeys(SITES, 3)


def test_leaders_of_two_organisations_of_five_do_not_bar_a_model_for_all_others() -> None:
    play = five()
    play.submit(*"abcxy")
    for _ in FIVE:
        if play.leader in "xy":
            play.publish(without=dict.fromkeys("abc", "non-finite"), result="")
            play.submit(*(uid for uid in "abc" if not is_barred(play.state, uid, model(uid, 0))))
        else:
            play.depose(*[uid for uid in FIVE if uid != play.leader][:2])
    assert [bar.leaders for bar in play.round.barred.values()] == [("x", "y")] * 3
    assert not any(is_believed(play.state, uid, bar) for uid, bar in play.round.barred.items())


def test_a_model_that_one_organisation_bars_while_the_others_are_away_is_judged_anew_when_they_are_back() -> None:
    """Two sites of one organisation found it unusable in the seconds in which the only other site was lost; the model,
    which its site has closed with, was barred for good, and the round with it (seed 60001014)."""
    play = trained("a", "b", "x", "y", needed=2, min_peers=2)
    play.submit("a", "b")
    play.set_attendance("a", "lost")
    for leader in "yx":
        if "b" not in play.round.submissions:
            play.submit("b")
        while play.leader != leader:
            play.depose(play.leader)
        play.freeze()
        play.publish(without={"b": "structure"}, result="")
    with pytest.raises(Rejection, match="excluded"):
        play.submit("b")
    play.set_attendance("a", "present")
    play.submit("b")
    assert sorted(play.round.submissions) == ["a", "b"]


def test_a_leader_that_is_overdue_again_is_deposed_by_as_many_organisations_as_a_round_needs() -> None:
    play = five()
    while play.leader not in play.round.deposed:
        play.depose(*[uid for uid in FIVE if uid != play.leader][:2], cause="overdue")
    leader = play.leader
    others = [uid for uid in FIVE if uid != leader]
    play.depose(*others[:2], cause="overdue")
    assert play.leader == leader
    play.depose(others[2], cause="overdue")
    assert play.leader != leader
    assert play.round.base in ("", merged(0))


# --- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", [1, 2**53 - 1])
def test_many_sites_of_one_organisation_do_not_set_the_size_of_a_model(lie: int) -> None:
    play = trained(*SITES, needed=2, min_peers=2)
    play.submit("x", "y", "z", size=lie)
    play.submit("a", "b", size=2560)
    assert model_size(play.state, play.round) == 2560
    play.submit("c", size=2560)
    assert play.frozen
    assert size_of_all(play.round, model_size(play.state, play.round)) == 6 * 2560
    play.progress(play.leader, moved=5)
    assert next_report(play.state, play.round) == 5 + 60
