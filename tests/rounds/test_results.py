"""One round machine gets the standing result, delivers it, and reports that it holds or misses it."""

import pytest

from support.play import Play, merged, model
from support.roundnode import (
    LOADED,
    SESSION,
    Node,
    leading,
    merged_by,
    published_by,
    served,
    submitted,
    without_result,
)
from swarmlearning.ledger.bodies import (
    Missing,
    ReportPerformance,
    Submit,
)
from swarmlearning.rounds.events import (
    Accepted,
    AnswerOpened,
    AnswerSynced,
    Cancel,
    ChainAdvanced,
    Deliver,
    DeliveryFailed,
    Dropped,
    Event,
    Fetch,
    Fetched,
    FetchFailed,
    Keep,
    ModelReceived,
    Send,
    SessionRequested,
    Verify,
)


def test_a_result_is_fetched_from_its_leader_first_and_delivered() -> None:
    node = submitted("a", "a", "b", "c")
    for _ in range(2):
        node.play.depose("sn", by_sn=True, cause="lease")
    node.play.publish("c")
    node.play.report("b")
    fetch = Fetch(merged(0), ("c", "b"))
    assert node.advance() == [fetch]
    assert node.advance() == []
    assert node.handle(Fetched(merged(0))) == [Deliver(merged(0))]
    report = ReportPerformance(0, 0.5, None, 1, 1)
    assert node.handle(LOADED) == [Send(report), AnswerSynced(8, False)]


def test_a_result_that_is_in_the_store_is_not_fetched() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    node = Node(play, "b", held=[merged(0)])
    node.handle(SessionRequested(SESSION))
    node.accept(SESSION)
    node.advance()
    assert node.hand_over() == [Deliver(merged(0))]


@pytest.mark.parametrize(("holds", "goes_on"), [(merged(0), True), (merged(7), False), ("", False)])
def test_an_ml_process_that_trains_from_the_result_contributes_to_a_restarted_node(holds: str, goes_on: bool) -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    node = Node(play, "b", held=[merged(0)])
    node.handle(SessionRequested(SESSION, holds))
    play.open("b")
    assert node.accept(SESSION) == [AnswerOpened()]
    node.advance()
    submit = Submit(1, merged(0), "trained", model("b", 1), 1, 1)
    assert node.hand_over(1) == [Send(submit) if goes_on else Deliver(merged(0))]


def test_a_newcomer_reports_that_it_holds_the_result_as_soon_as_it_does() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    node = Node(play, "c")
    node.handle(SessionRequested(SESSION))
    play.open("c")
    node.accept(SESSION)
    assert node.advance() == [AnswerOpened(), Fetch(merged(0), ("a", "b"))]
    report = ReportPerformance(0, None, None, 0, 0)
    assert node.handle(Fetched(merged(0))) == [Send(report)]


def test_a_result_that_nobody_provides_is_reported_missing_once_and_fetched_again_and_again() -> None:
    node = submitted("b")
    node.play.publish()
    fetch = Fetch(merged(0), ("a",))
    assert node.advance() == [fetch]
    assert node.handle(FetchFailed(merged(0), "gone")) == [Send(Missing(0))]
    assert node.fire("retry") == [fetch]
    assert node.handle(FetchFailed(merged(0), "gone")) == []
    assert node.fire("retry") == [fetch]
    node.accept(Missing(0))
    node.play.missing("b")
    node.advance()
    assert node.handle(FetchFailed(merged(0), "gone")) == []
    assert node.fire("retry") == [fetch]
    assert node.seconds("retry") == [0.1, 0.2, 0.4]
    assert node.handle(Fetched(merged(0))) == [Deliver(merged(0))]


def test_a_result_is_reported_missing_only_after_new_holders_were_tried_too() -> None:
    node = submitted("b", "a", "b", "c")
    node.play.publish()
    node.advance()
    node.play.report("c")
    node.advance()
    assert node.handle(FetchFailed(merged(0), "gone")) == []
    assert node.fire("retry") == [Fetch(merged(0), ("c", "a"))]


