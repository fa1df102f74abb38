"""One round machine gets a result, or the base of a round, that comes slowly: from each holder in turn."""

import pytest

from support.play import Play, merged, model
from support.roundnode import LOADED, SETTINGS, Node, joined, leading, served, submitted, without_result
from swarmlearning.ledger.bodies import Missing
from swarmlearning.rounds.events import Action, Cancel, Dropped, Fetch, Fetched, FetchFailed, LocalFailure, Merge, Send


def half_a_minute_later(node: Node, moved: int) -> list[Action]:
    """The fetch under way is looked at; by then so many bytes have come."""
    node.now += 30.0
    return node.fire("fetch", moved=moved)


def test_a_result_that_comes_in_drips_is_reported_although_bytes_come() -> None:
    node = submitted("b")
    node.play.publish()
    assert Fetch(merged(0), ("a",)) in node.advance()
    node.now += 29.0
    assert node.fire("fetch", moved=1) == [], "early"
    slow = Missing(0, slow=True)
    assert half_a_minute_later(node, moved=2) == [Send(slow)]
    node.accept(slow)
    node.play.missing("b", slow=True)
    node.advance()
    assert half_a_minute_later(node, moved=3) == []


def test_a_result_that_comes_in_drips_is_given_up_after_three_times_as_long_as_it_may_need() -> None:
    """Else nobody could end with a final result that one member never gets (seed 20000507)."""
    node = submitted("b")
    node.play.publish()
    node.advance()
    assert half_a_minute_later(node, moved=1) == [Send(Missing(0, slow=True))]
    node.accept(Missing(0, slow=True))
    node.play.missing("b", slow=True)
    node.advance()
    assert half_a_minute_later(node, moved=2) == []
    lasting = Missing(0, lasting=True)
    assert half_a_minute_later(node, moved=3) == [Send(lasting)]
    node.accept(lasting)
    node.play.missing("b", lasting=True)
    node.advance()
    assert half_a_minute_later(node, moved=4) == []


def test_a_result_that_comes_in_drips_is_fetched_from_another_holder_as_soon_as_there_is_one() -> None:
    node = submitted("b", "a", "b", "c")
    node.play.publish()
    node.advance()
    node.play.report("c")
    assert node.advance() == []
    assert half_a_minute_later(node, moved=1) == [Cancel(Fetch(merged(0), ("a",)))]
    assert node.fire("retry", moved=1) == [Fetch(merged(0), ("c", "a"))]
    assert Send(Missing(0, slow=True)) in half_a_minute_later(node, moved=2)


def test_a_result_that_comes_in_drips_is_fetched_from_each_holder_in_turn_before_it_is_reported() -> None:
    """Else one that drips would keep the site from a result that others serve well (seeds 20020782, 20020842)."""
    node = submitted("b", "a", "b", "c")
    node.play.publish()
    node.play.report("c")
    first, second = Fetch(merged(0), ("a", "c")), Fetch(merged(0), ("c", "a"))
    assert first in node.advance()
    assert half_a_minute_later(node, moved=1) == [Cancel(first)]
    assert node.fire("retry", moved=1) == [second]
    assert half_a_minute_later(node, moved=2) == [Cancel(second), Send(Missing(0, slow=True))]
    assert node.fire("retry", moved=2) == [first]


def test_seconds_lost_with_a_holder_that_drips_do_not_make_the_next_result_be_waited_for_longer() -> None:
    node = submitted("c", "a", "b", "c")
    node.play.publish()
    node.play.report("b")
    node.advance()
    half_a_minute_later(node, moved=1)
    node.fire("retry", moved=1)
    node.handle(Fetched(merged(0)))
    node.handle(LOADED)
    node.play.report("c")
    node.play.submit("a", "b", "c")
    node.play.publish()
    node.advance()
    assert Send(Missing(1, slow=True)) in half_a_minute_later(node, moved=2)


def test_a_fetch_that_begins_after_a_long_pause_is_watched_though_nothing_else_happens() -> None:
    """The time to look at it had come during the pause (seed 20020842)."""
    node = without_result("b")
    assert half_a_minute_later(node, moved=3) == []
    watched = len(node.started("fetch"))
    assert node.fire("retry", moved=3) == [Fetch(merged(0), ("a",))]
    assert len(node.started("fetch")) == watched + 1


def test_a_result_that_comes_in_drips_over_many_connections_is_reported() -> None:
    node = without_result("b")
    node.now += 31.0
    assert node.fire("missing", moved=99) == [Send(Missing(0, slow=True))]


@pytest.mark.parametrize(
    ("size", "usual", "voids", "seconds"),
    [
        (1, 0.0, 0, 30.0),
        (2**30, 0.0, 0, 2**14),
        (2**30, 20.0, 0, 200.0),
        (1, 0.1, 2, 120.0),
        (1, 423.0, 0, 300.0),
        (2**30, 2.0**20, 0, 10 * 2**14),
    ],
)
def test_a_result_may_need_as_long_as_a_slow_network_needs(size: int, usual: float, voids: int, seconds: float) -> None:
    assert SETTINGS.result_seconds(size, usual, voids) == seconds


@pytest.mark.parametrize(
    ("size", "usual", "seconds"), [(1, 0.1, 600.0), (1, 423.0, 1800.0), (2**30, 0.0, 6 * 2**14), (2**30, 20.0, 1200.0)]
)
def test_one_slow_transfer_does_not_make_a_site_wait_for_hours_for_others_at_the_end(
    size: int, usual: float, seconds: float
) -> None:
    """One of 423 s made it 25,380 s (seed 30001684)."""
    assert SETTINGS.settle_seconds(size, usual) == seconds


