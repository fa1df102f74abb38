"""One round machine in rounds that are merged in slices, which others play by hand under rules version 3."""

from collections.abc import Sequence

from support.play import merged, model
from support.roundnode import SETTINGS, Node
from support.slicing import InSlices, frozen, root
from swarmlearning.ledger.bodies import Depose, Held, Publish, Reassign, Sliced
from swarmlearning.ledger.contracts.training.slices import roots_of
from swarmlearning.rounds.events import Action, Cancel, Dropped, Keep, LocalFailure, Send, SetTimer, TimerFired
from swarmlearning.rounds.machine import RoundMachine
from swarmlearning.rounds.settings import LEAST_SECONDS
from swarmlearning.rounds.slices import (
    Assemble,
    Assembled,
    FetchSlice,
    MergeSlice,
    SliceFetched,
    SliceMerged,
    SliceMissing,
    SlicesLost,
)

RESULT = merged(0)


class Sharer(Node):
    """The machine of `uid`, with its own model, in such a round."""

    def __init__(self, play: InSlices, uid: str) -> None:
        super().__init__(play, uid)  # type: ignore[arg-type]
        self.sliced = play
        self.kept: set[str] = set()
        self.machine = RoundMachine(uid, 1, play.state, SETTINGS, [model(uid, 0)])
        self.begun = self.advance()

    def handle(self, event: object) -> list[Action]:
        actions = self.machine.handle(event, self.now)  # type: ignore[arg-type]
        for action in actions:
            if isinstance(action, Keep):
                self.kept = set(action.digests)
        self.timers += [action for action in actions if isinstance(action, SetTimer)]
        return [action for action in actions if not isinstance(action, Keep | SetTimer)]

    @property
    def recipe(self) -> str:
        return self.sliced.slicing.recipe

    def merges(self, *indexes: int) -> list[Action]:
        """These slices are merged here."""
        return self._all([SliceMerged(self.recipe, index, root(index)) for index in indexes])

    def fetches(self, *indexes: int) -> list[Action]:
        """These slices, or all that are stated, have come."""
        known = [index for index, each in enumerate(self.sliced.slicing.slices) if each.root]
        slices = {index: self.sliced.slice(index) for index in indexes or known}
        return self._all([SliceFetched(self.recipe, index, each.root) for index, each in slices.items()])

    def _all(self, events: Sequence[object]) -> list[Action]:
        return [action for event in events for action in self.handle(event)]

    def over(self, subject: str, purpose: str = "slice") -> list[Action]:
        """The newest timer of this purpose with this in its subject is over."""
        (*_, timer) = [each for each in self.started(purpose) if subject in each.subject]
        return self.handle(TimerFired(timer, 0))


def sent(actions: Sequence[Action]) -> list[object]:
    return [action.body for action in actions if isinstance(action, Send)]


def of(kind: type[MergeSlice] | type[FetchSlice], actions: Sequence[Action]) -> list[int]:
    """The slices that such work is about."""
    return [action.slice for action in actions if isinstance(action, kind)]


def not_leading(play: InSlices) -> str:
    return play.others(play.leader)[0]


# --- merging ----------------------------------------------------------------------------------------------------------


def test_a_node_merges_its_slices_and_states_each_once_it_is_merged() -> None:
    play = frozen()
    node = Sharer(play, not_leading(play))
    first, *rest = play.of(node.uid)
    assert of(MergeSlice, node.begun) == [first, *rest]
    assert node.merges(first) == [Send(Sliced(0, node.recipe, first, root(first)))]
    assert node.advance() == []


def test_slices_of_others_are_fetched_as_soon_as_they_are_stated() -> None:
    play = frozen()
    node = Sharer(play, not_leading(play))
    theirs = play.of(play.leader)[0]
    play.merge(theirs)
    (fetch,) = node.advance()
    assert isinstance(fetch, FetchSlice)
    assert (fetch.slice, fetch.root, fetch.holders) == (theirs, root(theirs), (play.leader,))


def contradicted(play: InSlices) -> tuple[int, str]:
    """Two mergers state different digests for this slice; this third one is to decide."""
    slow = not_leading(play)
    index = play.of(slow)[0]
    play.merge(index)
    play.reassign(index)
    play.merge(index, root_of="a liar")
    return index, play.slice(index).merger


def test_who_decides_between_mergers_merges_itself_and_states_nothing_that_it_has_only_fetched() -> None:
    play = frozen("a", "b", "c", "d")
    rehearsal = play.copied()
    index, judge = contradicted(rehearsal)
    node = Sharer(play, judge)
    slow = play.slice(index).merger
    play.merge(index)
    node.advance()
    node.fetches(index)
    play.reassign(index)
    play.merge(index, root_of="a liar")
    assert play.slice(index).merger == judge
    assert slow != judge
    actions = node.advance()
    assert sent(actions) == []
    assert index in of(MergeSlice, actions)


