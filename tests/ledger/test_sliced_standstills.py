"""Rounds merged in slices whose mergers hang or can be reached by nobody: the others go on without them."""

import msgspec
import pytest

from support.slicing import InSlices, depose, frozen, mergers, opened, publish_and_hold, root
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.assigning import hardest_first, has_unobtainable_slice, not_held, silent


def with_three_mergers() -> tuple[InSlices, str, str, str]:
    """Round 0 is cut among three of four members; the first of these is the leader if it merges."""
    play = opened("a", "b", "c", "d")
    play.link(play.others("a", "b", "c")[0], merges=False)
    play.submit()
    first = play.leader if play.leader in mergers(play) else "a"
    second, third = (uid for uid in mergers(play) if uid != first)
    return play, first, second, third


def test_where_a_merger_hangs_those_are_asked_again_that_could_not_have_a_model() -> None:
    """All waited for one whose disk stood still, though every model could be had by then (seeds 782, 2250)."""
    play = frozen("a", "b", "c", "d")
    hanging, first, unusable = play.others(play.leader)
    index = play.of(hanging)[0]
    play.fault(play.of(first)[0], play.leader)
    play.fault(play.of(play.leader)[0], unusable, "too-slow")
    play.fault(play.of(unusable)[0], hanging, "structure")
    assert mergers(play) == {hanging: len(play.slicing.slices)}
    play.reassign(index)
    assert (play.slice(index).merger, play.slice(index).former) == (first, (hanging,)), "not the leader"
    assert {each.by for each in play.slicing.faults} == {play.leader, unusable}
    play.fault(index, play.leader)
    assert play.slice(index).merger == hanging, "others are left"
    depose(play, first, unusable)
    while play.leader in (hanging, first):
        depose(play, play.leader)
    play.reassign(index)
    assert play.slice(index).merger != unusable, "that says something about a model"


def test_slices_that_only_one_has_whom_nobody_can_reach_are_merged_without_it() -> None:
    """Of two mergers one was walled off with its slices, and the other could not have its model (seed 3140)."""
    play = opened("a", "b", "c", "d")
    for uid in ("c", "d"):
        play.link(uid, merges=False)
    play.submit()
    walled, other = sorted("ab", key=lambda uid: uid == play.leader)
    taken = play.of(walled)
    play.merge()
    play.reassign(*taken)
    assert {play.slice(index).merger for index in taken} == {other}
    play.fault(taken[0], walled)
    assert [part.uid for part in play.slicing.excluded] == [walled]
    publish_and_hold(play)


def test_who_has_said_nothing_since_a_former_leader_took_a_slice_from_it_is_not_waited_for() -> None:
    """One was walled off, one could not have its model, and the third had a disk that stood still (seed 490)."""
    play, finder, hanging, walled = with_three_mergers()
    play.fault(play.of(finder)[0], walled)
    given = [index for index in play.of(hanging) if play.slice(index).passed == 0]
    play.reassign(*given)
    assert not play.slicing.excluded, "one leader alone could make anybody silent"
    depose(play, *[uid for uid in (finder, walled, hanging) if uid != play.leader][:2])
    assert [part.uid for part in play.slicing.excluded] == [walled]
    assert not silent(play.slicing, play.round.term), "of the new recipe nobody can have said anything yet"


def test_who_has_spoken_counts_though_a_leader_took_a_slice_from_it() -> None:
    play, finder, slow, accused = with_three_mergers()
    play.merge(play.of(slow)[-1])
    play.fault(play.of(finder)[0], accused)
    play.reassign(play.of(slow)[0])
    depose(play, *[uid for uid in (finder, slow, accused) if uid != play.leader][:2])
    assert not play.slicing.excluded


def test_who_was_left_out_by_the_word_of_one_that_hangs_now_merges_in_its_place() -> None:
    """It had been away for a moment, and was back. What its leader took from the other went back to that at once, so
    nobody was asked whether that one's model could be had (seed 2438)."""
    play = frozen("a", "b", min_peers=1)
    hanging, away = play.leader, play.others(play.leader)[0]
    play.lose(away)
    play.fault(play.of(hanging)[0], away)
    play.back(away)
    assert [part.uid for part in play.slicing.excluded] == [away]
    assert set(mergers(play)) == {hanging}
    depose(play, away, "sn-1")
    assert play.leader == away
    play.reassign(*range(len(play.slicing.slices)))
    assert set(mergers(play)) == {away}
    depose(play, hanging, "sn-1")
    assert set(mergers(play)) == {away}, "with whoever leads"
    play.fault(0, hanging, "too-slow")
    assert play.round.phase == "collecting", "no model is left"
    assert play.round.unreachable == tuple(sorted((hanging, away)))


def test_a_leader_that_was_deposed_does_not_wait_again_for_members_that_hang() -> None:
    """One of two had stated its slices, and held none of the other's as its disk stood still: neither could publish."""
    play = frozen("a", "b", min_peers=1)
    leader, hanging = play.leader, play.others(play.leader)[0]
    play.merge()
    play.hold(leader)
    assert not_held(play.state, play.slicing, leader) == play.of(leader)
    depose(play, hanging, "sn-1")
    depose(play, leader, "sn-1")
    assert play.leader == leader
    play.publish()
    assert play.result.leader == leader


