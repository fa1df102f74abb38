"""Rounds merged in slices by the geometric median: surveys of the models, and the coefficients that a leader states."""

import msgspec
import pytest

from support.network import session
from support.slicing import InSlices, depose, frozen, opened, refusal, root
from swarmlearning.ledger.bodies import Publish, Weigh
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training import recipes
from swarmlearning.ledger.contracts.training.recipes import MOST_SURVEYED, recipe_of
from swarmlearning.ledger.contracts.training.slices import Recipe
from swarmlearning.ledger.contracts.training.weighing import WHOLE, median_of_few
from swarmlearning.merge import geomedian, parts
from swarmlearning.merge.arithmetic import GRID

SHARES = (WHOLE // 2, WHOLE // 4, WHOLE // 8, WHOLE // 8)


def begun(*sites: str, **changes: object) -> InSlices:
    """Round 0 is frozen and cut, by the geometric median, and nobody has surveyed anything yet."""
    return frozen(*sites, merge_method="geomedian", **changes)


def surveyed(*sites: str) -> InSlices:
    """All slices have been surveyed."""
    play = begun(*sites)
    play.merge()
    return play


def weigh(play: InSlices, **changes: object) -> Weigh:
    body = Weigh(play.round.number, play.round.term, play.slicing.recipe, SHARES[: len(play.round.submissions)])
    return msgspec.structs.replace(body, **changes)


def recipe(play: InSlices) -> Recipe:
    return recipe_of(play.state, play.round, play.slicing)


def coefficients(play: InSlices) -> tuple[int, ...]:
    return tuple(one.coefficient for one in recipe(play).contributors)


def publish(play: InSlices, *shares: int) -> Publish:
    receipt = play.receipt()
    contributions = tuple(
        msgspec.structs.replace(part, coefficient=share)
        for part, share in zip(receipt.contributions, shares, strict=True)
    )
    receipt = msgspec.structs.replace(receipt, method="geomedian", contributions=contributions)
    return Publish(play.round.number, play.round.term, "9" * 64, play.size, receipt)


# --- surveys ----------------------------------------------------------------------------------------------------------


def test_a_round_begins_with_a_survey_whose_recipe_has_the_weights_that_were_submitted() -> None:
    play = begun()
    assert (play.slicing.survey, recipe(play).survey, coefficients(play)) == (1, 1, (1, 1, 1, 1))
    assert play.slicing.recipe == recipe(play).name


def test_recipes_and_states_whose_hashes_are_on_the_ledger_keep_the_first_names_of_their_fields() -> None:
    play = begun()
    play.merge(0)
    assert b'"look":1' in canonical(recipe(play))
    assert {"look", "seen"} <= msgspec.to_builtins(play.slicing).keys() | msgspec.to_builtins(play.slice(0)).keys()


def test_statistics_are_no_slice_and_nobody_holds_copies_of_them() -> None:
    play = begun()
    play.merge(0)
    merger = play.slice(0).merger
    assert (play.slice(0).root, play.slice(0).statistics) == ("", {merger: root(0)})
    assert play.slice(0).holders == {merger}
    with pytest.raises(Rejection, match="no-change"):
        play.merge(0, by=merger, root_of="others")
    with pytest.raises(Rejection, match="not-merged"):
        play.hold(play.others(merger)[0], 0)


def test_the_statistics_of_a_member_are_forgotten_when_it_is_restarted() -> None:
    """It ended with the process, and others would wait for it (seed 1323)."""
    play = surveyed()
    restarted = play.others(play.leader)[0]
    own, other = play.of(restarted), play.of(play.leader)[0]
    play.send_all([(restarted, session(merge_method="geomedian"))])
    assert all(play.slice(index).statistics for index in own), "only its script was restarted"
    play.ledger.actors[restarted].incarnation += 1
    play.ledger.register(restarted)
    play.send(restarted, session(merge_method="geomedian"))
    assert not any(play.slice(index).statistics for index in own)
    assert play.slice(other).statistics == {play.leader: root(other)}
    play.merge(*own)
    play.send(play.leader, weigh(play))


def test_two_mergers_with_different_statistics_of_a_slice_need_not_lie() -> None:
    """Sums differ in their last bits; a leader takes either."""
    play = surveyed()
    slow = play.others(play.leader)[0]
    index = play.of(slow)[0]
    play.reassign(index)
    play.merge(index, by=play.slice(index).merger, root_of="another machine")
    assert len(set(play.slice(index).statistics.values())) == 2
    assert play.slice(index).contradicted == set()
    assert play.slice(index).holders == play.slice(index).statistics.keys()
    play.send(play.leader, weigh(play))


def test_who_has_surveyed_and_is_taken_off_is_not_given_the_slice_again() -> None:
    play = begun("a", "b", "c")
    slow = play.others(play.leader)[0]
    index = play.of(slow)[0]
    play.merge(index)
    play.reassign(index)
    assert play.slice(index).merger not in (slow, play.leader)
    play.merge(index, by=play.slice(index).merger)
    depose(play, *play.others(play.leader))
    if play.leader not in play.slice(index).holders:
        with pytest.raises(Rejection, match="not-merger"):
            play.reassign(index)


def test_slices_of_a_lost_merger_are_surveyed_by_others() -> None:
    play = begun()
    gone = play.others(play.leader)[0]
    own = play.of(gone)
    play.merge(*own)
    play.lose(gone)
    assert not play.of(gone)
    assert all(gone in play.slice(index).statistics for index in own), "its word is kept"


def test_two_models_of_one_weight_and_one_with_half_of_it_need_no_survey() -> None:
    play = begun("a", "b")
    assert (play.slicing.survey, coefficients(play)) == (0, (WHOLE // 2, WHOLE // 2))
    assert refusal(play, play.leader, weigh(play, coefficients=(WHOLE, 0))) is Code.NO_CHANGE


@pytest.mark.parametrize(
    "weights", [(1, 1), (1,), (1, 2), (3, 1, 1), (2, 1, 1), (1, 1, 1), (5, 5), (1, 1, 2), (7, 2, 2, 2)]
)
def test_the_ledger_knows_as_well_as_the_merge_when_no_survey_is_needed(weights: tuple[int, ...]) -> None:
    found = geomedian.begin(weights)
    assert median_of_few(weights) == (() if isinstance(found, geomedian.Survey) else found)


def test_both_know_the_same_bounds() -> None:
    assert (WHOLE, MOST_SURVEYED) == (GRID, parts.MOST_MODELS)


# --- weighing ---------------------------------------------------------------------------------------------------------


def test_the_coefficients_that_the_leader_states_are_those_of_the_recipe_from_then_on() -> None:
    play = surveyed()
    before, mergers = play.slicing.recipe, [each.merger for each in play.slicing.slices]
    play.send(play.leader, weigh(play))
    assert (play.slicing.survey, coefficients(play)) == (0, SHARES)
    assert play.slicing.recipe == recipe(play).name != before
    assert not any(each.statistics or each.roots for each in play.slicing.slices), "that was of the survey"
    assert [each.merger for each in play.slicing.slices] == mergers, "who have their ranges here"
    assert refusal(play, play.leader, weigh(play)) is Code.NO_CHANGE
    assert refusal(play, play.leader, weigh(play, recipe=before)) is Code.OTHER_RECIPE


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"round": 1}, Code.OTHER_ROUND),
        ({"term": 1}, Code.STALE_TERM),
        ({"recipe": "0" * 64}, Code.OTHER_RECIPE),
        ({"coefficients": SHARES[:3]}, Code.WRONG_CONTRIBUTION),
        ({"coefficients": (*SHARES, 0)}, Code.WRONG_CONTRIBUTION),
        ({"coefficients": (1, 1, 1, 1)}, Code.WRONG_CONTRIBUTION),
        ({"coefficients": (WHOLE, 1, 0, 0)}, Code.WRONG_CONTRIBUTION),
    ],
)
def test_coefficients_are_of_the_contributors_of_this_survey_and_sum_to_the_whole(
    changes: dict[str, object], code: Code
) -> None:
    play = surveyed()
    assert refusal(play, play.leader, weigh(play, **changes)) is code


