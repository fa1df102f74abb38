"""Transactions about slices: which are accepted, and which refused with which code."""

from collections.abc import Callable

import msgspec
import pytest

from support.network import session
from support.play import merged, model, receipt_of
from support.slicing import InSlices, frozen, opened, publish_and_hold, refusal, root
from swarmlearning.ledger.bodies import (
    Exclusion,
    Held,
    Publish,
    Reassign,
    ReportFault,
    Sliced,
    StateLink,
)
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.slices import roots_of
from swarmlearning.ledger.contracts.training.slicing import MOST_DETAIL

OTHER = "0" * 64


@pytest.fixture
def play() -> InSlices:
    """Round 0 of four sites, frozen and cut in 16 slices; the first merger has stated its first one."""
    made = frozen()
    made.merge(0)
    return made


def merger(play: InSlices) -> str:
    """That of slices 0 to 3."""
    return play.slice(0).merger


def another(play: InSlices) -> str:
    """A member that does not merge these and does not lead."""
    return next(uid for uid in play.sites if uid not in (merger(play), play.leader))


# --- Sliced -----------------------------------------------------------------------------------------------------------


def sliced(play: InSlices, **changes: object) -> Sliced:
    body = Sliced(0, play.slicing.recipe, 1, root(1))
    return msgspec.structs.replace(body, **changes)


def test_a_merger_states_its_slice_and_holds_it(play: InSlices) -> None:
    play.send(merger(play), sliced(play))
    assert play.slice(1).root == root(1)
    assert play.slice(1).holders == {merger(play)}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"slice": 0}, Code.NO_CHANGE),
        ({"slice": 0, "root": OTHER}, Code.NO_CHANGE),
        ({"slice": 16}, Code.OTHER_RECIPE),
        ({"slice": 2**53 - 1}, Code.OTHER_RECIPE),
        ({"slice": 4}, Code.NOT_MERGER),
        ({"recipe": OTHER}, Code.OTHER_RECIPE),
        ({"round": 1}, Code.OTHER_RECIPE),
    ],
)
def test_a_merger_states_only_its_slices_of_the_recipe_each_once(
    play: InSlices, changes: dict[str, object], code: Code
) -> None:
    assert refusal(play, merger(play), sliced(play, **changes)) is code


def test_nobody_else_states_a_slice(play: InSlices) -> None:
    play.ledger.join("e")
    for uid in (another(play), "e"):
        assert refusal(play, uid, sliced(play)) is Code.NOT_MERGER


def test_a_round_without_slices_has_none_to_state() -> None:
    play = opened(size=1)
    play.submit()
    assert not play.is_sliced
    assert refusal(play, "a", Sliced(0, OTHER, 0, OTHER)) is Code.OTHER_RECIPE


# --- Held -------------------------------------------------------------------------------------------------------------


def held(play: InSlices, *indexes: int, roots: str = "") -> Held:
    return Held(0, play.slicing.recipe, indexes, roots or roots_of(play.slicing.slices, indexes))


def test_a_member_that_holds_copies_is_a_holder_of_each(play: InSlices) -> None:
    play.merge(1)
    uid = another(play)
    play.send(uid, held(play, 0, 1, 1))
    assert [uid in play.slice(index).holders for index in range(3)] == [True, True, False]
    play.merge(2)
    play.send(uid, held(play, 0, 2))
    assert uid in play.slice(2).holders, "that it holds 0 is not news, 2 is"


def test_copies_are_of_slices_that_are_merged_and_stated_once(play: InSlices) -> None:
    uid = another(play)
    assert refusal(play, uid, held(play, 0, 1)) is Code.NOT_MERGED
    assert refusal(play, merger(play), held(play, 0)) is Code.NO_CHANGE
    play.send(uid, held(play, 0))
    assert refusal(play, uid, held(play, 0)) is Code.NO_CHANGE
    assert refusal(play, uid, Held(0, play.slicing.recipe, (0, 16), OTHER)) is Code.OTHER_RECIPE
    play.ledger.join("e")
    assert refusal(play, "e", held(play, 0)) is Code.NOT_A_MEMBER


def test_a_copy_of_what_does_not_count_any_more_is_refused(play: InSlices) -> None:
    assert refusal(play, another(play), held(play, 0, roots=OTHER)) is Code.NOT_MERGED


# --- ReportFault ------------------------------------------------------------------------------------------------------


def fault(play: InSlices, uid: str, **changes: object) -> ReportFault:
    body = ReportFault(0, play.slicing.recipe, 1, Exclusion(uid, "unreachable", "x" * 300))
    return msgspec.structs.replace(body, **changes)


