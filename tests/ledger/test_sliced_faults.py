"""Rounds merged in slices whose mergers contradict each other, or cannot get or use a contributor's model."""

import msgspec
import pytest

from support.network import session
from support.play import merged, model, receipt_of
from support.slicing import InSlices, depose, frozen, mergers, opened, publish_and_hold, root
from swarmlearning.ledger.bodies import (
    Exclusion,
    Held,
    Privacy,
    Revoke,
    Sliced,
    StateLink,
    Submit,
)
from swarmlearning.ledger.canonical import canonical
from swarmlearning.ledger.checkpoint import decode, encode
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training import sessions, slicing, transactions
from swarmlearning.ledger.contracts.training.slices import roots_of
from swarmlearning.ledger.contracts.training.slicing import follow
from swarmlearning.ledger.contracts.training.state import empty

NETWORK = network.CONTRACT


# --- digests that contradict each other -------------------------------------------------------------------------------


def contradicted(*sites: str) -> tuple[InSlices, int, str, str]:
    """One slice, given from its merger to another member; both have stated it, the first one falsely."""
    play = frozen(*sites)
    liar = play.others(play.leader)[0]
    index = play.of(liar)[0]
    play.reassign(index)
    honest = play.slice(index).merger
    play.merge(index, by=liar, root_of="a liar")
    play.merge(index, by=honest)
    return play, index, liar, honest


def test_where_two_digests_contradict_each_other_a_third_decides() -> None:
    play, index, liar, honest = contradicted()
    third = play.slice(index).merger
    assert third not in (liar, honest)
    assert (play.slice(index).root, play.slice(index).holders) == ("", set())
    play.merge(index)
    assert play.slice(index).root == root(index)
    assert play.slice(index).holders == {honest, third}
    publish_and_hold(play)


def test_copies_of_what_does_not_count_any_more_hold_nothing() -> None:
    play = frozen()
    liar, helper, _ = play.others(play.leader)
    index = play.of(liar)[0]
    play.merge(index, root_of="a liar")
    play.hold(helper, index)
    assert play.slice(index).holders == {liar, helper}
    play.reassign(index)
    play.merge(index)
    play.merge(index)
    assert play.slice(index).root == root(index)
    assert liar not in play.slice(index).holders
    assert play.slice(index).holders == play.slice(index).roots.keys() - {liar}, "the copy is of other bytes"
    if helper not in play.slice(index).holders:
        play.hold(helper, index)
        assert helper in play.slice(index).holders


def test_of_two_sites_that_contradict_each_other_the_leaders_word_counts() -> None:
    play = frozen("a", "b")
    other = play.others(play.leader)[0]
    index = play.of(other)[0]
    play.reassign(index)
    play.merge(index, by=other, root_of="a liar")
    play.merge(index, by=play.leader)
    assert play.slice(index).root == root(index)
    assert play.slice(index).contradicted == {other}


def test_where_nobody_is_left_to_ask_and_the_leader_has_not_stated_it_all_nodes_take_the_same_digest() -> None:
    """A node that goes on from a checkpoint has the statements in another order."""
    play, index, liar, honest = contradicted("a", "b", "c")
    chain = decode(encode(play.ledger.chain))
    play.link(play.leader, merges=False)
    assert play.slice(index).ruled in (root(index), root(index, "a liar"))
    states = []
    for each in (play.state, chain.world.get(f"training/{play.state.name}", type(play.state))):
        assert each is not None
        slices = tuple(
            msgspec.structs.replace(one, ruled="") if at == index else one
            for at, one in enumerate(each.slicings[0].slices)
        )
        slicing = msgspec.structs.replace(play.slicing, slices=slices)
        with_link = msgspec.structs.replace(each, slicings=(slicing,), links=play.state.links)
        states.append(follow(with_link, 0).slicings[0].slices[index].ruled)
    assert states[0] == states[1] == play.slice(index).ruled
    assert {liar, honest}.isdisjoint({play.leader})


def test_one_that_was_left_out_as_unreachable_decides_where_nobody_else_is_left() -> None:
    """Two others contradict each other, and the one whose word counts serves nobody."""
    play = frozen("a", "b", "c")
    leader = play.leader
    victim, other = play.others(leader)
    play.lose(other)
    play.fault(play.of(leader)[0], victim)
    play.back(other)
    assert [part.uid for part in play.slicing.excluded] == [victim]
    index = play.of(leader)[0]
    play.merge(index, root_of="a liar")
    depose(play, victim, other)
    if play.leader == victim:
        depose(play, victim)
    assert play.leader == other
    play.reassign(index)
    assert play.slice(index).merger == other
    play.merge(index)
    assert (play.slice(index).merger, play.slice(index).root) == (victim, root(index)), "the leader's word, until then"
    play.merge(index)
    assert (play.slice(index).root, play.slice(index).contradicted) == (root(index), {leader})