def test_only_the_leader_weighs_and_only_what_all_have_surveyed() -> None:
    play = begun()
    play.merge(*range(1, len(play.slicing.slices)))
    assert refusal(play, play.leader, weigh(play)) is Code.NOT_MERGED
    play.merge(0)
    assert refusal(play, play.others(play.leader)[0], weigh(play)) is Code.NOT_LEADER
    play.send(play.leader, weigh(play))


def test_there_are_two_surveys_at_most() -> None:
    play = surveyed()
    play.send(play.leader, weigh(play, again=True))
    assert (play.slicing.survey, recipe(play).survey, coefficients(play)) == (2, 2, SHARES)
    assert refusal(play, play.leader, weigh(play)) is Code.NOT_MERGED
    play.merge()
    assert refusal(play, play.leader, weigh(play, again=True)) is Code.WRONG_CONTRIBUTION
    last = SHARES[::-1]
    play.send(play.leader, weigh(play, coefficients=last))
    assert (play.slicing.survey, coefficients(play)) == (0, last)


def test_a_new_leader_goes_on_with_the_statistics_and_with_the_coefficients() -> None:
    play = surveyed()
    said = [each.statistics for each in play.slicing.slices]
    depose(play, *play.others(play.leader)[:2])
    assert play.round.term == 1
    assert [each.statistics for each in play.slicing.slices] == said
    play.send(play.leader, weigh(play))
    play.merge(0)
    depose(play, *play.others(play.leader)[:2])
    assert (play.round.term, coefficients(play)) == (2, SHARES)
    assert play.slice(0).root == root(0)


