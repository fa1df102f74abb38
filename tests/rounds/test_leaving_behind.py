"""A site that was only away as its round was merged trains on, and adds what it left behind to its next model."""

import pytest

from support.play import merged, model
from support.roundnode import LOADED, SESSION, Node, served, submit_of
from swarmlearning.ledger.bodies import ExclusionReason, ReportPerformance, Submit
from swarmlearning.rounds.events import (
    Action,
    AnswerOpened,
    AnswerSynced,
    Carried,
    Carry,
    Deliver,
    DeliveryFailed,
    Dropped,
    Fetched,
    Send,
    SessionRequested,
)

WHOLE, CARRIED, OTHER = "c" * 64, "d" * 64, "9" * 64
ADDED = Carry(model("d", 1), merged(0), model("d", 2), 1)


def away(*, sent: bool = True, back_before_the_freeze: bool = False) -> Node:
    """`d` was cut off as the others' models for round 1 were merged, and waits with its own; their result is here.
    `sent`: its own came after the freeze."""
    node = served("d", "a", "b", "c", "d")
    play = node.play
    assert node.hand_over(1) == [Send(submit_of("d", 1, merged(0)))]
    play.set_attendance("d", "lost")
    play.submit("a", "b")
    if back_before_the_freeze:
        play.set_attendance("d", "present")
    play.submit("c")
    if back_before_the_freeze:
        play.freeze(stragglers=("d",))
    assert play.frozen
    if not back_before_the_freeze:
        play.set_attendance("d", "present")
    if sent:
        node.accept(submit_of("d", 1, merged(0)))
        play.submit("d")
    else:
        node.refuse(submit_of("d", 1, merged(0)), "other-round")
    play.publish()
    play.report("a", "b", "c")
    node.advance()
    return node


def trains_on(node: Node) -> Node:
    """It loads the result and trains on; the others train, too."""
    assert node.handle(Fetched(merged(1))) == [Deliver(merged(1))]
    loaded = ReportPerformance(1, 0.5, None, 1, 1)
    assert Send(loaded) in node.handle(LOADED)
    node.accept(loaded)
    node.play.report("d")
    node.advance()
    return node


def test_a_site_that_was_away_trains_on_and_adds_what_it_left_behind_to_its_next_model() -> None:
    node = away()
    assert node.handle(Fetched(merged(1))) == [Deliver(merged(1))]
    assert node.handle(LOADED)[-1] == AnswerSynced(8, False)
    node.play.report("d")
    assert node.play.member("d").awaited
    assert node.hand_over(2) == [ADDED]
    submit = Submit(2, merged(1), "carried", WHOLE, 1, 1)
    assert node.handle(Carried(model("d", 1), model("d", 2), WHOLE, 1)) == [Send(submit)]
    node.accept(submit)
    node.play.submit("d", kind="carried", digest=WHOLE)
    node.play.submit("a", "b", "c")
    node.play.publish()
    node.advance()
    assert node.handle(Fetched(merged(2))) == [Deliver(merged(2))]
    node.handle(LOADED)
    assert node.hand_over(3) == [Send(submit_of("d", 3, merged(2)))]


@pytest.mark.parametrize("sent", [True, False])
def test_what_was_left_behind_is_kept_until_it_is_added(sent: bool) -> None:
    node = trains_on(away(sent=sent))
    assert {model("d", 1), merged(0)} <= node.machine._kept


@pytest.mark.parametrize(("reason", "is_lost"), [("unreachable", True), ("unreachable", False), ("non-finite", True)])
def test_what_nobody_could_fetch_as_the_site_was_away_is_not_lost(reason: ExclusionReason, is_lost: bool) -> None:
    node = served("d", "a", "b", "c", "d")
    play = node.play
    submit = submit_of("d", 1, merged(0))
    assert node.hand_over(1) == [Send(submit)]
    node.accept(submit)
    play.submit("a", "b", "c", "d")
    assert play.frozen
    if is_lost:
        play.set_attendance("d", "lost")
        play.set_attendance("d", "present")
    play.publish(without={"d": reason})
    play.report("a", "b", "c")
    node.advance()
    trains_on(node)
    added = is_lost and reason == "unreachable"
    assert node.hand_over(2) == [ADDED if added else Send(submit_of("d", 2, merged(1)))]


def test_a_site_that_is_late_though_it_was_there_waits_for_the_next_round() -> None:
    node = away(back_before_the_freeze=True)
    assert node.handle(Fetched(merged(1)))[0] == Carry(model("d", 1), merged(0), merged(1), 1)