def test_the_last_holder_checks_its_copy_and_reports_the_result_missing_when_that_is_gone() -> None:
    node = submitted("b")
    node.play.publish()
    node.advance()
    node.handle(Fetched(merged(0)))
    node.handle(LOADED)
    node.play.report("b")
    node.play.missing("a")
    assert node.advance() == [Verify(merged(0))], "is its own copy damaged?"
    assert node.advance() == []
    assert node.fire("check") == [Verify(merged(0))], "it may have been damaged since"
    assert node.handle(Dropped(merged(0))) == [Send(Missing(0))]


def test_a_model_that_is_gone_when_it_should_be_delivered_is_fetched_again() -> None:
    node = submitted("b")
    node.play.publish()
    node.advance()
    assert node.handle(Fetched(merged(0))) == [Deliver(merged(0))]
    assert node.handle(DeliveryFailed(merged(0))) == [Fetch(merged(0), ("a",))]
    assert node.handle(Fetched(merged(0))) == [Deliver(merged(0))]


def test_one_model_at_a_time_is_delivered_to_an_ml_process() -> None:
    """Its answer to the first would otherwise count for the second, which it has not loaded yet."""
    node = submitted("c", "a", "b", "c")
    node.play.publish()
    node.advance()
    assert node.handle(Fetched(merged(0))) == [Deliver(merged(0))]
    assert node.handle(Dropped(merged(0))) == [Fetch(merged(0), ("a",))]
    assert node.handle(FetchFailed(merged(0), "gone")) == [Send(Missing(0))]
    node.accept(Missing(0))
    node.play.missing("a", "b", "c")
    node.play.void(0)
    node.play.submit("a", "b", "c")
    node.play.publish("b", result="9" * 64)
    assert node.advance() == [Fetch("9" * 64, ("b",))]
    assert Deliver("9" * 64) not in node.handle(Fetched("9" * 64))
    assert node.handle(LOADED) == [Deliver("9" * 64)]


def adaptively_paced() -> Node:
    """`b` of two adaptive members has loaded result 0 and reported its loss; that of `a` is missing."""
    play = Play()
    for uid in ("a", "b"):
        play.open(uid, adaptive=True)
    node = Node(play, "b")
    node.handle(SessionRequested(SESSION))
    node.accept(SESSION)
    node.advance()
    node.hand_over()
    play.submit("a", "b")
    play.publish()
    node.advance()
    node.handle(Fetched(merged(0)))
    assert [type(action) for action in node.handle(LOADED)] == [Send]
    play.report("b")
    assert node.advance() == []
    return node


def test_an_adaptive_ml_process_trains_on_when_its_interval_is_known() -> None:
    node = adaptively_paced()
    node.play.report("a")
    assert node.advance() == [AnswerSynced(8, False)]


def test_an_adaptive_ml_process_trains_on_without_the_losses_of_others_after_a_while() -> None:
    node = adaptively_paced()
    assert node.fire("pace") == [AnswerSynced(8, False)]


def test_a_fetch_that_a_newer_result_supersedes_is_cancelled_so_one_is_under_way_at_a_time() -> None:
    node = submitted("d", "a", "b", "c", "d")
    under_way: list[Fetch] = []
    for number in range(3):
        node.play.publish(result=merged(number))
        actions = node.advance()
        fetch = Fetch(merged(number), (node.play.result.leader,))
        assert actions == [*map(Cancel, under_way), fetch]
        under_way = [fetch]
        node.play.report("a", "b")
        node.play.submit("a", "b")
        node.play.freeze()


def test_bytes_that_were_moved_before_a_result_was_missed_do_not_count_as_bytes_of_it() -> None:
    assert without_result("b").fire("missing", moved=3) == [Send(Missing(0, lasting=True))]


def test_a_result_that_nobody_serves_is_reported_missing_and_again_when_no_byte_has_come_for_long() -> None:
    node = without_result("b")
    assert node.fire("missing", moved=5) == [], "something has come"
    lasting = Missing(0, lasting=True)
    assert node.fire("missing", moved=5) == [Send(lasting)]
    node.accept(lasting)
    node.play.missing("b", lasting=True)
    node.advance()
    assert node.fire("missing", moved=5) == []