def test_what_most_have_stated_who_are_all_lost_does_not_block_the_round() -> None:
    play, index, liar, honest = contradicted()
    third = play.slice(index).merger
    play.merge(index)
    fourth = next(uid for uid in play.sites if uid not in (liar, honest, third))
    play.lose(honest, third)
    assert play.slice(index).merger == fourth
    play.lose(fourth)
    assert play.slice(index).root == root(index, "a liar"), "the only one that is there"
    play.back(honest)
    assert play.slice(index).root == root(index), "the word of most counts again"


# --- contributors that cannot be had or used --------------------------------------------------------------------------


def test_a_contributor_that_two_mergers_cannot_reach_is_left_out_of_all_slices() -> None:
    play = frozen("a", "b", "c", "d", "e")
    victim, first, second, *_ = play.others(play.leader)
    play.merge(*play.of(play.leader))
    recipe, own = play.slicing.recipe, play.of(first)
    play.fault(own[0], victim)
    assert not play.slicing.excluded
    assert play.of(first) == [], "whoever cannot reach it can merge nothing"
    play.fault(play.of(second)[0], victim)
    assert play.slicing.excluded == (Exclusion(victim, "unreachable", "no route"),)
    assert play.slicing.recipe != recipe
    assert play.slicing.faults == ()
    assert not any(each.roots for each in play.slicing.slices), "of other models"
    assert all(first in play.slice(index).readers for index in own), "what it was to merge it has read"
    assert victim not in mergers(play), "nobody could fetch from it"
    publish_and_hold(play)
    assert [part.uid for part in play.result.receipt.exclusions] == [victim]


def test_a_model_that_cannot_be_used_in_one_slice_is_judged_by_another_merger() -> None:
    play = frozen()
    victim, first, *_ = play.others(play.leader)
    index, *rest = play.of(first)
    play.fault(index, victim, "non-finite")
    assert play.of(first) == rest, "the other slices it can merge"
    assert play.slice(index).merger != first
    play.fault(index, victim, "non-finite")
    assert play.slicing.excluded == (Exclusion(victim, "non-finite", "no route"),)
    assert victim in mergers(play), "its link is as good as others'"


def test_one_merger_alone_excludes_nobody_and_delays_nobody() -> None:
    play = frozen()
    victim, liar, *_ = play.others(play.leader)
    play.fault(play.of(liar)[0], victim)
    assert play.slicing.excluded == ()
    assert set(mergers(play)) == {victim, play.leader, *play.others(play.leader, victim, liar)}
    publish_and_hold(play)
    assert play.result.receipt.exclusions == ()


def test_of_three_organisations_one_excludes_nobody_with_two_sites() -> None:
    play = frozen("a", "b", "c", "d", organisations="org-1 org-1 org-2 org-3")
    for liar in ("a", "b"):
        play.fault(play.of(liar)[0], "c")
    assert not play.slicing.excluded
    play.fault(play.of("d")[0], "c")
    assert [part.uid for part in play.slicing.excluded] == ["c"]


def test_where_too_few_are_left_the_round_is_collected_again_and_the_finders_word_counts() -> None:
    play = frozen("a", "b", "c", min_peers=3)
    victim = play.leader
    first, second = play.others(victim)
    index = play.of(first)[0]
    play.fault(index, victim, "non-finite")
    if play.slice(index).merger == victim:  # it does not agree; the next one is asked
        play.fault(index, first, "non-finite")
    while play.is_sliced and play.slice(index).merger == second:
        play.fault(index, victim, "non-finite")
    assert (play.round.phase, play.state.slicings) == ("collecting", ())
    assert play.round.barred[victim].leaders == tuple(sorted((first, second)))
    with pytest.raises(Rejection, match="was found unusable"):
        play.submit(victim)


def test_who_one_cannot_reach_and_another_calls_unusable_is_not_barred() -> None:
    """An adversary did so, and a site whose link had failed could never take part again (seed 134)."""
    play = frozen("a", "b", "c", min_peers=3)
    victim = play.leader
    first, second = play.others(victim)
    play.fault(play.of(first)[0], victim, "unreachable")
    play.fault(play.of(second)[0], victim, "non-finite")
    assert (play.round.phase, play.state.slicings) == ("collecting", ()), "leaders try by themselves"
    assert (play.round.barred, play.round.unreachable) == ({}, (victim,))


def test_where_all_mergers_accuse_different_contributors_the_one_accused_most_is_left_out() -> None:
    """Nobody can merge, and no two agree: the round goes on all the same."""
    play = opened("a", "b", "c", "d", "e", min_peers=2)
    for uid in ("d", "e"):
        play.link(uid, merges=False)
    play.submit()
    accused = dict(zip(("a", "b", "c"), ("d", "e", "a"), strict=True))
    for uid, other in accused.items():
        play.fault(play.of(uid)[0], other)
    assert len(play.slicing.excluded) == 1
    assert play.of(next(uid for uid, other in accused.items() if other == play.slicing.excluded[0].uid))
    publish_and_hold(play)