def test_a_leader_that_was_deposed_waits_until_all_slices_are_merged() -> None:
    play = frozen("a", "b", min_peers=1)
    leader, hanging = play.leader, play.others(play.leader)[0]
    play.merge(*play.of(leader))
    depose(play, hanging, "sn-1")
    depose(play, leader, "sn-1")
    assert not_held(play.state, play.slicing, leader) == play.of(hanging)


def test_of_two_that_cannot_reach_each_other_one_is_left_out_where_the_third_merges_no_more() -> None:
    """Each was reported by all others that can merge: both were left out, and their leader read whole models."""
    play = frozen("a", "b", "c", min_peers=1)
    third, other = play.others(play.leader)
    play.fault(play.of(play.leader)[0], other)
    play.fault(play.of(other)[0], play.leader)
    assert not play.slicing.excluded, "the third reaches both"
    play.link(third, merges=False)
    assert [part.uid for part in play.slicing.excluded] == [other], "the leader leads on"
    assert set(mergers(play)) == {play.leader}


def contradicted(*roots: str) -> tuple[InSlices, int]:
    """Three mergers state these digests of a slice; the leader merges none. Nobody is left to ask."""
    play = opened("a", "b", "c", "d")
    play.link(play.leader, merges=False)
    play.submit()
    index = play.of(play.others(play.leader)[0])[0]
    play.merge(index, root_of=roots[0])
    play.reassign(index)
    for of in roots[1:]:
        play.merge(index, root_of=of)
    return play, index


def test_of_digests_that_are_stated_as_often_another_one_counts_where_the_leader_can_have_one_of_nobody() -> None:
    """Members of one organisation stated what was not so, and served it in drops: all waited for it (seed 60399)."""
    play, index = contradicted("a", "b", "c")
    stated = set(play.slice(index).roots.values())
    counted = [play.slice(index).root]
    while len(counted) < len(stated):
        play.reassign(index)
        counted.append(play.slice(index).root)
    assert set(counted) == stated, "each once"
    with pytest.raises(Rejection, match="in term 0 already"):
        play.reassign(index)
    depose(play, *play.others(play.leader)[:2])
    if play.leader in play.slice(index).holders:
        depose(play, *play.others(play.leader)[:2])
    play.reassign(index)
    assert play.slice(index).root != counted[-1], "in another term they may be had"


def test_what_most_have_stated_counts_whatever_a_leader_can_have() -> None:
    """Else a leader could have its own word count."""
    play, index = contradicted("a", "b", "a")
    lacking = play.leader
    assert play.slice(index).root == root(index, "a")
    with pytest.raises(Rejection, match="in term 0 already"):
        play.reassign(index)
    while play.leader != lacking or play.round.term == 0:
        depose(play, *play.others(play.leader)[:2])
    assert play.slice(index).root == root(index, "a")
    play.reassign(index)
    assert play.frozen_whole, "all have led in vain"


def test_slices_that_nobody_is_left_to_merge_are_lost_by_the_word_of_leaders_of_two_organisations() -> None:
    """Members of one organisation may state them, and serve them to nobody; others of one could read whole models."""
    play = frozen("a", "b", "c", "d", organisations="org-1 org-1 org-2 org-3")
    for leaders, lost in ((), False), (("c",), False), (("a", "b"), False), (("a", "c"), True), (("c", "d"), True):
        assert has_unobtainable_slice(play.state, msgspec.structs.replace(play.slicing, lacked_by=leaders)) == lost


def test_one_leader_is_enough_where_all_others_have_led_in_vain() -> None:
    play = opened("a", "b", "c", min_peers=1)
    alone = play.leader
    play.link(alone, merges=False)
    play.submit()
    first, second = play.others(alone)
    play.merge(*play.of(first))
    index = play.of(first)[0]
    play.reassign(index)
    play.merge(index)
    for leader in (alone, first, second):
        assert play.is_sliced
        while play.leader != leader:
            depose(play, *play.others(play.leader)[:2])
        depose(play, *play.others(play.leader)[:2])
    while play.leader != alone:
        depose(play, *play.others(play.leader)[:2])
    assert play.is_sliced
    play.reassign(index)
    assert play.frozen_whole


def test_of_slices_that_a_leader_takes_together_those_are_given_first_that_fewest_are_left_to_merge() -> None:
    """One member was given others first and had to take these, too: it read whole models without need (seed 61102)."""
    play = frozen("a", "b", "c", "d")
    theirs = [play.of(uid)[0] for uid in play.others(play.leader)]
    easy, hard = theirs[0], theirs[1]
    play.merge(hard)
    play.reassign(hard)
    play.merge(hard, by=play.slice(hard).merger)
    assert hardest_first(play.state, play.slicing, (easy, hard)) == [hard, easy]
    assert hardest_first(play.state, play.slicing, (hard, easy)) == [hard, easy]