def test_a_base_that_nobody_has_is_reported_missing() -> None:
    node = served("b")
    node.play.submit("a", "b")
    node.play.publish()
    node.play.missing("a", "b")
    node.play.void()
    node.handle(Dropped(merged(0)))
    assert Fetch(merged(0), ("a",)) in node.advance() or merged(0) in node.machine._facts.work.fetching
    assert Send(Missing(0)) in node.handle(FetchFailed(merged(0), "gone"))
    node.accept(Missing(0))
    node.play.missing("b", number=0)
    assert Send(Missing(0)) not in node.advance()


def test_a_leader_that_has_lost_its_own_result_gives_it_up_though_it_fetches_contributions_that_never_end() -> None:
    """It kept a majority of organisations from having the result made again (seed 93002699)."""
    node = leading("b", "c")
    node.play.submit("b", "c")
    node.play.publish()
    node.play.missing("b", "c")
    assert Send(Missing(0)) in node.advance()
    node.accept(Missing(0))
    node.play.missing("a")
    node.advance()
    assert node.fire("missing", moved=1000) == [Send(Missing(0, lasting=True))]


def test_a_result_that_nobody_has_is_given_up_though_a_member_submits_it_and_serves_it_for_ever() -> None:
    """Its fetch as a contribution kept a leader from its report, and a majority from a new result (seed 93302019)."""
    node = leading("b", "c")
    node.play.submit("b", "c")
    node.play.publish()
    node.play.missing("b", "c")
    node.play.submit("b", kind="carried", digest=merged(0))
    while node.play.leader != "a":
        node.play.depose("sn", by_sn=True, cause="lease")
    assert {Send(Missing(0)), Fetch(merged(0), ("b",))} <= set(node.advance())
    node.accept(Missing(0))
    node.play.missing("a")
    node.advance()
    assert node.fire("missing", moved=1000) == [Send(Missing(0, lasting=True))]


@pytest.mark.parametrize(("moved", "report"), [(3, Missing(0, lasting=True)), (99, Missing(0, slow=True))])
def test_a_base_that_does_not_come_for_long_is_reported_once_more(moved: int, report: Missing) -> None:
    node = served("b")
    node.play.submit("a", "b")
    node.play.publish()
    node.play.missing("a", "b")
    node.play.void()
    node.handle(Dropped(merged(0)))
    node.advance()
    node.handle(FetchFailed(merged(0), "refused"))
    node.accept(Missing(0))
    node.play.missing("b", number=0)
    node.advance()
    assert node.fire("retry", moved=3) == [Fetch(merged(0), ("a",))]
    node.handle(FetchFailed(merged(0), "refused"))
    node.now += 61.0  # a result of this round was void
    assert node.fire("missing", moved=moved) == [Send(report)]
    node.accept(report)
    node.play.missing("b", number=0, lasting=True)
    node.advance()
    node.now += 61.0
    assert node.fire("missing", moved=moved) == [], "once"


def test_models_are_kept_as_long_as_any_site_may_need_them() -> None:
    node = leading("b")
    kept: set[str] = set()

    def step(event: Event) -> set[str]:
        nonlocal kept
        for action in node.machine.handle(event, 0.0):
            if isinstance(action, Keep):
                kept = set(action.digests)
        return kept

    node.play.submit("b")
    node.height += 1
    assert step(ChainAdvanced(node.play.state, node.height, 0)) == {model("a", 0), model("b", 0)}
    step(Fetched(model("b", 0)))
    assert merged(0) in step(merged_by(node))
    node.play.publish()
    node.height += 1
    assert step(ChainAdvanced(node.play.state, node.height, 0)) == {model("a", 0), merged(0)}
    step(Accepted(published_by(node), node.height))
    assert step(LOADED) == {merged(0)}
    step(ModelReceived(model("a", 1), 1, closing=False))
    node.play.report("a", "b")
    node.play.submit("a", "b")
    node.play.publish("b")
    node.height += 1
    found = step(ChainAdvanced(node.play.state, node.height, 0))
    assert found == {model("a", 1), merged(0), merged(1)}, "the model before stays, should the result get lost"