def test_a_merger_says_why_it_cannot_merge_and_its_slices_go_to_others(play: InSlices) -> None:
    first = merger(play)
    play.send(first, fault(play, another(play)))
    (found,) = play.slicing.faults
    assert (found.by, found.uid, found.exclusion.detail) == (first, another_of(play, first), "x" * MOST_DETAIL)
    assert [index for index in range(4) if play.slice(index).merger == first] == [0], "it has merged that already"
    assert refusal(play, first, fault(play, play.leader)) is Code.NOT_MERGER, "it is asked for nothing more"


def another_of(play: InSlices, first: str) -> str:
    return next(uid for uid in play.sites if uid not in (first, play.leader))


@pytest.mark.parametrize(
    ("sender", "about", "changes", "code"),
    [
        (merger, lambda play: "nobody", {}, Code.NOT_A_MEMBER),
        (merger, another, {"slice": 0}, Code.NO_CHANGE),  # it has merged that
        (another, merger, {}, Code.NOT_MERGER),
        (merger, another, {"slice": 16}, Code.OTHER_RECIPE),
        (merger, another, {"recipe": OTHER}, Code.OTHER_RECIPE),
        (merger, another, {"round": 7}, Code.OTHER_RECIPE),
    ],
)
def test_a_fault_is_reported_by_the_merger_about_a_contributor(
    play: InSlices,
    sender: Callable[[InSlices], str],
    about: Callable[[InSlices], str],
    changes: dict[str, object],
    code: Code,
) -> None:
    assert refusal(play, sender(play), fault(play, about(play), **changes)) is code


def test_what_a_site_keeps_back_is_nothing_that_a_merger_finds(play: InSlices) -> None:
    kept = Exclusion(another(play), "kept-back", "")
    assert refusal(play, merger(play), fault(play, "", exclusion=kept)) is Code.WRONG_CONTRIBUTORS


# --- Reassign ---------------------------------------------------------------------------------------------------------


def reassign(play: InSlices, *indexes: int, **changes: object) -> Reassign:
    body = Reassign(0, play.round.term, play.slicing.recipe, indexes)
    return msgspec.structs.replace(body, **changes)


def foreign(play: InSlices) -> list[int]:
    """The slices that the leader does not merge."""
    return [index for index, each in enumerate(play.slicing.slices) if each.merger != play.leader]


def test_a_leader_takes_slices_from_mergers_also_such_as_they_have_stated(play: InSlices) -> None:
    play.merge()
    index = foreign(play)[0]
    before = play.slice(index).merger
    play.send(play.leader, reassign(play, index))
    after = play.slice(index)
    assert after.merger not in (before, play.leader)
    assert (after.former, after.root) == ((before,), root(index)), "what it has stated stays"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"term": 1}, Code.STALE_TERM),
        ({"round": 1}, Code.OTHER_ROUND),
        ({"recipe": OTHER}, Code.OTHER_RECIPE),
        ({"slices": (0, 16)}, Code.OTHER_RECIPE),
    ],
)
def test_a_leader_reassigns_slices_of_its_term(play: InSlices, changes: dict[str, object], code: Code) -> None:
    assert refusal(play, play.leader, reassign(play, foreign(play)[-1], **changes)) is code


def test_nobody_else_reassigns_slices(play: InSlices) -> None:
    assert refusal(play, another(play), reassign(play, 0)) is Code.NOT_LEADER


def test_a_slice_is_reassigned_once_a_term_and_not_if_the_leader_has_it_or_is_to_merge_it(play: InSlices) -> None:
    leader, (index, *_) = play.leader, foreign(play)
    assert refusal(play, leader, reassign(play, play.of(leader)[0])) is Code.NO_CHANGE
    play.send(leader, reassign(play, index))
    assert refusal(play, leader, reassign(play, index)) is Code.NO_CHANGE
    assert refusal(play, leader, reassign(play, *foreign(play)[1:2] * 2)) is Code.NO_CHANGE
    held_one = foreign(play)[-1]
    play.merge(held_one)
    play.hold(leader, held_one)
    assert refusal(play, leader, reassign(play, held_one)) is Code.NO_CHANGE


def test_of_two_sites_the_leader_takes_over_itself_and_then_nobody_is_left() -> None:
    play = frozen("a", "b")
    (index, *_) = foreign(play)
    play.send(play.leader, reassign(play, index))
    assert play.slice(index).merger == play.leader
    assert refusal(play, play.leader, reassign(play, play.of(play.leader)[0])) is Code.NO_CHANGE
    alone = frozen("a", "b")
    (index, *_) = foreign(alone)
    alone.link(alone.leader, merges=False)
    alone.send(alone.leader, reassign(alone, index))
    assert alone.slicing.lacked_by == (alone.leader,)
    assert refusal(alone, alone.leader, reassign(alone, *foreign(alone))) is Code.NOT_MERGER


