"""One round machine after local training has ended: check-in modes, and the end of the training."""

import pytest

from support.play import Play, merged, model
from support.roundnode import LOADED, SESSION, Node, served, submitted
from swarmlearning.choices import CheckinMode
from swarmlearning.ledger.bodies import (
    CloseSession,
    ReportPerformance,
    Settle,
    Submit,
)
from swarmlearning.rounds.events import (
    AnswerClosed,
    AnswerSynced,
    Deliver,
    Fail,
    Fetch,
    Fetched,
    FetchFailed,
    Finish,
    MLDisconnected,
    Send,
    SessionRequested,
)
from swarmlearning.rounds.machine import MISSED_THE_END


def closing(checkin: CheckinMode) -> Node:
    """`b` has closed its session; round 1 is collecting."""
    node = served("b")
    assert node.hand_over(1, closing=True) == [Send(CloseSession("snapshot"))]
    node.accept(CloseSession("snapshot"))
    node.play.close("b", checkin)
    return node


@pytest.mark.parametrize(
    ("checkin", "digest", "weight"),
    [("snapshot", model("b", 1), 1), ("inactive", model("b", 1), 0), ("active", merged(0), 1)],
)
def test_a_finished_site_contributes_by_its_check_in_mode(checkin: CheckinMode, digest: str, weight: int) -> None:
    node = closing(checkin)
    assert node.advance() == [Send(Submit(1, merged(0), checkin, digest, 1, weight))]


def test_a_finished_active_site_contributes_the_latest_result_once_it_has_it() -> None:
    node = closing("active")
    (sent,) = node.advance()
    assert isinstance(sent, Send)
    node.accept(sent.body)
    node.play.depose("sn", by_sn=True, cause="lease")
    node.play.submit("a")
    node.play.submit("b", kind="active")
    node.play.publish("a")
    assert node.advance() == [Fetch(merged(1), ("a",))]
    submit = Submit(2, merged(1), "active", merged(1), 1, 1)
    assert node.handle(Fetched(merged(1))) == [Send(submit), Deliver(merged(1))]


def test_a_finished_active_site_states_the_size_of_its_own_model_whatever_the_leader_has_stated() -> None:
    node = closing("active")
    (sent,) = node.advance()
    assert isinstance(sent, Send)
    node.accept(sent.body)
    node.play.submit("b", kind="active")
    node.play.submit("a")
    node.play.publish(size=2**53 - 1)
    node.advance()
    assert Send(Submit(2, merged(1), "active", merged(1), 1, 1)) in node.handle(Fetched(merged(1)))


def test_a_finished_active_site_that_cannot_get_the_latest_result_contributes_its_own_model() -> None:
    node = closing("active")
    node.advance()
    node.play.depose("sn", by_sn=True, cause="lease")
    node.play.submit("a")
    node.play.submit("b", kind="active")
    node.play.publish("a")
    node.advance()
    node.play.missing("b")
    assert Send(Submit(2, merged(1), "active", model("b", 1), 1, 1)) in node.advance()


def test_the_model_that_an_ml_process_closed_with_is_contributed_after_its_death() -> None:
    node = closing("snapshot")
    node.handle(MLDisconnected(clean=False))
    assert Send(Submit(1, merged(0), "snapshot", model("b", 1), 1, 1)) in node.advance()


def test_the_final_model_is_delivered_then_settled_then_the_node_finishes() -> None:
    """Delivered, answered when it cannot be void any more, and finished when nothing is under way."""
    node = closing("snapshot")
    (sent,) = node.advance()
    assert isinstance(sent, Send)
    node.accept(sent.body)
    node.play.close("a")
    node.play.submit("b", kind="snapshot")
    node.play.submit("a", kind="snapshot")
    node.play.publish("b", result="8" * 64)
    node.play.report("a")
    node.advance()
    assert node.handle(Fetched("8" * 64)) == [Deliver("8" * 64)]
    report = ReportPerformance(1, 0.5, None, 1, 1)
    assert node.handle(LOADED) == [Send(report)]
    node.play.report("b")
    assert node.advance() == []
    node.play.settle()
    assert node.advance() == [AnswerClosed()]
    assert node.handle(MLDisconnected(clean=True)) == [], "its report has no answer yet"
    assert node.accept(report) == [Finish()]
    assert node.advance() == []


def test_a_node_does_not_finish_before_all_hold_the_final_model() -> None:
    play = Play("a", "b", "c")
    for uid in ("a", "b", "c"):
        play.close(uid)
    play.submit("a", "b", "c", kind="snapshot")
    play.publish()
    play.report("b")
    node = Node(play, "b", held=[merged(0)])
    node.handle(SessionRequested(SESSION))
    node.refuse(SESSION, "training-over")
    node.handle(MLDisconnected(clean=False))
    assert node.advance() == []
    play.set_attendance("c", "ml-lost")
    assert node.advance() == []
    play.settle()
    assert node.advance() == [Finish()]