def test_a_merger_that_has_fetched_the_slice_meanwhile_states_that_it_holds_it() -> None:
    """As where the leader cannot reach the first merger, and this node can."""
    play = frozen()
    rehearsal = play.copied()
    index = play.of(not_leading(play))[0]
    rehearsal.merge(index)
    rehearsal.reassign(index)
    node = Sharer(play, rehearsal.slice(index).merger)
    play.merge(index)
    node.advance()
    node.fetches(index)
    play.reassign(index)
    assert sent(node.advance()) == [Held(0, node.recipe, (index,), roots_of(play.slicing.slices, [index]))]


def test_a_slice_that_nobody_serves_is_merged_all_the_same() -> None:
    """A member stated what it did not serve; each failed fetch of that ended the merge (seed 94)."""
    play = frozen()
    index = play.of(not_leading(play))[0]
    play.merge(index)
    play.reassign(index)
    node = Sharer(play, play.slice(index).merger)
    assert index in of(MergeSlice, node.begun)
    assert index in of(FetchSlice, node.begun)
    actions = node.handle(SliceMissing(node.recipe, index, "nobody could give it"))
    assert not any(isinstance(action, Cancel) for action in actions)
    assert of(FetchSlice, node.over(f"{node.recipe}/{index}", "retry")) == [index]


# --- the result -------------------------------------------------------------------------------------------------------


def whole(play: InSlices, uid: str) -> tuple[Sharer, list[Action]]:
    """All slices are merged and here, and the model is made of them. Returns what it has done since."""
    node = Sharer(play, uid)
    play.merge()
    node.advance()
    actions = node.fetches()
    assert sum(isinstance(action, Assemble) for action in actions) == 1
    return node, [*actions, *node.handle(Assembled(node.recipe, RESULT, play.size))]


def test_the_leader_publishes_once_others_hold_all_slices() -> None:
    play = frozen()
    node, actions = whole(play, play.leader)
    assert not sent(actions), "it alone holds its own"
    play.hold(not_leading(play))
    assert sent(node.advance()) == [Publish(0, 0, RESULT, play.size, play.receipt())]


def test_where_too_few_models_remain_the_round_is_collected_again() -> None:
    play = frozen(min_peers=3)
    unusable, revoked, other = play.others(play.leader)
    for by in (other, play.leader):
        play.fault(play.of(by)[0], unusable)
    play.revoke(revoked)
    node, _ = whole(play, play.leader)
    play.hold(other)
    assert [getattr(body, "result", None) for body in sent(node.advance())] == [""]


def test_two_members_state_that_they_hold_what_only_the_leader_does() -> None:
    play = frozen()
    found = [whole(play, uid) for uid in play.others(play.leader)]
    own = tuple(play.of(play.leader))
    said = [bodies[-1] for _, actions in found if (bodies := sent(actions))]
    assert said == [Held(0, play.slicing.recipe, own, roots_of(play.slicing.slices, own))] * 2


def test_a_result_of_slices_that_do_not_count_any_more_is_made_again() -> None:
    play = frozen()
    node, _ = whole(play, play.leader)
    play.hold(not_leading(play))
    index = play.of(not_leading(play))[0]
    play.reassign(index)
    play.merge(index, by=play.slice(index).merger, root_of="two others")
    assert not play.slice(index).root
    assert sent(node.advance()) == []
    play.merge(index, by=play.slice(index).merger, root_of="two others")
    (fetch,) = [action for action in node.advance() if isinstance(action, FetchSlice)]
    assert fetch.root == root(index, "two others")
    actions = node.fetches(index)
    assert [type(action) for action in actions] == [Assemble]


def test_a_model_that_was_made_of_slices_and_is_gone_is_made_again() -> None:
    play = frozen()
    node, _ = whole(play, play.leader)
    actions = node.handle(Dropped(RESULT))
    assert len(of(FetchSlice, actions)) == len(play.slicing.slices)
    own = [each for each in actions if isinstance(each, FetchSlice) and each.slice in play.of(node.uid)]
    assert all(not each.holders and set(each.others) == set(play.others(node.uid)) for each in own)
    play.hold(not_leading(play))
    assert sent(node.advance()) == [], "it does not publish what it does not hold"


def test_slices_that_are_gone_are_fetched_again() -> None:
    play = frozen()
    node = Sharer(play, not_leading(play))
    theirs = play.of(play.leader)[0]
    play.merge(theirs)
    node.advance()
    node.fetches(theirs)
    assert of(FetchSlice, node.handle(SlicesLost(node.recipe))) == [theirs]


def test_slices_are_kept_while_their_round_goes_on() -> None:
    play = frozen()
    node = Sharer(play, not_leading(play))
    node.merges(play.of(node.uid)[0])
    assert node.recipe in node.kept


def test_contributions_are_kept_until_all_hold_the_result_since_a_lost_slice_is_merged_again() -> None:
    play = frozen()
    node, _ = whole(play, not_leading(play))
    play.hold(node.uid)
    play.publish()
    node.advance()
    assert model(node.uid, 0) in node.kept
    play.report()
    node.advance()
    others = {model(uid, 0) for uid in play.others(node.uid)}
    assert node.kept.isdisjoint(others)
    assert model(node.uid, 0) in node.kept, "members may check the round until the next one's contributors are fixed"
    play.submit()
    node.advance()
    assert model(node.uid, 0) not in node.kept


