"""Rounds merged in slices: when that is chosen, and what follows when mergers are lost, lie, or cannot merge."""

from typing import Any

import msgspec
import pytest

from support.network import Ledger, session
from support.organisations import AUTHORITIES
from support.play import merged, model, receipt_of
from support.slicing import LARGE, depose, frozen, mergers, opened, publish_and_hold, root
from swarmlearning.ledger.bodies import (
    Missing,
    Privacy,
    Reset,
    Revoke,
    Submit,
    SwitchRules,
    Void,
)
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.recipes import divided, recipe_of
from swarmlearning.ledger.contracts.training.slices import Slice
from swarmlearning.ledger.contracts.training.slicing import follow
from swarmlearning.ledger.contracts.training.submissions import NO_MODEL
from swarmlearning.ledger.rules import RULES

NETWORK = network.CONTRACT


# --- when a round is cut ----------------------------------------------------------------------------------------------


def test_a_round_is_cut_when_it_is_frozen_for_all_that_can_merge() -> None:
    play = opened()
    play.link("d", merges=False)
    play.submit("a")
    assert play.state.merge_mode is not None
    assert play.state.merge_mode.sliced, "nobody reads a whole model from now on"
    play.submit("b", "c", "d")
    assert mergers(play) == {"a": 4, "b": 4, "c": 4}


@pytest.mark.parametrize(
    ("sites", "terms"),
    [
        (("a", "b"), {"size": 2**20}),
        (("a", "b"), {"initial": "one"}),
    ],
)
def test_one_leader_merges_small_models_and_what_has_no_coefficients(
    sites: tuple[str, ...], terms: dict[str, Any]
) -> None:
    play = opened(*sites, **terms)
    play.submit()
    assert play.frozen_whole
    assert play.state.merge_mode is not None
    assert not play.state.merge_mode.sliced
    assert play.state.merge_mode.is_measured == ("size" in terms), "what could not be cut tells nothing about slices"


def test_one_leader_merges_where_all_models_are_the_same_or_one_member_can_merge() -> None:
    play = opened("a", "b")
    play.submit(digest="5" * 64)
    assert play.frozen_whole
    play = opened("a", "b")
    play.link("a", merges=False)
    play.submit()
    assert play.frozen_whole


def test_one_leader_merges_where_all_slices_would_be_one_members() -> None:
    play = opened("a", "b", "c")
    play.link("a", 10**9)
    play.link("b", 1)
    play.link("c", merges=False)
    play.submit()
    assert play.frozen_whole


def test_who_gives_no_model_is_not_in_the_recipe() -> None:
    play = opened("a", "b", "c")
    play.submit("a", "b")
    statement = Privacy(1.0, withheld="no-base")
    play.submit("c", submission="withheld", digest=NO_MODEL, size=0, weight=0, privacy=statement)
    assert play.is_sliced
    assert [one.uid for one in recipe_of(play.state, play.round).contributors] == ["a", "b"]


def test_who_merges_which_slice_moves_from_round_to_round() -> None:
    play = frozen()
    cuts = [divided(play.state, msgspec.structs.replace(play.round, number=number)) for number in range(5)]
    first = [cut.slices[0].merger for cut in cuts if cut]
    assert set(first) == set(play.sites)
    assert first[4] == first[0]


def test_a_round_that_was_under_way_when_the_rules_changed_is_merged_by_its_leader() -> None:
    ledger = Ledger(AUTHORITIES["org-1"], Chain(rulebook=RULES), rules=2, newest_rules=2)
    ledger.upgrade(3)
    ledger.join("op", "SWCI")
    for uid in ("a", "b", "c"):
        ledger.join(uid)
        ledger.send(uid, session())
    for uid in ("a", "b"):
        ledger.send(uid, Submit(0, "", "trained", model(uid, 0), LARGE, 1))
    ledger.send("op", SwitchRules(3), NETWORK)
    state = ledger.send("c", Submit(0, "", "trained", model("c", 0), LARGE, 1))
    assert state.round is not None
    assert state.round.phase == "frozen"
    assert state.slicings == ()


def test_rounds_are_measured_from_the_freeze_until_all_hold_the_result() -> None:
    play = frozen()
    begun = play.ledger.chain.time_ms
    publish_and_hold(play)
    assert play.slicing.round == 0
    play.report()
    assert play.state.slicings == ()
    assert play.state.merge_mode is not None
    assert play.state.merge_mode.sliced_ms == play.ledger.chain.time_ms - begun


# --- mergers that are lost --------------------------------------------------------------------------------------------