def test_the_time_in_which_a_node_could_not_store_a_result_does_not_count_as_its_transfer() -> None:
    node = submitted("c", "a", "b", "c")
    node.play.publish()
    (fetch,) = [each for each in node.advance() if isinstance(each, Fetch)]
    node.now += 500.0
    node.handle(LocalFailure(fetch, "no space left on device"))
    node.now += 100.0
    assert fetch in node.fire("retry")
    node.now += 1.0
    node.handle(Fetched(merged(0)))
    node.play.report("c")
    node.play.submit("a", "b", "c")
    node.play.publish()
    node.advance()
    assert Send(Missing(1, slow=True)) in half_a_minute_later(node, moved=1)


def test_a_node_that_knows_the_size_of_its_model_waits_no_longer_because_others_state_a_larger_one() -> None:
    node = joined("b", "a", "b", "c")
    node.play.submit("a", "c", size=2**53 - 1)
    node.play.submit("b")
    node.play.publish()
    node.advance()
    assert Send(Missing(0, slow=True)) in half_a_minute_later(node, moved=1)


def test_a_node_whose_model_came_too_late_for_the_round_knows_its_size_too() -> None:
    """It let nobody end: a site waits at the end as long as models of that size need (seed 92015234)."""
    node = joined("b", "a", "b", "c")
    node.hand_over()
    node.play.submit("a", "c", size=2**53 - 1)
    node.play.freeze()
    node.play.submit("b")
    assert node.play.round.late.keys() == {"b"}
    node.play.publish()
    node.advance()
    assert Send(Missing(0, slow=True)) in half_a_minute_later(node, moved=1)


def test_a_node_that_was_restarted_knows_the_size_by_what_it_submitted_before() -> None:
    play = Play("a", "b", "c")
    play.submit("a", "c", size=2**53 - 1)
    play.freeze()
    play.submit("b")
    play.publish()
    node = Node(play, "b")
    node.advance()
    assert Send(Missing(0, slow=True)) in half_a_minute_later(node, moved=1)


def test_a_result_is_watched_whose_fetch_began_when_it_was_a_contribution() -> None:
    """With initial sync `one` the result is a contribution: the node ended with a KeyError (seed 93008930)."""
    node = leading("b")
    node.play.submit("b")
    assert Fetch(model("b", 0), ("b",)) in node.advance()
    node.play.depose("sn", by_sn=True, cause="lease")
    node.play.publish("b", result=model("b", 0))
    node.advance()
    assert Send(Missing(0, slow=True)) in half_a_minute_later(node, moved=0)


# --- the base of a round ----------------------------------------------------------------------------------------------


def test_a_base_that_is_needed_again_is_tried_again_before_it_is_reported_missing() -> None:
    """Else it would count as lost though nobody knows whether it is."""
    node = submitted("c", "a", "b", "c")
    node.play.publish()
    node.play.report("a", "b")
    node.advance()
    assert node.handle(FetchFailed(merged(0), "gone")) == [Send(Missing(0))]
    node.accept(Missing(0))
    node.play.missing("c")
    node.play.submit("a", "b")
    node.play.publish()
    assert node.advance() == [Fetch(merged(1), ("b",))]
    node.play.missing("a", "b", "c")
    node.play.void()
    assert [each for each in node.advance() if isinstance(each, Send | Fetch)] == []
    assert node.fire("retry") == [Fetch(merged(0), ("a", "b"))]
    assert Send(Missing(0)) in node.handle(FetchFailed(merged(0), "gone"))


def test_a_leader_does_not_merge_without_the_base_while_it_turns_to_another_holder() -> None:
    node = served("a", "a", "b", "c")
    node.play.submit("a", "b", "c")
    node.play.publish()
    node.play.missing("a", "b", "c")
    node.play.void()
    node.play.depose("sn", by_sn=True, cause="lease")
    assert node.play.leader == "a"
    node.handle(Dropped(merged(0)))
    node.play.submit("a", "b", "c")
    node.advance()
    for uid in ("a", "b", "c"):
        node.handle(Fetched(model(uid, 1)))
    node.now += 31.0
    assert half_a_minute_later(node, moved=1) == [Cancel(Fetch(merged(0), ("b", "c")))]
    assert node.advance() == [], "the next fetch begins in a moment"
    assert node.fire("retry", moved=1) == [Fetch(merged(0), ("c", "b"))]
    assert any(isinstance(action, Merge) for action in node.handle(Fetched(merged(0))))


@pytest.mark.parametrize("bytes_come", [True, False])
def test_a_result_is_given_up_only_after_each_holder_was_the_first_to_be_tried(bytes_come: bool) -> None:
    """Else members that only claim to hold a result keep a site from those that do until all others have ended."""
    node = submitted("b", "a", "b", "c", "d", "e")
    node.play.publish()
    node.play.report("c", "d", "e")
    actions, first, given_up = node.advance(), list[str](), False
    for turn in range(1, 9):
        first += [action.holders[0] for action in actions if isinstance(action, Fetch)]
        actions = half_a_minute_later(node, moved=turn * bytes_come)
        for sent in [action for action in actions if isinstance(action, Send)]:
            assert isinstance(sent.body, Missing)
            given_up = given_up or sent.body.lasting
            assert not given_up or {*first} == {"a", "c", "d", "e"}, f"only {first} were tried"
            node.accept(sent.body)
            node.play.missing("b", lasting=sent.body.lasting, slow=sent.body.slow)
            actions += node.advance()
        if not any(isinstance(action, Fetch) for action in actions):
            actions += node.fire("retry", moved=turn * bytes_come)
    assert given_up