# --- leading ----------------------------------------------------------------------------------------------------------


def test_a_leader_takes_slices_from_a_merger_that_is_far_too_slow_once_a_term() -> None:
    play = frozen()
    node = Sharer(play, play.leader)
    slow = not_leading(play)
    index = play.of(slow)[0]
    take = Reassign(0, 0, node.recipe, (index,))
    assert sent(node.over(f"{node.recipe}/{index}/{slow}")) == [take]
    node.accept(take)
    play.reassign(index)
    node.advance()
    second = play.slice(index).merger
    assert second not in (slow, play.leader)
    assert sent(node.over(f"{node.recipe}/{index}/{second}")) == [], "the ledger would refuse it"


def test_a_leader_takes_a_slice_from_a_merger_that_has_stated_it_and_serves_it_to_nobody() -> None:
    play = frozen()
    node = Sharer(play, play.leader)
    other = not_leading(play)
    index = play.of(other)[0]
    play.merge(index)
    node.advance()
    node.handle(SliceMissing(node.recipe, index, "nobody could give it"))
    assert sent(node.over(f"{node.recipe}/{index}/{other}")) == [Reassign(0, 0, node.recipe, (index,))]


def test_a_leader_waits_no_longer_for_a_slice_that_nobody_gets_than_those_before_it() -> None:
    """Leaders were deposed before the time was over that each gave the merger anew (seed 204)."""
    play = frozen()
    rehearsal = play.copied()
    depose = Depose(0, 0, 1, play.ledger.chain.height, "progress")
    rehearsal.send(play.leader, depose)
    node = Sharer(play, rehearsal.leader)
    (walled, *_) = play.others(play.leader, node.uid)
    index = play.of(walled)[0]
    play.merge(index)
    node.advance()
    node.handle(SliceMissing(node.recipe, index, "nobody could give it"))
    (timer,) = [each for each in node.timers if each.timer.subject == f"{node.recipe}/{index}/{walled}/missed"]
    assert timer.seconds == LEAST_SECONDS
    assert node.handle(TimerFired(timer.timer, 0)) == [], "it does not lead"
    play.send(play.leader, depose)
    assert sent(node.advance()) == [Reassign(0, 1, node.recipe, (index,))]


def test_a_slice_is_fetched_at_once_when_another_member_holds_it() -> None:
    play = frozen()
    node = Sharer(play, not_leading(play))
    walled, other = play.others(node.uid)[:2]
    index = play.of(walled)[0]
    play.merge(index)
    node.advance()
    assert of(FetchSlice, node.handle(SliceMissing(node.recipe, index, "nobody could give it"))) == []
    play.hold(other, index)
    (fetch,) = node.advance()
    assert isinstance(fetch, FetchSlice)
    assert fetch.holders == (other, walled)


def test_a_slice_that_did_not_come_is_not_tried_at_once_because_others_are_lost_here() -> None:
    """Two that had both lost a slice asked each other for it without a pause (seed 224)."""
    play = frozen()
    node = Sharer(play, not_leading(play))
    index = play.of(play.others(node.uid)[0])[0]
    play.merge(index)
    node.advance()
    node.handle(SliceMissing(node.recipe, index, "nobody could give it"))
    assert of(FetchSlice, node.handle(SlicesLost(node.recipe))) == []


def test_a_holder_that_drips_is_the_last_one_to_be_tried_next() -> None:
    play = frozen()
    node = Sharer(play, not_leading(play))
    drips, other = play.others(node.uid)[:2]
    index = play.of(drips)[0]
    play.merge(index)
    play.hold(other, index)
    (fetch,) = node.advance()
    assert isinstance(fetch, FetchSlice)
    assert node.over(f"{node.recipe}/{index}/FetchSlice") == [Cancel(fetch)]
    (again,) = node.over(f"{node.recipe}/{index}/FetchSlice", "retry")
    assert isinstance(again, FetchSlice)
    assert again.holders == (other, drips)


def test_a_leader_that_cannot_make_the_result_lets_another_lead() -> None:
    play = frozen()
    node = Sharer(play, play.leader)
    play.merge()
    node.advance()
    (assemble,) = [action for action in node.fetches() if isinstance(action, Assemble)]
    assert sent(node.handle(LocalFailure(assemble, "the disk is full"))) == [Depose(0, 0, 1, node.height, "progress")]


def test_nothing_is_remembered_of_the_slices_of_rounds_that_are_over() -> None:
    play = frozen()
    node, _ = whole(play, not_leading(play))
    play.hold(node.uid)
    play.hold(play.leader)
    node.advance()
    index = play.of(play.others(play.leader, node.uid)[0])[0]
    node.handle(SlicesLost(node.recipe))
    timers = {each for each in node.started("slice") if each.subject.startswith(f"{node.recipe}/{index}/")}
    assert timers
    play.publish()
    play.report()
    node.advance()
    assert not play.state.slicings
    assert timers.isdisjoint(node.machine._facts.timers._over)
