"""The training contract: a round from its first model to its result, with exclusions, late models and stragglers."""

import pytest

from support.play import Play, full, merged, model, standing, three, two, unreachable
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import Barred
from swarmlearning.views.render import participation_text
from swarmlearning.views.training import participation

# --- a round ----------------------------------------------------------------------------------------------------------


def test_a_round_freezes_by_itself_when_all_awaited_models_are_in() -> None:
    play = Play("a", "b", "c")
    play.submit("a", "b")
    assert not play.frozen
    play.submit("c")
    assert play.frozen


def test_the_leader_may_freeze_a_round_with_min_peers_models() -> None:
    play = three()
    play.freeze()
    assert play.frozen
    assert sorted(play.round.submissions) == ["a", "b"]


def test_a_late_model_is_recorded_and_counted_as_late() -> None:
    play = three()
    play.freeze()
    play.submit("c")
    assert sorted(play.round.submissions) == ["a", "b"]
    assert list(play.round.late) == ["c"]
    play.publish()
    assert [play.member(uid).contributed for uid in "abc"] == [1, 1, 0]
    assert [play.member(uid).late for uid in "abc"] == [0, 0, 1]
    with pytest.raises(Rejection, match="other-round"):
        play.submit("c", round=0)


def test_the_next_round_opens_on_the_published_result() -> None:
    play = standing()
    assert (play.result.digest, play.result.leader, play.result.holders) == (merged(0), "a", ("a",))
    assert (play.round.number, play.round.term, play.round.base) == (1, 0, merged(0))
    assert play.state.rounds == 1


def test_exclusions_are_recorded_and_do_not_count_as_contributions() -> None:
    play = Play("a", "b", "c")
    play.submit("a", "b", "c")
    play.publish(without={"b": "structure"})
    assert [(part.uid, part.reason) for part in play.result.receipt.exclusions] == [("b", "structure")]
    assert [play.member(uid).contributed for uid in "abc"] == [1, 0, 1]


def test_a_round_with_too_few_usable_models_collects_again_under_another_leader() -> None:
    play = Play("a", "b", "c", min_peers=3)
    play.submit("a", "b", "c")
    play.publish(without={"b": "non-finite", "c": "unreachable"})
    assert (play.round.number, play.round.term, play.round.phase, play.state.result) == (0, 1, "collecting", None)
    assert play.leader == "b"
    assert sorted(play.round.submissions) == ["a", "c"]
    assert play.round.barred == {"b": Barred(model("b", 0), "non-finite", ("a",))}
    assert play.round.unreachable == ("c",)
    play.submit("b", digest="7" * 64)
    assert not play.frozen
    play.freeze(reached=("c",))
    assert play.frozen


def test_a_model_that_one_leader_found_unusable_is_judged_anew_by_the_next_and_no_more_after_that() -> None:
    play = full()
    play.publish(without={"b": "non-finite"})
    assert play.leader == "b"
    play.submit("b")
    assert play.frozen, "one leader may be wrong, or lie"
    play.publish(without={"b": "non-finite"})
    with pytest.raises(Rejection, match="excluded"):
        play.submit("b")


def test_members_that_cannot_be_fetched_from_do_not_count_until_a_leader_has_their_models() -> None:
    play = unreachable()
    assert (play.round.usable, play.frozen, play.leader) == (1, False, "b")
    play.open("c")
    play.submit("c")
    assert play.frozen, "others take their place"
    assert sorted(play.round.submissions) == ["a", "b", "c"]


@pytest.mark.parametrize("change", ["restarted", "another address", "another model"])
def test_a_member_that_could_not_be_fetched_from_counts_again_when_something_about_it_has_changed(change: str) -> None:
    play = unreachable()
    match change:
        case "restarted":
            play.open("b", incarnation=2)
        case "another address":
            play.readdress("b")
        case "another model":
            play.submit("b", digest="7" * 64)
    assert play.frozen
    assert play.round.unreachable == ()


def test_a_member_whose_model_was_unusable_stays_barred_in_later_terms_of_its_round() -> None:
    play = Play("a", "b", "c", min_peers=3)
    play.submit("a", "b", "c")
    play.publish(without={"b": "structure"})
    play.submit("b", digest="7" * 64)
    play.publish(without={"c": "structure"})
    assert play.round.barred.keys() == {"b", "c"}


