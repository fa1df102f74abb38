"""From whom a node fetches slices that others have merged, as their links are cut."""

from collections.abc import Sequence

from rounds.test_sharing import Sharer, not_leading
from support.slicing import frozen, root
from swarmlearning.rounds.events import Action, Cancel
from swarmlearning.rounds.slices import FetchSlice, SliceMerged, SliceMissing


def fetches(actions: Sequence[Action]) -> list[FetchSlice]:
    return [each for each in actions if isinstance(each, FetchSlice)]


def test_who_is_not_heard_of_is_asked_after_all_others_for_whatever_it_has_merged() -> None:
    play = frozen()
    node = Sharer(play, not_leading(play))
    cut, *others = play.others(node.uid)
    first, second, *rest = play.of(cut)
    for index in (first, second):
        play.merge(index)
    assert [(each.holders, each.others) for each in fetches(node.advance())] == [((cut,), ())] * 2
    actions = node.handle(SliceMissing(node.recipe, first, "does not answer in time"))
    assert sum(isinstance(each, Cancel) for each in actions) == 1
    (again,) = fetches(actions)
    assert (again.slice, again.holders, set(again.others)) == (second, (cut,), set(others))
    (retried,) = fetches(node.over(f"{node.recipe}/{first}", "retry"))
    assert (retried.holders, set(retried.others)) == ((cut,), set(others))
    play.merge(rest[0])
    assert [set(each.others) for each in fetches(node.advance())] == [set(others)]


def test_slices_of_a_lost_merger_are_asked_of_all_others_at_once() -> None:
    play = frozen()
    node = Sharer(play, not_leading(play))
    cut, *others = play.others(node.uid)
    for index in play.of(cut):
        play.merge(index)
    node.advance()
    play.lose(cut)
    begun = fetches(node.advance())
    assert {each.slice for each in begun} == {index for index, each in enumerate(play.slicing.slices) if each.root}
    assert all(not each.holders and set(each.others) == set(others) for each in begun)
    assert len({each.others for each in begun}) > 1, "each is asked for some of them first"


def test_who_states_a_copy_is_asked_and_nobody_else() -> None:
    play = frozen()
    node = Sharer(play, not_leading(play))
    cut, other, *_ = play.others(node.uid)
    index = play.of(cut)[0]
    play.merge(index)
    node.advance()
    node.handle(SliceMissing(node.recipe, index, "does not answer in time"))
    play.hold(other, index)
    (fetch,) = fetches(node.advance())
    assert (fetch.holders, fetch.others, fetch.root) == ((other, cut), (), root(index))


def test_a_fetch_that_asks_nobody_who_may_have_the_slice_now_is_begun_anew() -> None:
    """A site that came back asked a merger that was cut off by then, two slices at a time, though all had them."""
    play = frozen()
    node = Sharer(play, not_leading(play))
    cut, *others = play.others(node.uid)
    index = play.of(cut)[0]
    play.merge(index)
    (first,) = fetches(node.advance())
    play.hold(others[0], index)
    assert node.advance() == [], "it may come from where it was asked for"
    play.lose(cut)
    actions = node.advance()
    assert Cancel(first) in actions
    assert [(each.holders, each.others) for each in fetches(actions)] == [((others[0],), ())]


def test_who_has_not_answered_is_asked_last_of_those_who_state_a_slice() -> None:
    play = frozen()
    node = Sharer(play, not_leading(play))
    cut, other = play.others(node.uid)[:2]
    first, second, *_ = play.of(cut)
    play.merge(first)
    node.advance()
    node.handle(SliceMissing(node.recipe, first, "does not answer in time"))
    play.merge(second)
    play.hold(other, second)
    (fetch,) = [each for each in fetches(node.advance()) if each.slice == second]
    assert (fetch.holders, fetch.others) == ((other, cut), ())


def test_what_a_node_has_merged_is_not_replaced_by_what_another_states_before_it_could_state_it() -> None:
    """It kept the other digest's bytes, and was believed to hold its own (seed 973)."""
    play = frozen("a", "b", "c", "d")
    node = Sharer(play, not_leading(play))
    first, *_ = play.of(node.uid)
    play.reassign(first)
    play.merge(first, root_of="a liar")
    node.handle(SliceMerged(node.recipe, first, root(first)))
    assert fetches(node.advance()) == []
    play.merge(first, by=node.uid)
    assert fetches(node.advance()) == [], "two digests of one slice: a third decides"
