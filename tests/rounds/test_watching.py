"""One round machine watches the leader of a round that is due."""

from dataclasses import replace

import pytest

from support.play import merged
from support.roundnode import SETTINGS, Node, joined, submitted
from swarmlearning.ledger.bodies import (
    Depose,
    ExclusionReason,
)
from swarmlearning.ledger.contracts.training.sizes import size_of_all
from swarmlearning.rounds.events import (
    Fetched,
    Send,
    TimerFired,
)
from swarmlearning.rounds.settings import SLOW_RATE


def watching() -> Node:
    """`b` is in a round that is due and led by `a`."""
    node = joined("b", "a", "b", "c")
    (sent,) = node.hand_over()
    assert isinstance(sent, Send)
    node.accept(sent.body)
    node.play.submit("a", "b")
    node.advance(leader_height=5)
    return node


def test_a_leader_that_is_quiet_for_too_long_is_reported_once() -> None:
    node = watching()
    depose = Depose(0, 0, 1, 5, "progress")
    assert node.fire("patience") == [Send(depose)]
    node.accept(depose)
    node.play.depose("b")
    assert node.advance(leader_height=5) == []


def test_patience_with_a_leader_begins_anew_when_it_reports_and_is_doubled_when_one_was_deposed() -> None:
    node = watching()
    (first,) = node.started("patience")
    node.advance(leader_height=6)
    assert node.handle(TimerFired(first, 0)) == []
    assert node.fire("patience") == [Send(Depose(0, 0, 1, 6, "progress"))]
    node.play.depose("c", "b")
    assert node.play.leader == "b"
    node.advance(leader_height=6)
    node.play.depose("b")
    assert node.play.leader == "c"
    node.advance(leader_height=6)
    assert node.seconds("patience") == [
        30.0,
        30.0,
        60.0,
    ]


def test_patience_with_a_leader_is_not_longer_because_leaders_before_it_were_lost() -> None:
    node = watching()
    for _ in range(8):
        node.play.depose("sn", by_sn=True, cause="lease")
        node.advance(leader_height=6)
    assert set(node.seconds("patience")) == {30.0}


def test_a_leader_whose_round_is_not_due_is_not_watched() -> None:
    node = joined("b", "a", "b", "c")
    node.hand_over()
    assert node.timers == []


def test_a_leader_that_takes_far_longer_than_leaders_before_it_is_reported_though_it_reports_progress() -> None:
    node = submitted("b", "a", "b", "c")
    node.advance()
    node.now = 10.0
    node.play.publish()
    node.advance()
    node.handle(Fetched(merged(0)))
    node.play.depose("b")
    node.play.report("a", "b", "c")
    node.play.submit("a", "b", "c")
    assert (node.play.leader, node.play.frozen) == ("c", True)
    node.advance()
    overdue = [each for each in node.timers if each.timer.purpose == "overdue" and each.timer.subject == "frozen"][-1]
    assert overdue.seconds == 60.0 + 3 * (30.0 + 10.0) * 2
    (report,) = [action for action in node.handle(TimerFired(overdue.timer, 0)) if isinstance(action, Send)]
    assert report.body == Depose(1, 1, 1, node.height, "overdue")


def test_a_leader_may_need_longer_the_more_leaders_were_deposed_in_its_round() -> None:
    """With many members it would be very long until each has had its second turn (seed 20042600)."""
    node = joined("d", "a", "b", "c", "d")
    node.play.depose("b", "c")
    node.play.depose("a", "c")
    node.play.submit("a", "b", "c", "d")
    assert (node.play.leader, node.play.frozen) == ("c", True)
    node.advance()
    overdue = [each for each in node.timers if each.timer.purpose == "overdue" and each.timer.subject == "frozen"][-1]
    assert overdue.seconds == 60.0 + 3 * (30.0 + size_of_all(node.play.round, 1) / SLOW_RATE) * 3


def test_a_leader_may_need_longer_after_others_also_where_nobody_is_waited_for_and_the_model_is_tiny() -> None:
    """Each of 32 leaders was deposed just before its merge had ended, since three times nothing is nothing."""
    hasty = replace(SETTINGS, full_quorum_seconds=0.0)
    node = joined("d", "a", "b", "c", "d")
    node.play.depose("b", "c")
    current = node.play.round
    assert hasty.term_seconds(current, usual=0.0) == hasty.patience(current) + 3 * 10.0 * 2


def test_a_leader_may_not_need_longer_for_models_that_others_state_to_be_huge() -> None:
    """All models of a training are of one size, and whoever watches knows that of its own."""
    node = joined("b", "a", "b", "c")
    node.hand_over()
    node.play.submit("a", "c", size=2**53 - 1)
    node.play.submit("b")
    assert node.play.frozen
    node.advance()
    (overdue,) = [each for each in node.timers if each.timer.purpose == "overdue" and each.timer.subject == "frozen"]
    assert overdue.seconds == 30.0 + 3 * (30.0 + 3 / SLOW_RATE)


def test_the_leader_of_the_first_merge_may_need_as_long_as_a_slow_network_whatever_it_reports() -> None:
    node = joined("b", "a", "b", "c")
    node.play.submit("a", "b", size=2**30)
    node.play.submit("c", size=2**53 - 1)  # one member's statement of its own size changes nothing
    node.advance()
    assert node.play.frozen
    (overdue,) = [each for each in node.timers if each.timer.purpose == "overdue" and each.timer.subject == "frozen"]
    assert overdue.seconds == 30.0 + 3 * (30.0 + 3 * 2**14)
    (report,) = [action for action in node.handle(TimerFired(overdue.timer, 0)) if isinstance(action, Send)]
    assert report.body == Depose(0, 0, 1, node.height, "overdue")


def test_a_leader_that_does_not_freeze_a_round_that_is_due_is_overdue() -> None:
    node = joined("b", "a", "b", "c")
    node.play.submit("a", "c")
    node.advance()
    (overdue,) = [each for each in node.timers if each.timer.purpose == "overdue"]
    assert overdue.seconds == 30.0 + 3 * 30.0


@pytest.mark.parametrize("reason", ["non-finite", "unreachable"])
def test_a_leader_that_keeps_others_out_is_watched_though_its_round_lacks_their_models(reason: ExclusionReason) -> None:
    node = watching()
    play = node.play
    play.freeze()
    play.publish(without={"b": reason}, result="")
    while play.leader != "a":
        play.depose(*[uid for uid in "abc" if uid != play.leader])
    node.advance(leader_height=9)
    assert node.fire("patience") == [Send(Depose(0, play.round.term, 1, 9, "progress"))]