def test_a_late_model_counts_when_its_round_collects_again() -> None:
    play = three()
    play.freeze()
    play.submit("c")
    play.publish(without={"b": "non-finite"})
    assert (sorted(play.round.submissions), play.round.late) == (["a", "c"], {})
    assert not play.frozen
    play.set_attendance("b", "ml-lost")
    assert play.frozen


def test_late_models_complete_a_round_from_which_only_lost_members_are_left_out() -> None:
    play = three()
    play.freeze()
    play.submit("c")
    play.set_attendance("b", "lost")
    play.publish(without={"b": "unreachable"})
    assert play.frozen
    assert (sorted(play.round.submissions), play.round.unreachable) == (["a", "b", "c"], ("b",))


def test_a_round_of_weight_zero_keeps_the_previous_model_and_its_holders() -> None:
    play = two()
    play.complete_round("a", "b")
    play.close("a", "inactive")
    play.close("b", "inactive")
    play.submit("a", kind="inactive")
    play.submit("b", kind="inactive")
    with pytest.raises(Rejection, match="no-weight"):
        play.publish(result=merged(1))
    play.publish(result=merged(0), size=0)
    assert (play.result.digest, play.result.holders, play.result.closed.number) == (merged(0), ("a", "b"), 1)
    assert play.result.size == 1


def test_in_round_0_an_inactive_model_keeps_its_weight() -> None:
    play = two()
    play.close("a", "inactive")
    play.submit("a", kind="inactive", weight=1)
    play.submit("b")
    play.publish()
    assert {part.weight for part in play.result.receipt.contributions} == {1}


@pytest.mark.parametrize(("checkin", "weight"), [("snapshot", 5), ("active", 5), ("inactive", 0)])
def test_a_finished_member_contributes_by_its_check_in_mode(checkin: str, weight: int) -> None:
    play = Play("a")
    play.open("b", weightage=5)
    play.complete_round("a", "b")
    play.close("b", checkin)  # type: ignore[arg-type]
    play.submit("b", kind=checkin, base="", weight=weight)  # type: ignore[arg-type]
    play.submit("a")
    assert play.frozen


# --- stragglers -------------------------------------------------------------------------------------------------------


def straggling() -> Play:
    """Round 1 has been closed without `c`, which the leader has waited for in vain."""
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    play.submit("a", "b")
    play.freeze(stragglers=("c", "nobody"))
    play.publish()
    return play


def test_a_straggler_is_not_waited_for_until_it_has_loaded_a_result() -> None:
    play = straggling()
    assert not play.member("c").awaited
    play.report("a", "b")
    play.report("c", loaded=False)
    assert (play.member("c").awaited, "c" in play.result.holders) == (False, True)
    play.submit("a", "b")
    assert play.frozen
    play.publish()
    play.report("c")
    assert play.member("c").awaited


def test_a_member_whose_model_has_arrived_meanwhile_is_no_straggler() -> None:
    play = Play("a", "b", "c", "d")
    play.submit("a", "b", "c")
    play.freeze(stragglers=("c", "d"))
    assert [play.member(uid).awaited for uid in ("c", "d")] == [True, False]


def test_a_carried_model_builds_on_the_standing_result_and_counts_like_any_other() -> None:
    play = straggling()
    with pytest.raises(Rejection, match="stale-base"):
        play.submit("c", kind="carried", base=merged(0))
    play.submit("c", kind="carried")
    entry = play.round.submissions["c"]
    assert (entry.kind, entry.weight) == ("carried", 1)
    play.submit("a", "b")
    assert play.frozen
    play.publish()
    assert play.member("c").contributed == 2


def test_a_finished_member_carries_nothing_over() -> None:
    play = straggling()
    play.close("c")
    with pytest.raises(Rejection, match="finished"):
        play.submit("c", kind="carried")


# --- participation ----------------------------------------------------------------------------------------------------


def test_participation_is_complete_or_names_who_was_not_in_all_rounds() -> None:
    play = Play("a", "b", "c")
    play.complete_round("a", "b", "c")
    assert participation_text(participation(play.state), {}) == "complete: 1/1 rounds with 3/3"
    play.submit("a", "b")
    play.freeze()
    play.submit("c")
    play.publish()
    text = "partial: 2 rounds with 3 members: c in 1 (late for 1), all others in all"
    assert participation_text(participation(play.state), {}) == text