def test_without_a_contributor_the_surveys_begin_anew_with_their_mergers() -> None:
    play = begun("a", "b", "c", "d", "e")
    play.merge()
    play.send(play.leader, weigh(play, coefficients=(*SHARES[:3], SHARES[3], 0)))
    victim, first, second, *_ = play.others(play.leader)
    play.fault(play.of(first)[0], victim)
    play.fault(play.of(second)[0], victim)
    assert [part.uid for part in play.slicing.excluded] == [victim]
    assert (play.slicing.survey, play.slicing.weighed, coefficients(play)) == (1, (), (1, 1, 1, 1))
    assert refusal(play, play.leader, weigh(play)) is Code.NOT_MERGED


# --- the result -------------------------------------------------------------------------------------------------------


def test_nothing_is_published_from_a_survey() -> None:
    play = surveyed()
    assert refusal(play, play.leader, publish(play, 1, 1, 1, 1)) is Code.NOT_MERGED


def test_the_receipt_has_the_coefficients_that_are_on_the_ledger() -> None:
    play = surveyed()
    play.send(play.leader, weigh(play))
    play.merge()
    for uid in play.others(play.leader)[:2]:
        play.hold(uid)
    assert refusal(play, play.leader, publish(play, *SHARES[::-1])) is Code.WRONG_CONTRIBUTION
    play.send(play.leader, publish(play, *SHARES))
    assert tuple(part.coefficient for part in play.result.receipt.contributions) == SHARES


def test_a_slice_of_the_result_that_is_lost_is_merged_again_with_these_coefficients() -> None:
    play = surveyed()
    play.send(play.leader, weigh(play))
    play.merge()
    leader = play.leader
    for uid in play.others(leader)[:1]:
        play.hold(uid, *play.of(leader))
    name = play.slicing.recipe
    play.send(leader, publish(play, *SHARES))
    assert play.slicing.recipe == name == recipe_of(play.state, play.result.closed, play.slicing).name


def test_of_more_models_than_can_be_surveyed_one_leader_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "MOST_SURVEYED", 3)
    play = opened(merge_method="geomedian")
    play.submit()
    assert play.frozen_whole