def test_slices_of_a_merger_that_is_lost_go_to_the_others_but_not_those_that_others_hold() -> None:
    play = frozen()
    lost, *others = play.others(play.leader)
    first, second, *_ = play.of(lost)
    play.merge(first, second)
    play.hold(others[0], first)
    play.lose(lost)
    assert play.slice(first).merger == lost
    moved = [index for index, each in enumerate(play.slicing.slices) if lost in each.former]
    assert len(moved) == 3
    assert second in moved, "what it alone had is to be merged again"
    assert max(mergers(play).values()) == 5, "evenly"
    play.back(lost)
    assert play.slice(second).holders == {lost}, "its word counts still"
    publish_and_hold(play)


def test_one_that_is_back_states_what_it_has_merged_meanwhile() -> None:
    play = frozen()
    lost = play.others(play.leader)[0]
    index = play.of(lost)[0]
    play.lose(lost)
    play.back(lost)
    play.merge(index, by=lost)
    play.merge(index)
    assert len(play.slice(index).holders) == 2


def test_slices_of_a_standing_result_that_are_lost_are_merged_again() -> None:
    play = frozen()
    leader, (helper, second, _) = play.leader, play.others(play.leader)
    play.merge()
    play.hold(helper, *play.of(leader))
    play.publish()
    play.lose(leader)
    assert not any(leader == each.merger for each in play.slicing.slices if not each.holders - {leader})
    index = play.of(second)[0]
    play.lose(second)
    assert play.slice(index).merger not in (leader, second)
    play.merge(index)
    assert play.slice(index).root == root(index)


def test_a_standing_result_that_a_live_member_holds_whole_is_not_merged_again() -> None:
    play = frozen()
    publish_and_hold(play)
    leader = play.result.leader
    holder, lost, _ = play.others(leader)
    play.report(holder)
    before = [each.merger for each in play.slicing.slices]
    play.lose(leader, lost)
    assert [each.merger for each in play.slicing.slices] == before


@pytest.mark.parametrize("returning", [0, 1, 2])
def test_a_round_whose_mergers_are_all_lost_goes_on_with_whoever_is_back_first(returning: int) -> None:
    play = frozen("a", "b", "c")
    play.lose("a", "b", "c")
    play.back(play.sites[returning])
    assert mergers(play) == {play.sites[returning]: 12}
    play.merge()
    play.publish()
    assert play.state.result


def test_where_nobody_is_left_that_could_merge_slices_the_leader_makes_the_result() -> None:
    play = opened("a", "b", "c")
    play.link("c", merges=False)
    play.submit()
    play.lose("a", "b")
    assert play.frozen_whole
    play.publish(receipt_of(play.round, {}))
    assert play.result.digest == merged(0)


def test_a_member_that_merges_no_more_keeps_nobody_waiting_nor_is_fetched_from() -> None:
    play = frozen()
    uid = play.others(play.leader)[0]
    first, second, *_ = play.of(uid)
    play.merge(first)
    play.link(uid, merges=False)
    assert uid not in mergers(play)
    play.link(uid, merges=True)
    assert uid in play.slice(first).holders
    assert play.slice(second).merger != uid, "it stays with whom it was given to"
    publish_and_hold(play)


# --- new terms, sites that are shut out -------------------------------------------------------------------------------


def test_what_was_stated_before_a_new_term_is_valid_still() -> None:
    play = frozen()
    play.merge(*range(15))
    recipe, before = play.slicing.recipe, play.leader
    depose(play, *play.others(before)[:2])
    assert play.leader != before
    assert (play.round.term, play.slicing.recipe) == (1, recipe)
    play.merge()
    for uid in play.others(play.leader)[:2]:
        play.hold(uid)
    play.publish()
    assert [len(each.holders) > 1 for each in play.slicing.slices] == [True] * 16


@pytest.mark.parametrize("min_peers", [2, 4])
def test_a_site_that_is_shut_out_is_in_no_slice(min_peers: int) -> None:
    play = frozen(min_peers=min_peers)
    gone = play.others(play.leader)[0]
    play.merge(*range(8))
    recipe = play.slicing.recipe
    certificate = network.node(play.ledger.chain.world, gone)
    assert certificate is not None
    play.send("op-1", Revoke(certificate.certificate), NETWORK)
    if min_peers == 4:
        assert (play.round.phase, play.state.slicings) == ("collecting", ())
        return
    assert play.slicing.recipe != recipe
    assert gone not in mergers(play)
    assert not any(each.roots or each.copies for each in play.slicing.slices)
    publish_and_hold(play)


def test_a_round_that_is_collected_again_and_frozen_at_once_is_not_taken_for_the_one_before() -> None:
    """A site is shut out; one that came late stands in for it."""
    play = opened("a", "b", "c", min_peers=2)
    late, leader = play.others(play.leader)[0], play.leader
    on_time = play.others(late)
    play.submit(*on_time)
    play.freeze()
    assert play.is_sliced
    play.submit(late)
    (gone,) = set(on_time) - {leader}
    certificate = network.node(play.ledger.chain.world, gone)
    assert certificate is not None
    play.send("op-1", Revoke(certificate.certificate), NETWORK)
    assert play.round.submissions.keys() == {late, leader}
    assert play.frozen_whole, "one leader merges it"


