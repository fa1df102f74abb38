"""Sites with a privacy lock in a training contract: models that are withheld, and models that are kept back."""

import pytest

from support.play import Play, merged, receipt_of, standing
from swarmlearning.ledger.bodies import Privacy
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.submissions import NO_MODEL, kept_back

NOTHING = Privacy(1.0, withheld="no-base")
SPENT = Privacy(1.0, withheld="budget")


def withhold(play: Play, *uids: str, privacy: Privacy = NOTHING, **changes: object) -> None:
    base = play.round.base
    play.submit(*uids, kind="withheld", **{"digest": base or NO_MODEL, "size": 0, "privacy": privacy, **changes})


def test_a_site_that_withholds_its_model_counts_and_has_no_weight() -> None:
    play = Play("a", "b", "c", min_peers=3)
    play.submit("a", "b")
    withhold(play, "c")
    assert play.frozen
    assert play.round.submissions["c"].weight == 0
    play.publish()
    assert play.result.repeated == ("c",)
    assert play.member("c").contributed == 1


def test_a_round_without_a_base_needs_one_model_to_begin_with() -> None:
    play = Play("a", "b", "c", min_peers=2)
    withhold(play, "a", "b")
    assert (play.frozen, play.round.usable) == (False, 0)
    assert "0 models in" in play.text
    assert "a (gives no model to begin with, by its privacy lock)" in play.text
    play.submit("c")
    assert play.frozen


def test_a_round_whose_only_model_cannot_be_fetched_is_collected_again() -> None:
    play = Play("a", "b", "c", min_peers=2)
    withhold(play, "a", "b")
    play.submit("c")
    play.publish(without={"c": "unreachable"}, result="")
    assert (play.frozen, play.round.usable) == (False, 0)


def test_a_site_whose_session_is_closed_may_withhold_its_model_too() -> None:
    play = standing()
    play.report("a", "b")
    play.close("b")
    withhold(play, "b", privacy=SPENT)
    assert play.round.submissions["b"].digest == merged(0)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"privacy": None}, "wrong-kind"),
        ({"privacy": Privacy(1.0)}, "wrong-kind"),
        ({"digest": "a" * 64}, "wrong-kind"),
        ({"weight": 1}, "wrong-weight"),
        ({"base": "a" * 64}, "stale-base"),
    ],
)
def test_who_withholds_a_model_states_why_and_names_none(changes: dict[str, object], code: str) -> None:
    play = standing()
    play.report("a", "b")
    with pytest.raises(Rejection, match=code):
        withhold(play, "a", **{"privacy": SPENT, **changes})  # type: ignore[arg-type]


def test_a_model_that_is_given_cannot_state_that_it_is_withheld() -> None:
    with pytest.raises(Rejection, match="wrong-kind"):
        Play("a", "b").submit("a", privacy=NOTHING)


def demanding(demand: int, *others: str, min_peers: int = 2) -> Play:
    """Round 1 of three: `a` demands so many contributors, and these others have submitted."""
    play = Play("a", "b", "c", min_peers=min_peers)
    play.complete_round("a", "b", "c")
    play.submit("a", privacy=Privacy(1.0, contributors=demand))
    play.submit(*others)
    return play


KEPT = [(2, "", "a"), (2, "b", ""), (3, "b", "a"), (3, "bc", "")]


def kept(play: Play) -> set[str]:
    return kept_back(play.round.submissions, play.round.base)


@pytest.mark.parametrize(("demand", "others", "back"), KEPT)
def test_a_model_is_kept_back_until_enough_contribute(demand: int, others: str, back: str) -> None:
    assert kept(demanding(demand, *others)) == set(back)


def test_who_repeats_the_base_or_another_s_model_or_has_no_weight_is_no_contributor() -> None:
    play = demanding(2)
    play.submit("b", digest=play.round.base)
    withhold(play, "c", privacy=SPENT)
    assert kept(play) == {"a"}
    again = demanding(2)
    again.submit("b", digest=again.round.submissions["a"].digest)
    assert kept(again) == {"a"}


def test_a_site_that_gives_what_others_have_keeps_nothing_back() -> None:
    play = demanding(3)
    play.submit("b", digest=play.round.base)
    play.submit("c", digest=play.round.base, privacy=Privacy(1.0, contributors=3))
    assert kept(play) == {"a"}


def test_a_model_that_is_kept_back_holds_up_nobody() -> None:
    play = demanding(4, "b", "c", min_peers=3)
    assert play.frozen
    play.publish(without={"a": "kept-back"}, result=merged(1))
    assert (play.result.closed.number, play.member("a").contributed, play.member("b").contributed) == (1, 1, 2)


def test_a_receipt_leaves_out_as_kept_back_exactly_those_that_are() -> None:
    play = demanding(4, "b", "c")
    with pytest.raises(Rejection, match="wrong-contributors: a: left out as kept back is who demands more"):
        play.publish()
    with pytest.raises(Rejection, match="wrong-contributors: a, b: left out"):
        play.publish(receipt=receipt_of(play.round, {"b": "kept-back"}))
    play.publish(without={"a": "kept-back"})
    assert play.member("a").contributed == 1


def test_who_was_kept_back_may_be_in_when_the_round_is_collected_again() -> None:
    play = demanding(4, "b", "c", min_peers=3)
    play.publish(without={"a": "kept-back", "b": "unreachable"}, result="")
    assert not play.round.barred
    play.open("d")
    play.report("d")
    assert "a" in play.round.submissions