def test_nobody_is_left_out_of_slices_that_are_held() -> None:
    """Two cannot merge, each because of another contributor; the third has merged all, and is lost then."""
    play = frozen("a", "b", "c")
    play.fault(play.of("a")[0], "b")
    play.fault(play.of("b")[0], "c")
    assert mergers(play) == {"c": 12}
    play.merge()
    play.hold("a")
    play.hold("b")
    play.lose("c")
    assert not play.slicing.excluded
    play.publish()
    assert play.result.receipt.exclusions == ()


def test_the_leader_may_be_the_one_that_is_left_out_and_leads_on() -> None:
    play = frozen()
    victim = play.leader
    first, second, *_ = play.others(victim)
    play.fault(play.of(first)[0], victim)
    play.fault(play.of(second)[0], victim)
    assert (play.leader, victim in mergers(play)) == (victim, False)
    play.merge()
    play.publish()
    assert [part.uid for part in play.result.receipt.exclusions] == [victim]


def test_a_merger_of_a_standing_result_that_cannot_merge_it_again_makes_room_for_another() -> None:
    play = frozen()
    leader, (helper, second, third) = play.leader, play.others(play.leader)
    play.merge()
    play.hold(helper, *play.of(leader))
    play.publish()
    index = play.of(second)[0]
    play.lose(second, leader)
    first_asked = play.slice(index).merger
    play.fault(index, third if first_asked != third else helper)
    assert {play.slice(index).merger, first_asked} == {helper, third}
    assert play.slicing.excluded == (), "its contributors stand"


def test_a_site_that_is_left_out_and_then_keeps_its_model_back_does_not_block_the_result() -> None:
    """What it demands is not met any more as another one is shut out."""
    play = opened("a", "b", "c", "d", "e", min_peers=2)
    victim, first, second, gone = play.others(play.leader)
    play.submit(*play.others(victim))
    play.submit(victim, privacy=Privacy(1.0, contributors=5))
    play.fault(play.of(first)[0], victim)
    play.fault(play.of(second)[0], victim)
    assert [part.uid for part in play.slicing.excluded] == [victim]
    certificate = network.node(play.ledger.chain.world, gone)
    assert certificate is not None
    play.send("op-1", Revoke(certificate.certificate), NETWORK)
    play.merge()
    for uid in (first, second):
        play.hold(uid)
    play.publish(receipt_of(play.round, {victim: "kept-back"}))
    assert play.result.digest == merged(0)


def test_a_site_that_is_left_out_and_then_shut_out_does_not_block_the_result() -> None:
    """A receipt names it no more (seed 40096)."""
    play = frozen(min_peers=2)
    gone, first, second = play.others(play.leader)
    play.fault(play.of(first)[0], gone)
    play.fault(play.of(second)[0], gone)
    assert [part.uid for part in play.slicing.excluded] == [gone]
    certificate = network.node(play.ledger.chain.world, gone)
    assert certificate is not None
    play.send("op-1", Revoke(certificate.certificate), NETWORK)
    assert play.slicing.excluded == ()
    play.merge()
    for uid in (first, second):
        play.hold(uid)
    play.publish()
    assert play.result.digest == merged(0)


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_with_64_members_and_128_slices_the_state_stays_small_and_so_do_transactions() -> None:
    """All state all that they can; the contract's functions alone, for the time it takes."""
    uids = [f"00000000-0000-4000-8000-{number:012}" for number in range(64)]
    state = empty("contract")
    for uid in uids:
        state = follow(sessions.open_session(state, session(), uid, 1, 0), 0)
        state = slicing.state_link(state, StateLink(10**9, 10**9), uid)
    for uid in uids:
        state = follow(transactions.submit(state, Submit(0, "", "trained", model(uid, 0), 10**9, 1), uid, 0), 0)
    recipe, count = state.slicings[0].recipe, len(state.slicings[0].slices)
    assert count == 128
    empty_size = len(canonical(state))
    for index, each in enumerate(state.slicings[0].slices):
        state = follow(slicing.sliced(state, Sliced(0, recipe, index, root(index)), each.merger), 0)
    merged_size = len(canonical(state))
    held = Held(0, recipe, tuple(range(count)), roots_of(state.slicings[0].slices, range(count)))
    for uid in uids:
        state = slicing.held(state, held, uid)
    assert (empty_size, merged_size, len(canonical(state))) < (80_000, 100_000, 450_000)
    assert len(msgspec.json.encode(held)) < 1000


def test_a_member_reports_one_fault_of_each_slice_that_it_is_asked_for() -> None:
    play = frozen()
    liar = play.others(play.leader)[0]
    victims = play.others(liar)
    for number, index in enumerate(play.of(liar)):
        play.fault(index, victims[number % 3], "non-finite")
        with pytest.raises(Rejection, match="not-merger"):
            play.fault(index, victims[number % 3 - 1], "non-finite", by=liar)
    assert play.of(liar) == []
    assert len(play.slicing.faults) == 4