def test_a_reset_leaves_nothing_of_slices_and_links() -> None:
    play = frozen()
    play.link("a", 7)
    play.send("op-1", Reset(forced=True))
    assert (play.state.slicings, play.state.links, play.state.merge_mode) == ((), (), None)


def test_a_void_result_is_collected_anew_without_slices() -> None:
    play = frozen()
    publish_and_hold(play)
    play.send_all([(uid, Missing(0)) for uid in play.sites])
    play.send("sn-1", Void(0))
    assert (play.state.result, play.state.slicings, play.round.phase) == (None, (), "collecting")
    play.submit()
    assert play.frozen_whole


# --- leaders ----------------------------------------------------------------------------------------------------------


def test_a_merger_that_states_slices_and_serves_them_to_nobody_does_not_block_the_round() -> None:
    play = frozen()
    silent = play.others(play.leader)[0]
    play.merge()
    slices = [index for index, each in enumerate(play.slicing.slices) if silent in each.roots]
    play.reassign(*slices)
    assert silent not in {play.slice(index).merger for index in slices}
    for index in slices:
        play.merge(index)
        assert len(play.slice(index).holders) == 2


def test_a_leader_reads_nothing_more_by_its_own_word() -> None:
    """It takes all slices that it can from others: each goes to another one, who does not read everything either."""
    play = frozen()
    leader = play.leader
    before = play.of(leader)
    foreign = [index for index in range(16) if index not in before]
    play.reassign(*foreign)
    assert play.of(leader) == before
    for uid in play.others(leader):
        read = sum(uid in each.readers for each in play.slicing.slices)
        assert read <= 9, "its own four, and not much more than a third of the twelve"
    for index in foreign:
        with pytest.raises(Rejection):
            play.reassign(index)


def test_of_three_sites_nobody_reads_all_of_a_model_by_what_one_leader_does() -> None:
    play = frozen("a", "b", "c")
    play.reassign(*[index for index, each in enumerate(play.slicing.slices) if each.merger != play.leader])
    read = sorted(sum(uid in each.readers for each in play.slicing.slices) for uid in play.sites)
    assert read == [4, 8, 8]


def test_a_slice_goes_back_to_whom_it_was_taken_from_rather_than_to_one_who_would_read_all_of_a_model() -> None:
    """One who could not reach the leader's site can merge again once that is left out (seed 3088)."""
    play = frozen()
    leader = play.leader
    back, first, second = play.others(leader)
    play.fault(play.of(back)[0], leader)
    play.fault(play.of(first)[0], leader)
    play.merge()
    taken = [*(index for index in play.of(first) if back not in play.slice(index).former), *play.of(back)]
    taken += [index for index in play.of(first) if index not in taken]
    assert back in play.slice(taken[-1]).former
    for index in taken:
        play.reassign(index)
    for uid in (back, second):
        assert not all(uid in each.readers for each in play.slicing.slices)


def test_who_has_read_all_but_one_slice_is_not_given_that_though_it_has_least_to_do() -> None:
    play = frozen("a", "b", "c")
    (lost, index), reader, slow = ("a", play.of("a")[0]), "b", "c"
    slices = [
        each if at == index else Slice(each.start, each.stop, reader, (slow,) * (at % 2), {reader: root(at)})
        for at, each in enumerate(play.slicing.slices)
    ]
    member = msgspec.structs.replace(play.state.members[lost], attendance="lost")
    state = msgspec.structs.replace(
        play.state,
        members={**play.state.members, lost: member},
        slicings=(msgspec.structs.replace(play.slicing, slices=tuple(slices)),),
    )
    assert follow(state, 0).slicings[0].slices[index].merger == slow


def test_slices_pass_through_all_members_term_by_term_so_that_two_that_merge_nothing_do_not_block() -> None:
    play = frozen("a", "b", "c")
    honest = play.leader
    idle = play.others(honest)
    play.merge(*play.of(honest))
    for _ in range(6):
        missing = [index for index, each in enumerate(play.slicing.slices) if not each.holders]
        if play.leader == honest:
            passed = [index for index in missing if play.slice(index).merger != honest]
            if passed:
                play.reassign(*passed)
            own = [index for index in missing if play.slice(index).merger == honest]
            if own:
                play.merge(*own)
        if all(each.holders for each in play.slicing.slices):
            break
        depose(play, *[uid for uid in play.sites if uid != play.leader])
    assert all(each.holders for each in play.slicing.slices)
    assert idle
