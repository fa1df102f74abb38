"""Rounds merged in slices that travel back as coded changes: what is stated on the ledger, and what a node fetches."""

import pytest

from rounds.test_sharing import Sharer, not_leading, of
from support.play import merged, model
from support.roundnode import SETTINGS
from support.slicing import InSlices, root
from swarmlearning.ledger.bodies import CreateContract, Publish, Sliced
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.serving import readable_slices
from swarmlearning.ledger.contracts.training.slices import Slice, change_name
from swarmlearning.rounds.collecting import TRIES
from swarmlearning.rounds.events import Fetch, Send
from swarmlearning.rounds.machine import RoundMachine
from swarmlearning.rounds.slices import Coded, FetchSlice, MergeSlice, SliceMerged, SliceMissing

BACK = CreateContract(shared=True, transfer_back="int8")


def change(index: int) -> str:
    """The digest of a slice's coded chunks."""
    return root(index, "change")


@pytest.fixture(scope="module")
def begun() -> InSlices:
    """Round 1, which has a base, frozen and cut; nothing is merged yet."""
    made = InSlices(created=BACK)
    made.complete()
    made.submit()
    assert made.is_sliced
    return made


@pytest.fixture
def play(begun: InSlices) -> InSlices:
    return begun.copied()


def stated(play: InSlices, index: int, coded: str) -> Sliced:
    return Sliced(1, play.slicing.recipe, index, root(index), coded)


class Based(Sharer):
    """A node that holds the base."""

    def __init__(self, play: InSlices, uid: str) -> None:
        super().__init__(play, uid)
        self.machine = RoundMachine(uid, 1, play.state, SETTINGS, [model(uid, 1), merged(0)])
        self.begun = self.advance()


def published_without(play: InSlices, *lost: str) -> list[str]:
    """All slices are merged, held and published, as these are lost; returns the others."""
    for index in range(len(play.slicing.slices)):
        play.send(play.slice(index).merger, stated(play, index, change(index)))
    play.lose(*lost)
    for uid in play.others(play.leader):
        play.hold(uid)
    play.publish()
    return play.others()


def test_each_slice_is_stated_with_its_change_and_only_where_merges_travel_so(play: InSlices) -> None:
    merger = play.slice(0).merger
    with pytest.raises(Rejection, match="slice 0 of round 1: there is due to be a coded change") as refused:
        play.send(merger, stated(play, 0, ""))
    assert refused.value.code is Code.WRONG_CHANGE
    play.send(merger, stated(play, 0, change(0)))
    assert (play.slice(0).root, play.slice(0).change) == (root(0), change(0))
    plain = InSlices()
    plain.submit()
    with pytest.raises(Rejection, match="slice 0 of round 0: there is none to be a coded change"):
        plain.send(plain.slice(0).merger, Sliced(0, plain.slicing.recipe, 0, root(0), change(0)))


def test_the_change_that_counts_is_of_one_whose_slice_counts() -> None:
    roots = {"a": "1", "b": "2", "c": "2"}
    assert Slice(0, 1, "a", roots=roots, changes={"a": "x", "b": "y", "c": "z"}).change == "y"
    assert Slice(0, 1, "a", roots=roots, changes={"a": "x", "c": "z"}).change == "z"
    assert Slice(0, 1, "a", roots=roots, changes={"a": "x"}).change == ""
    assert Slice(0, 1, "a", roots={"a": "1", "b": "2"}, changes={"a": "x", "b": "y"}).change == ""


def test_a_leader_names_no_change_of_a_result_whose_slices_have_theirs(play: InSlices) -> None:
    for index in range(len(play.slicing.slices)):
        play.send(play.slice(index).merger, stated(play, index, change(index)))
    for uid in play.others(play.leader)[:2]:
        play.hold(uid)
    body = Publish(1, play.round.term, merged(1), play.size, play.receipt(), change="c" * 64)
    with pytest.raises(Rejection, match="round 1: there is none to be a coded change"):
        play.send(play.leader, body)
    play.publish()
    assert play.state.change == ""
    assert play.slice(0).change == change(0)  # for those who lack the result


