"""The models of a site whose results nobody could fetch, twice, in a round that is collected again because of that."""

import pytest

from support.play import Play
from swarmlearning.ledger.bodies import Privacy
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.submissions import NO_MODEL

NOTHING = Privacy(1.0, withheld="no-base")


def void_twice() -> Play:
    """Nobody could fetch from `b`, which has led round 0 twice as `a` had only its model to merge; `c` may not lead."""
    play = Play("a", "b")
    play.open("c", may_lead=False)
    for _ in range(2):
        play.submit("a", "b")
        if play.leader == "a":
            play.freeze()
            play.submit("c")
            play.publish(without={"b": "unreachable"}, result="")
        else:
            play.submit("c")
        while play.leader != "b":
            play.depose("sn", by_sn=True, cause="lease")
        play.publish()
        play.missing("a", "c")
        play.missing("a", "c", lasting=True)
        play.void()
    assert (play.leader, play.member("b").void_results) == ("a", 2)
    return play


def test_the_contributors_are_not_fixed_because_of_a_member_from_which_nobody_could_fetch_two_results() -> None:
    """A leader with no grace left before the third model came, and the unreachable one led again (seed 93050240)."""
    play = void_twice()
    play.submit("a", "b")
    assert (play.round.usable, play.round.unreachable) == (1, ("b",))
    with pytest.raises(Rejection, match="below-min-peers"):
        play.freeze()
    play.submit("c")
    assert (play.frozen, play.leader) == (True, "a")
    play.publish(without={"b": "unreachable"})
    assert (play.result.leader, play.round.number) == ("a", 1)


def test_such_a_member_counts_once_a_leader_has_its_model() -> None:
    play = void_twice()
    play.submit("a", "b")
    play.freeze(reached=("b",))
    assert (play.frozen, play.round.unreachable) == (True, ())


def test_the_late_model_of_such_a_member_does_not_count_either() -> None:
    play = void_twice()
    play.submit("a", "c")
    play.freeze()
    play.submit("b")
    play.publish(without={"c": "too-slow"}, result="")
    assert (play.round.unreachable, play.frozen, play.leader) == (("b", "c"), False, "a")


def test_such_a_member_counts_at_once_where_it_leads_or_its_model_has_no_weight() -> None:
    play = void_twice()
    play.submit("b", weight=0, kind="withheld", digest=NO_MODEL, size=0, privacy=NOTHING)
    assert play.round.unreachable == ()
    play = void_twice()
    play.set_attendance("a", "lost")
    assert play.leader == "b"
    play.submit("b", "c")
    assert (play.frozen, play.round.unreachable) == (True, ())


def test_such_a_member_counts_at_once_where_the_others_are_too_few() -> None:
    """A site that was slow itself made two results void that all others held (seed 93110970)."""
    play = void_twice()
    play.set_attendance("c", "lost")
    play.submit("a", "b")
    assert (play.frozen, play.round.unreachable) == (True, ())


def test_such_a_member_counts_at_once_where_the_round_has_had_no_void_result() -> None:
    play = void_twice()
    play.submit("a", "b", "c")
    play.publish(without={"b": "unreachable"})
    play.report("a", "b", "c")
    assert play.member("b").unreachable
    play.submit("a", "b")
    assert (play.round.usable, play.round.unreachable) == (2, ())


@pytest.mark.parametrize("change", ["restarted", "another address", "shut out"])
def test_such_a_member_counts_at_once_when_something_about_it_has_changed(change: str) -> None:
    play = void_twice()
    play.submit("a", "b")
    match change:
        case "restarted":
            play.open("b", incarnation=2)
        case "another address":
            play.readdress("b")
        case "shut out":
            play.shut_out("b")
    assert play.round.unreachable == ()