def test_a_site_that_comes_back_as_others_hand_over_again_waits_for_them() -> None:
    node = away()
    node.play.submit("a")
    node.advance()
    assert node.handle(Fetched(merged(1)))[0] == Carry(model("d", 1), merged(0), merged(1), 1)


def test_a_site_that_is_late_twice_waits_with_all_it_has_learned() -> None:
    node = trains_on(away())
    play = node.play
    play.set_attendance("d", "lost")
    play.submit("a", "b", "c")
    assert play.frozen
    play.set_attendance("d", "present")
    play.publish()
    assert node.hand_over(2) == [ADDED]
    node.handle(Carried(model("d", 1), model("d", 2), WHOLE, 1))
    node.advance()
    carry = Carry(WHOLE, merged(1), merged(2), 1)
    assert node.handle(Fetched(merged(2)))[0] == carry
    submit = Submit(3, merged(2), "carried", CARRIED, 1, 1)
    assert node.handle(Carried(WHOLE, merged(2), CARRIED, 1)) == [Send(submit)]


def test_without_what_it_was_trained_from_nothing_is_added() -> None:
    node = trains_on(away())
    node.handle(Dropped(merged(0)))
    assert node.hand_over(2) == [Send(submit_of("d", 2, merged(1)))]


def test_where_it_cannot_be_added_the_next_model_is_submitted_as_it_is() -> None:
    node = trains_on(away())
    assert node.hand_over(2) == [ADDED]
    assert node.handle(Carried(model("d", 1), model("d", 2), "", 0)) == [Send(submit_of("d", 2, merged(1)))]


def test_a_result_that_cannot_be_delivered_is_delivered_once_it_is_here_again() -> None:
    node = away()
    node.handle(Fetched(merged(1)))
    node.handle(DeliveryFailed(merged(1)))
    assert node.handle(Fetched(merged(1))) == [Deliver(merged(1))]


def test_another_ml_process_does_not_get_what_the_one_before_left_behind() -> None:
    node = trains_on(away())
    node.handle(SessionRequested(SESSION, merged(1)))
    assert AnswerOpened() in node.accept(SESSION)
    assert node.hand_over(2) == [Send(submit_of("d", 2, merged(1)))]


def void_again(node: Node, *, with_it: bool) -> list[Action]:
    """The result of round 1 is void, and made again, with what was left behind or without it. Returns what the site
    does as it is void."""
    play = node.play
    play.missing("a", "b", "c", "d")
    play.void(1)
    actions = node.advance()
    play.submit("a", "b", "c", *(["d"] if with_it else []))
    if not play.frozen:
        play.freeze()
    play.publish(result=OTHER)
    play.report("a", "b", "c")
    node.advance()
    return actions


@pytest.mark.parametrize("with_it", [True, False])
def test_what_a_round_that_is_made_again_has_merged_is_not_added(with_it: bool) -> None:
    node = away()
    assert node.handle(Fetched(merged(1))) == [Deliver(merged(1))]
    assert void_again(node, with_it=with_it) == [Send(submit_of("d", 1, merged(0)))]
    node.handle(Fetched(OTHER))
    assert Deliver(OTHER) in node.handle(LOADED)
    assert AnswerSynced(8, False) in node.handle(LOADED)
    node.play.report("d")
    node.advance()
    submit = Submit(2, OTHER, "trained", model("d", 2), 1, 1)
    assert node.hand_over(2) == [Send(submit) if with_it else ADDED]


def test_what_was_left_behind_goes_to_its_round_where_that_is_made_again() -> None:
    node = trains_on(away(sent=False))
    assert void_again(node, with_it=False) == [Send(submit_of("d", 1, merged(0)))]
    node.handle(Fetched(OTHER))
    assert node.hand_over(2) == [Deliver(OTHER)]  # it was trained from a result that is void


def test_a_restarted_node_does_not_carry_over_what_it_may_have_submitted_with_more() -> None:
    """Its ML process repeats the model that the process before has added something to."""
    node = served("d", "a", "b", "c", "d")
    node.play.submit("d", kind="carried", digest=WHOLE)
    node.play.submit("a", "b")
    node.advance()
    assert node.hand_over(1) == []
    node.play.submit("c")
    node.play.publish()
    node.play.report("a", "b", "c")
    node.advance()
    assert node.handle(Fetched(merged(1))) == [Deliver(merged(1))]