def test_a_node_that_has_ended_stays_for_members_that_have_come_back_without_the_final_model() -> None:
    play = Play("a", "b", "c")
    for uid in ("a", "b", "c"):
        play.close(uid)
    play.submit("a", "b", "c", kind="snapshot")
    play.set_attendance("c", "lost")
    play.publish()
    play.report("b")
    node = Node(play, "b", held=[merged(0)])
    node.handle(SessionRequested(SESSION))
    node.refuse(SESSION, "training-over")
    node.handle(MLDisconnected(clean=False))
    play.settle()
    play.set_attendance("c", "present")
    assert node.advance() == []
    play.report("c")
    assert node.advance() == [Finish()]


def all_but_c_hold_it() -> Node:
    """The node `b` of an ended training, whose ML process is gone; `c` is there and never reports that it holds the
    final model."""
    play = Play("a", "b", "c")
    for uid in ("a", "b", "c"):
        play.close(uid)
    play.submit("a", "b", "c", kind="snapshot")
    play.publish()
    play.report("a", "b")
    node = Node(play, "b", held=[merged(0)])
    node.handle(SessionRequested(SESSION))
    node.refuse(SESSION, "training-over")
    node.handle(MLDisconnected(clean=False))
    return node


def test_a_node_reports_that_it_waits_no_longer_for_members_without_the_final_model_after_a_long_time() -> None:
    node = all_but_c_hold_it()
    assert node.advance() == []
    assert node.seconds("settle") == [600.0]
    assert node.fire("settle") == [Send(Settle(0))]
    node.play.settle("b", "a")
    assert node.advance() == [], "its report has no answer yet"
    assert node.accept(Settle(0)) == [Finish()]


def test_a_node_that_holds_no_final_model_never_reports_that_it_waits_no_longer() -> None:
    node = all_but_c_hold_it()
    node.play.missing("b")
    node.advance()
    assert node.fire("settle") == []


def test_a_node_waits_only_for_a_long_time_for_members_that_came_back_after_the_end() -> None:
    node = all_but_c_hold_it()
    node.play.set_attendance("c", "lost")
    node.play.settle()
    node.play.set_attendance("c", "present")
    assert node.advance() == []
    assert node.fire("finish") == [Finish()]


def test_an_ml_process_whose_node_comes_back_after_all_others_have_ended_fails_with_the_reason() -> None:
    node = submitted("c", "a", "b", "c")
    play = node.play
    for uid in ("a", "b"):
        play.close(uid)
    play.set_attendance("c", "lost")
    play.publish()
    play.report("a", "b")
    play.settle()
    for uid in ("a", "b"):
        play.set_attendance(uid, "left")
    play.set_attendance("c", "present")
    (failed,) = node.advance()
    assert isinstance(failed, Fail)
    assert (failed.text, failed.over) == (MISSED_THE_END, True)
    assert node.handle(MLDisconnected(clean=False)) == [Finish()]


def test_an_ml_process_does_not_wait_for_ever_for_a_final_model_that_only_false_holders_claim_to_have() -> None:
    """The others have ended without it, since it could not store the model for long (seed 30005634)."""
    node = submitted("c", "a", "b", "c")
    play = node.play
    play.open("x")
    for uid in ("a", "b"):
        play.close(uid)
    play.publish()
    play.report("a", "b")
    play.missing("c", lasting=True)
    play.report("x")
    play.settle()
    for uid in ("a", "b"):
        play.set_attendance(uid, "left")
    fetch = Fetch(merged(0), ("a", "b", "x"))
    assert fetch in node.advance()
    node.handle(FetchFailed(merged(0), "gone"))
    assert fetch in node.fire("retry"), "it is tried again"
    assert node.seconds("missed") == [600.0]
    failed = [each for each in node.fire("missed") if isinstance(each, Fail)]
    assert [(each.text, each.over) for each in failed] == [(MISSED_THE_END, True)]


def test_an_ml_process_that_still_trains_learns_at_its_next_sync_that_training_is_over() -> None:
    node = served("c", "a", "b", "c")
    for uid in ("a", "b"):
        node.play.close(uid)
        node.play.submit(uid, kind="snapshot")
    node.play.freeze("b")
    node.play.publish("b")
    node.play.report("a")
    node.advance()
    assert Send(ReportPerformance(1, None, None, 1, 1, loaded=False)) in node.handle(Fetched(merged(1)))
    assert node.hand_over(1) == [Deliver(merged(1))]
    assert AnswerSynced(8, True) not in node.handle(LOADED)
    node.play.report("b", "c")
    node.play.settle()
    assert node.advance() == [AnswerSynced(8, True)]
    assert node.hand_over(2, closing=True) == [AnswerClosed()]
