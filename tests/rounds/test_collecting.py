"""From whom a node fetches slices that others have merged, as their links are cut."""

from collections.abc import Sequence

from rounds.test_sharing import Sharer, not_leading
from support.slicing import frozen, root
from swarmlearning.rounds.events import Action, Cancel
from swarmlearning.rounds.slices import FetchSlice, SliceMissing


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
    assert (fetch.holders, fetch.others, fetch.root) == ((cut, other), (), root(index))
