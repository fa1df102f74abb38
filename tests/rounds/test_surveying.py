"""One round machine in surveys of models, of rounds merged in slices by the geometric median."""

import msgspec

from rounds.test_sharing import Sharer, not_leading, of, sent
from support.slicing import InSlices, depose, frozen, root
from swarmlearning.ledger.bodies import Depose, Publish, Reassign, Sliced, Weigh
from swarmlearning.ledger.contracts.training.weighing import WHOLE
from swarmlearning.rounds.events import Action, LocalFailure, Send
from swarmlearning.rounds.slices import (
    Assemble,
    Assembled,
    FetchSlice,
    MergeSlice,
    SliceFetched,
    SliceMissing,
    SlicesLost,
    Weighed,
    WeighModels,
)

SHARES = (WHOLE // 2, WHOLE // 4, WHOLE // 8, WHOLE // 8)


def surveying(*sites: str) -> InSlices:
    return frozen(*sites, merge_method="geomedian")


def test_a_node_surveys_its_slices_and_states_their_statistics() -> None:
    play = surveying()
    node = Sharer(play, not_leading(play))
    first, *rest = play.of(node.uid)
    assert of(MergeSlice, node.begun) == [first, *rest]
    assert all(action.recipe.survey == 1 for action in node.begun if isinstance(action, MergeSlice))
    assert node.merges(first) == [Send(Sliced(0, node.recipe, first, root(first)))]


def test_only_the_leader_fetches_statistics_and_each_as_soon_as_it_is_stated() -> None:
    play = surveying()
    leader, other = Sharer(play, play.leader), Sharer(play, not_leading(play))
    theirs = play.of(play.others(play.leader)[1])[0]
    play.merge(theirs)
    (fetch,) = leader.advance()
    assert fetch == FetchSlice(
        leader.recipe,
        theirs,
        play.slice(theirs).start,
        play.slice(theirs).stop,
        root(theirs),
        (play.slice(theirs).merger,),
        statistics_of=4,
    )
    assert other.advance() == []


def gathered(play: InSlices, leader: Sharer | None = None) -> tuple[Sharer, list[Action]]:
    """The leader has surveyed its own slices, and got the others' statistics."""
    node = leader or Sharer(play, play.leader)
    own = play.of(node.uid)
    node.merges(*own)
    play.merge()
    node.advance()
    rest = [index for index in range(len(play.slicing.slices)) if index not in own]
    return node, [action for index in rest for action in node.handle(SliceFetched(node.recipe, index, root(index)))]


def test_the_leader_weighs_the_models_once_all_is_here_and_states_their_coefficients() -> None:
    play = surveying()
    node, actions = gathered(play)
    (work,) = actions
    assert isinstance(work, WeighModels)
    assert (work.recipe.name, work.weights) == (node.recipe, (1, 1, 1, 1))
    assert work.roots == tuple(root(index) for index in range(len(play.slicing.slices)))
    stated = Weigh(0, 0, node.recipe, SHARES)
    assert sent(node.handle(Weighed(node.recipe, SHARES, again=False))) == [stated]
    node.accept(stated)
    play.send(node.uid, stated)
    merges = [action for action in node.advance() if isinstance(action, MergeSlice)]
    assert [action.slice for action in merges] == play.of(node.uid)
    assert [one.coefficient for one in merges[0].recipe.contributors] == list(SHARES)


def test_a_leader_that_needs_one_more_survey_says_about_what() -> None:
    play = surveying()
    node, _ = gathered(play)
    again = Weigh(0, 0, node.recipe, SHARES, again=True)
    assert sent(node.handle(Weighed(node.recipe, SHARES, again=True))) == [again]
    node.accept(again)
    play.send(node.uid, again)
    merges = [action for action in node.advance() if isinstance(action, MergeSlice)]
    assert [action.recipe.survey for action in merges] == [2] * 4
    _, actions = gathered(play, node)
    assert [type(action) for action in actions] == [WeighModels]


def test_a_process_that_is_new_surveys_again_what_the_one_before_has_stated() -> None:
    """What it saw ended with it, and others ask for it."""
    play = surveying()
    uid = not_leading(play)
    play.merge(*play.of(uid))
    node = Sharer(play, uid)
    index, *_ = play.of(uid)
    assert of(MergeSlice, node.begun) == play.of(uid)
    assert node.merges(index) == [], "that is on the ledger already"


def test_a_leader_surveys_a_slice_of_a_lost_merger_itself_though_it_has_gathered_that_ones_statistics() -> None:
    """It stated that it held a copy, which is refused in a survey: a leader after it could have these of nobody."""
    play = surveying()
    node = Sharer(play, play.leader)
    lost = not_leading(play)
    theirs = play.of(lost)
    play.merge(*theirs)
    node.advance()
    for index in theirs:
        node.handle(SliceFetched(node.recipe, index, root(index)))
    play.lose(lost)
    given = [index for index in theirs if play.slice(index).merger == node.uid]
    assert given
    actions = node.advance()
    assert sent(actions) == []
    assert of(MergeSlice, actions) == given


def test_a_new_leader_gathers_statistics_of_before_it() -> None:
    play = surveying()
    play.merge()
    depose(play, *play.others(play.leader)[:2])
    node = Sharer(play, play.leader)
    others = [index for index in range(16) if index not in play.of(node.uid)]
    assert of(FetchSlice, node.begun) == others


def test_where_one_does_not_give_what_it_has_stated_another_is_asked_and_the_slice_is_taken_from_it() -> None:
    play = surveying()
    node = Sharer(play, play.leader)
    mute = not_leading(play)
    index = play.of(mute)[0]
    play.merge(index)
    node.advance()
    node.handle(SliceMissing(node.recipe, index, "nobody could give it"))
    take = Reassign(0, 0, node.recipe, (index,))
    assert sent(node.over(f"{node.recipe}/{index}/{mute}/missed")) == [take]
    node.accept(take)
    play.reassign(index)
    second = play.slice(index).merger
    play.merge(index, by=second, root_of="another machine")
    node.advance()
    (fetch,) = [each for each in node.over(f"{node.recipe}/{index}", "retry") if isinstance(each, FetchSlice)]
    assert (fetch.root, fetch.holders) in [
        (root(index, "another machine"), (second,)),
        (root(index), (mute,)),
    ]
    node.handle(SliceMissing(node.recipe, index, "nobody could give it"))
    (other,) = [each for each in node.over(f"{node.recipe}/{index}", "retry") if isinstance(each, FetchSlice)]
    assert {fetch.holders, other.holders} == {(second,), (mute,)}


def test_a_leader_that_is_to_survey_a_slice_of_which_it_has_statistics_surveys_it_all_the_same() -> None:
    """Else nobody could fetch them once another one leads: their merger is lost, and no copies of them are served."""
    play = surveying()
    lost = not_leading(play)
    play.merge(*play.of(lost))
    node = Sharer(play, play.leader)
    had = play.of(lost)
    for index in had:
        node.handle(SliceFetched(node.recipe, index, root(index)))
    play.lose(lost)
    own = [index for index in play.of(node.uid) if index in had]
    actions = node.advance()
    assert own
    assert set(own) <= set(of(MergeSlice, actions))
    assert sent(actions) == []


def test_what_was_gathered_and_is_gone_is_fetched_again() -> None:
    play = surveying()
    node, _ = gathered(play)
    actions = node.handle(SlicesLost(node.recipe))
    assert len(of(FetchSlice, actions)) == 12
    assert of(MergeSlice, actions) == play.of(node.uid)


def test_a_leader_that_cannot_weigh_gives_up() -> None:
    play = surveying()
    node, (work,) = gathered(play)
    assert isinstance(work, WeighModels)
    (given_up,) = sent(node.handle(LocalFailure(work, "no model is here")))
    assert isinstance(given_up, Depose)


def test_the_receipt_has_the_coefficients_and_nobody_assembles_a_survey() -> None:
    play = surveying()
    node, actions = gathered(play)
    assert not any(isinstance(action, Assemble) for action in actions)
    play.send(node.uid, Weigh(0, 0, node.recipe, SHARES))
    play.merge()
    node.advance()
    node.fetches()
    play.hold(not_leading(play))
    node.advance()
    (published,) = sent(node.handle(Assembled(node.recipe, "9" * 64, play.size)))
    assert isinstance(published, Publish)
    assert tuple(part.coefficient for part in published.receipt.contributions) == SHARES
    play.send(node.uid, msgspec.structs.replace(published, result="8" * 64))
    assert play.result.receipt.method == "geomedian"