# --- Publish ----------------------------------------------------------------------------------------------------------


def published(play: InSlices, **changes: object) -> Publish:
    body = Publish(0, play.round.term, merged(0), play.size, play.receipt())
    return msgspec.structs.replace(body, **changes)


def test_a_result_is_published_once_another_live_member_holds_each_slice(play: InSlices) -> None:
    leader, helper = play.leader, play.others(play.leader)[0]
    assert refusal(play, leader, published(play)) is Code.NOT_MERGED
    play.merge()
    play.hold(leader)
    assert refusal(play, leader, published(play)) is Code.NOT_MERGED, "the leader alone holds what it has merged"
    own = play.of(leader)
    play.hold(helper, *own[1:])
    with pytest.raises(Rejection, match="1 of 16 slices"):
        play.send(leader, published(play))
    play.hold(helper, own[0])
    play.send(leader, published(play))
    assert (play.result.digest, play.result.holders, play.result.closed.number) == (merged(0), (leader,), 0)
    assert play.slicing.round == 0, "until all have it"


def test_a_holder_that_is_lost_or_that_nobody_can_fetch_from_is_none(play: InSlices) -> None:
    leader, (helper, second, third) = play.leader, play.others(play.leader)
    play.merge()
    play.hold(helper, *play.of(leader))
    play.lose(helper)
    assert refusal(play, leader, published(play)) is Code.NOT_MERGED
    play.hold(second, *play.of(leader))
    play.link(second, merges=False)
    assert refusal(play, leader, published(play)) is Code.NOT_MERGED
    play.hold(third)
    play.send(leader, published(play))


def test_who_is_left_out_is_what_mergers_agree_on(play: InSlices) -> None:
    leader, victim = play.leader, play.others(play.leader)[0]
    play.merge()
    play.hold(play.others(leader)[0])
    receipt = msgspec.structs.replace(
        play.receipt(),
        contributions=tuple(part for part in play.receipt().contributions if part.uid != victim),
        exclusions=(Exclusion(victim, "unreachable", ""),),
    )
    assert refusal(play, leader, published(play, receipt=receipt)) is Code.WRONG_CONTRIBUTORS
    assert refusal(play, another(play), published(play)) is Code.NOT_LEADER


# --- StateLink --------------------------------------------------------------------------------------------------------


def test_links_are_stated_by_members_and_kept_until_they_change() -> None:
    play = opened()
    play.send("a", StateLink(10, 20))
    play.send("b", StateLink(5, 5, merges=False))
    assert [(link.uid, link.capacity, link.merges) for link in play.state.links] == [("a", 10, True), ("b", 5, False)]
    assert refusal(play, "a", StateLink(10, 20)) is Code.NO_CHANGE
    play.send("a", StateLink(10, 21))
    assert [link.down for link in play.state.links] == [21, 5]
    play.ledger.join("e")
    assert refusal(play, "e", StateLink(1, 1)) is Code.NOT_A_MEMBER


def test_links_of_those_who_are_no_members_any_more_are_forgotten() -> None:
    """Sessions of before do not count where nothing was merged, and others open the training anew."""
    play = opened("a", "b", min_peers=3)
    play.link("a", 10)
    play.lose("a", "b")
    play.ledger.join("e")
    play.send("e", session(1))
    assert set(play.state.members) == {"e"}
    play.link("e", 5)
    assert [link.uid for link in play.state.links] == ["e"]


def test_a_model_that_is_submitted_names_its_size_once() -> None:
    """The one whose model is in first cannot make others merge in slices: it decides nothing after that."""
    play = opened()
    play.submit("a", size=1)
    assert not play.state.merge_mode or not play.state.merge_mode.sliced
    play.submit("b", "c", "d", size=2**40)
    assert not play.is_sliced
    assert play.round.submissions["a"].digest == model("a", 0)


def test_who_names_the_model_that_another_site_has_trained_is_not_credited_with_it() -> None:
    play = opened("a", "b", "c")
    play.submit(digest=model("a", 0))
    play.publish(receipt_of(play.round, {}))
    play.report()
    assert not play.result.repeated, "scripts with one seed begin alike"
    play.submit("b")
    play.submit("a", digest=model("b", 1))
    play.submit("c")
    if play.is_sliced:
        publish_and_hold(play)
    else:
        play.publish(receipt_of(play.round, {}))
    assert play.result.repeated == ("a",)
    assert {uid: member.repeated for uid, member in play.state.members.items()} == {"a": 1, "b": 0, "c": 0}


def test_equal_models_of_one_block_are_nobodys_copies() -> None:
    play = opened("a", "b", "c")
    play.complete()
    play.submit(digest="5" * 64)
    play.publish(receipt_of(play.round, {}))
    assert play.result.repeated == ()
