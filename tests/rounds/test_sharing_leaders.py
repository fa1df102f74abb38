"""One round machine of a round that is merged in slices, and its leader: what that reads, and how long it is quiet."""

from collections.abc import Callable

from rounds.test_sharing import Sharer, not_leading, sent
from support.slicing import frozen, opened
from swarmlearning.ledger.bodies import Depose
from swarmlearning.rounds.events import Fetch, TimerFired


def fetched(node: Sharer) -> list[str]:
    return [action.digest for action in node.advance() if isinstance(action, Fetch)]


def test_a_leader_fetches_no_model_before_the_freeze_where_the_round_is_to_be_merged_in_slices() -> None:
    """It would have read whole models by the time that only slices may be read."""
    play = opened()
    node = Sharer(play, play.leader)
    play.submit(*play.others(play.leader))
    assert fetched(node) == []
    small = opened(size=1000)
    leader = Sharer(small, small.leader)
    small.submit(*small.others(small.leader))
    assert len(fetched(leader)) == 3


def test_a_leader_whose_members_state_slices_is_not_quiet() -> None:
    play = frozen()
    node = Sharer(play, not_leading(play))
    (*_, first) = node.started("patience")
    play.merge(play.of(play.others(play.leader, node.uid)[0])[0])
    node.advance()
    assert sent(node.handle(TimerFired(first, 0))) == [], "the round moves on"
    (*_, second) = node.started("patience")
    assert sent(node.handle(TimerFired(second, 0))) == [Depose(0, 0, 1, 0, "progress")]


def test_each_member_that_holds_a_copy_and_each_new_recipe_begins_patience_anew() -> None:
    play = frozen()
    node = Sharer(play, not_leading(play))
    index = play.of(play.leader)[0]
    steps: list[Callable[[], None]] = [
        lambda: play.merge(index),
        *(lambda uid=uid: play.hold(uid, index) for uid in play.others(play.leader, node.uid)),
        lambda: play.fault(play.of(play.leader)[1], node.uid),
        lambda: play.fault(play.of(play.others(play.leader, node.uid)[0])[0], node.uid),
    ]
    for step in steps:
        (*_, timer) = node.started("patience")
        step()
        node.advance()
        assert sent(node.handle(TimerFired(timer, 0))) == [], "the round moves on"
    assert play.slicing.excluded, "the last of these has begun a new recipe, of which nothing is stated"
