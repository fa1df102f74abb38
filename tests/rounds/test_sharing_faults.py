"""One round machine that cannot have or merge a contributor's model of a round merged in slices, or merge at all."""

from rounds.test_sharing import RESULT, Sharer, not_leading, of, sent
from support.slicing import InSlices, frozen, opened, root
from swarmlearning.ledger.bodies import Depose, Exclusion, Reassign, ReportFault, Sliced, StateLink
from swarmlearning.rounds.events import Cancel, LocalFailure, Send
from swarmlearning.rounds.slices import Assemble, Assembled, FetchSlice, LinkMeasured, MergeSlice, SliceUnmergeable


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


ABLE, UNABLE = StateLink(1_200_000, 1_200_000, True), StateLink(1_200_000, 1_200_000, False)


def unable_to_merge() -> tuple[InSlices, Sharer, MergeSlice]:
    """A node with a full disk has said that it merges nothing."""
    play = frozen()
    node = Sharer(play, not_leading(play))
    assert sent(node.handle(LinkMeasured(1_234_567, 1_234_567, True))) == [ABLE]
    node.accept(ABLE)
    play.link(node.uid, 1_200_000)
    node.advance()
    (merge, *_) = [action for action in node.begun if isinstance(action, MergeSlice)]
    assert UNABLE in sent(node.handle(LocalFailure(merge, "the disk is full")))
    node.accept(UNABLE)
    play.link(node.uid, 1_200_000, merges=False)
    return play, node, merge


def test_a_node_that_cannot_merge_says_so_until_it_has_made_a_model_of_slices() -> None:
    play, node, merge = unable_to_merge()
    assert merge.slice not in play.of(node.uid), "another merges it"
    play.merge()
    node.advance()
    assert [type(action) for action in node.fetches()] == [Assemble]
    assert ABLE in sent(node.handle(Assembled(node.recipe, RESULT, play.size)))


def test_a_node_that_could_not_merge_is_there_to_do_so_again_after_a_while() -> None:
    """Its disk had space soon, and the others hung: all waited for these."""
    play, node, _ = unable_to_merge()
    node.advance()
    assert sent(node.over("unable")) == [ABLE]
    node.accept(ABLE)
    play.link(node.uid, 1_200_000)
    play.lose(*play.others(node.uid))
    (merge, *_) = [action for action in node.advance() if isinstance(action, MergeSlice)]
    before = len(node.started("slice"))
    assert UNABLE in sent(node.handle(LocalFailure(merge, "the disk is full"))), "as before"
    assert [timer.subject for timer in node.started("slice")[before:]] == ["unable"]


def test_a_leader_has_another_digest_count_where_mergers_contradict_each_other_and_waits_for_each_in_turn() -> None:
    """What the first of them stated came in drops (seed 60399)."""
    play = opened("a", "b", "c", "d")
    play.link(play.leader, merges=False)
    play.submit()
    node = Sharer(play, play.leader)
    index = play.of(not_leading(play))[0]
    play.merge(index, root_of="a")
    play.reassign(index)
    play.merge(index, root_of="b")
    play.merge(index, root_of="c")
    for _ in range(2):
        ruled = play.slice(index).ruled
        assert not any(isinstance(body, Reassign) for body in sent(node.advance()))
        overrule = Reassign(0, 0, node.recipe, (index,))
        assert overrule in sent(node.over(ruled))
        node.accept(overrule)
        play.reassign(index)
        assert play.slice(index).ruled != ruled


def test_a_leader_that_can_take_what_it_lacks_from_nobody_in_its_term_lets_another_lead() -> None:
    """It reported progress for an hour, since bytes came in drops (seed 60399)."""
    play = frozen("a", "b", "c", "d")
    node = Sharer(play, play.leader)
    mute = not_leading(play)
    index, *_ = play.of(mute)
    node.merges(*play.of(node.uid))
    play.merge(*[each for each in range(len(play.slicing.slices)) if each != index])
    node.advance()
    node.fetches()
    take = Reassign(0, 0, node.recipe, (index,))
    assert sent(node.over(f"{node.recipe}/{index}/{mute}")) == [take]
    node.accept(take)
    play.reassign(index)
    node.advance()
    assert sent(node.over(f"{node.recipe}/{index}/{play.slice(index).merger}")) == []
    assert sent(node.over("stuck")) == [Depose(0, 0, 1, node.height, "progress")]


def test_a_leader_that_waits_for_what_may_still_come_leads_on() -> None:
    play = frozen("a", "b", "c", "d")
    node = Sharer(play, play.leader)
    mute = not_leading(play)
    index, *_ = play.of(mute)
    play.reassign(index)
    node.advance()
    node.over(f"{node.recipe}/{index}/{play.slice(index).merger}")
    assert not any(timer.subject == "stuck" for timer in node.started("slice"))


def test_who_was_to_merge_a_slice_merges_it_all_the_same_until_somebody_has() -> None:
    """Its link was cut for a moment: who is to merge instead lacks its model, and may be cut off next."""
    play = frozen()
    node = Sharer(play, not_leading(play))
    first, second, *_ = play.of(node.uid)
    play.reassign(first)
    instead = play.slice(first).merger
    assert instead != node.uid
    assert not [each for each in node.advance() if isinstance(each, Cancel)]
    assert sent(node.merges(first)) == [Sliced(0, node.recipe, first, root(first))]
    play.merge(first, by=node.uid)
    assert play.slice(first).root == root(first)
    play.reassign(second)
    play.merge(second)
    actions = node.advance()
    assert [each.work.slice for each in actions if isinstance(each, Cancel)] == [second]  # type: ignore[union-attr]
    assert of(FetchSlice, actions) == [second]