def test_a_node_states_the_change_of_what_it_has_merged(play: InSlices) -> None:
    node = Based(play, not_leading(play))
    first, *_ = play.of(node.uid)
    (task, *_) = [each for each in node.begun if isinstance(each, MergeSlice)]
    assert task.recipe.back == "int8"
    assert node.handle(SliceMerged(node.recipe, first, root(first), change(first))) == [
        Send(stated(play, first, change(first)))
    ]
    assert {node.recipe, change_name(node.recipe)} <= node.kept


def test_a_node_fetches_slices_as_changes_and_begins_nothing_anew_where_another_states_one(play: InSlices) -> None:
    node = Based(play, not_leading(play))
    other = next(uid for uid in play.others(play.leader) if uid != node.uid)
    theirs = play.of(other)[0]
    play.send(other, stated(play, theirs, change(theirs)))
    (fetch,) = node.advance()
    assert isinstance(fetch, FetchSlice)
    assert fetch.coded == Coded(change(theirs), merged(0), "int8")
    play.reassign(theirs)
    assert play.slice(theirs).merger != other
    if play.slice(theirs).merger != node.uid:
        play.send(play.slice(theirs).merger, stated(play, theirs, root(theirs, "another change")))
    assert theirs not in of(FetchSlice, node.advance())


def test_slices_stay_for_whoever_comes_back_as_all_others_have_the_result_and_nobody_merges_them_again(
    play: InSlices,
) -> None:
    node = Based(play, not_leading(play))
    others = published_without(play, node.uid)
    assert not play.slicing.over
    assert readable_slices(play.state, others[0], model(others[0], 1), set(others[1:]))
    play.report(*others)
    assert (play.slicing.round, play.slicing.over) == (1, True)
    assert readable_slices(play.state, others[0], model(others[0], 1), set(others[1:])) is None
    play.back(node.uid)
    begun = node.advance()
    assert {each.slice for each in begun if isinstance(each, FetchSlice)} == set(range(len(play.slicing.slices)))
    assert all(set(each.holders) == set(others) for each in begun if isinstance(each, FetchSlice))
    assert not [each for each in begun if isinstance(each, MergeSlice | Fetch)]
    with pytest.raises(Rejection, match="round 1 is not merged in slices"):
        play.hold(node.uid)
    slowly = play.of(others[0])[0]
    for _ in range(TRIES - 1):
        assert node.handle(SliceMissing(node.recipe, slowly, "does not answer in time")) == []
        node.over(f"{node.recipe}/{slowly}", "retry")
    actions = node.handle(SliceMissing(node.recipe, slowly, "does not answer in time"))
    assert [each.digest for each in actions if isinstance(each, Fetch)] == [merged(1)]


def test_who_comes_back_fetches_the_whole_result_where_nobody_is_there_who_had_its_slices(play: InSlices) -> None:
    node = Based(play, not_leading(play))
    others = published_without(play, node.uid)
    play.report(*others)
    play.back(node.uid)
    play.lose(*others)
    assert not [each for each in node.advance() if isinstance(each, FetchSlice | MergeSlice)]


def test_the_next_result_ends_the_slices_of_the_one_before(play: InSlices) -> None:
    published_without(play)
    play.report()
    assert [each.over for each in play.state.slicings] == [True]
    play.submit()
    assert [(each.round, each.over) for each in play.state.slicings] == [(1, True), (2, False)]
    for index in range(len(play.slicing.slices)):
        play.send(play.slice(index).merger, Sliced(2, play.slicing.recipe, index, root(index), change(index)))
    for uid in play.others(play.leader):
        play.hold(uid)
    play.publish()
    assert [each.round for each in play.state.slicings] == [2]
