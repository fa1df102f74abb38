"""One round machine that cannot have, or merge, a contributor's model of a round that is merged in slices."""

from rounds.test_sharing import Sharer, not_leading, of, sent
from support.slicing import frozen
from swarmlearning.ledger.bodies import Exclusion, ReportFault
from swarmlearning.rounds.events import Send
from swarmlearning.rounds.slices import MergeSlice, SliceUnmergeable


def test_a_model_that_cannot_be_had_is_reported_and_tried_again_until_another_merges_the_slice() -> None:
    play = frozen()
    node = Sharer(play, not_leading(play))
    index, victim = play.of(node.uid)[0], play.others(node.uid)[0]
    fault = Exclusion(victim, "unreachable", "no route")
    report = ReportFault(0, node.recipe, index, fault)
    actions = node.handle(SliceUnmergeable(node.recipe, index, fault))
    assert actions == [Send(report)]
    assert of(MergeSlice, node.over(f"{node.recipe}/{index}", "retry")) == [], "it is not known to the others yet"
    play.fault(index, victim)
    assert play.slice(index).merger != node.uid
    node.accept(report)
    assert index not in of(MergeSlice, node.advance())


def test_who_is_asked_once_more_tries_again_and_reports_only_what_it_finds_then() -> None:
    """Two cannot have a model, and the third hangs (seed 2250)."""
    play = frozen("a", "b", "c")
    leader = play.leader
    node = Sharer(play, not_leading(play))
    (hanging,) = play.others(leader, node.uid)
    first, own = play.of(hanging)[0], play.of(node.uid)
    fault = Exclusion(leader, "unreachable", "no route")
    for index in own:
        node.handle(SliceUnmergeable(node.recipe, index, fault))
    play.fault(own[0], leader)
    for index in own:
        node.accept(ReportFault(0, node.recipe, index, fault))
    index = next(index for index in own if play.slice(index).merger == leader)
    play.fault(index, node.uid)
    assert {each.merger for each in play.slicing.slices} == {hanging}
    assert node.advance() == []
    node.over(f"{node.recipe}/{index}/MergeSlice", "retry")
    play.reassign(first, index)
    actions = node.advance()
    assert (of(MergeSlice, actions), sent(actions)) == (sorted([first, index]), [])
    again = SliceUnmergeable(node.recipe, index, fault)
    assert sent(node.handle(again)) == [ReportFault(0, node.recipe, index, fault)]
