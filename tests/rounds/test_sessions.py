"""The session of an ML process at one round machine: opened, superseded, refused, lost."""

import pytest

from support.network import session
from support.play import Play, merged
from support.roundnode import SESSION, SETTINGS, Node, joined, submitted, waiting_of
from swarmlearning.ledger.bodies import (
    Lost,
    OpenSession,
)
from swarmlearning.rounds.events import (
    Accepted,
    AnswerOpened,
    ChainAdvanced,
    Deliver,
    Fail,
    MLDisconnected,
    Send,
    SessionRequested,
)
from swarmlearning.rounds.machine import RoundMachine


def test_a_session_is_opened_once_and_answered_when_the_chain_shows_it() -> None:
    play = Play()
    node = Node(play, "a")
    assert node.handle(SessionRequested(SESSION)) == [Send(SESSION)]
    assert node.advance() == []
    assert node.accept(SESSION) == []
    play.open("a")
    assert node.advance() == [AnswerOpened()]
    assert node.advance() == []


def test_a_session_is_opened_whether_its_block_or_the_answer_of_the_sn_comes_first() -> None:
    play = Play()
    node = Node(play, "a")
    node.handle(SessionRequested(SESSION))
    play.open("a")
    assert node.advance() == []
    assert node.handle(Accepted(SESSION, node.height)) == [AnswerOpened()]


def test_the_session_of_the_next_ml_process_is_judged_anew() -> None:
    """Its model may be another; that the member is there already says nothing about it."""
    node = joined("a")
    other = session(structure="6" * 64)
    node.handle(MLDisconnected(clean=False))
    assert node.handle(SessionRequested(other)) == [Send(other)]
    assert node.refuse(other, "other-terms") == [Fail("the reason (other-terms)")]


@pytest.mark.parametrize("code", ["other-terms", "not-allowed"])
def test_a_refused_session_ends_the_ml_process_with_the_reason(code: str) -> None:
    node = Node(Play(), "a")
    node.handle(SessionRequested(SESSION))
    (failed,) = node.refuse(SESSION, code)
    assert isinstance(failed, Fail)
    assert failed.text.startswith("the reason")
    assert node.advance() == []


def test_a_site_that_comes_after_the_end_is_refused_once_the_final_result_is_settled() -> None:
    play = Play("a", "b")
    for uid in ("a", "b"):
        play.close(uid)
    play.submit("a", "b", kind="snapshot")
    node = Node(play, "c")
    assert node.handle(SessionRequested(SESSION)) == [Send(SESSION)]
    play.publish()
    assert node.refuse(SESSION, "training-over") == []
    assert node.advance() == []
    play.report("b")
    play.settle()
    (failed,) = node.advance()
    assert isinstance(failed, Fail)
    assert failed.over
    assert "swarm contract reset" in failed.text


def test_a_site_that_comes_after_the_end_is_refused_when_no_member_is_left_to_settle_the_result() -> None:
    play = Play("a", "b")
    for uid in ("a", "b"):
        play.close(uid)
    play.submit("a", "b", kind="snapshot")
    play.publish()
    node = Node(play, "c")
    node.handle(SessionRequested(SESSION))
    play.set_attendance("a", "left")
    assert node.advance() == [], "b may still miss the result, which is void then"
    play.set_attendance("b", "lost")
    (failed,) = node.advance()
    assert isinstance(failed, Fail)
    assert failed.over
    assert "swarm contract reset" in failed.text


def test_the_session_of_an_ml_process_that_tries_again_is_sent_at_once() -> None:
    """Without waiting for a block, that may never come."""
    node = Node(Play(), "a")
    node.handle(SessionRequested(SESSION))
    node.refuse(SESSION, "other-terms")
    node.handle(MLDisconnected(clean=False))
    assert node.handle(SessionRequested(SESSION)) == [Send(SESSION)]


def test_an_ml_process_that_leaves_is_reported_lost_once() -> None:
    node = joined("a")
    lost = Lost("a", 1)
    assert node.handle(MLDisconnected(clean=False)) == [Send(lost)]
    assert node.advance() == []
    node.accept(lost)
    node.play.set_attendance("a", "ml-lost")
    assert node.advance() == []
    assert node.handle(SessionRequested(SESSION)) == [Send(SESSION)]


def test_a_session_that_a_late_report_of_the_last_ml_process_closed_is_opened_again() -> None:
    node = joined("a")
    node.play.set_attendance("a", "ml-lost")
    assert node.advance() == [Send(SESSION)]
    node = joined("a")
    node.play.close("a")
    assert node.advance() == [Send(SESSION)]


def test_a_session_that_a_late_report_closed_ends_with_the_final_model_once_that_is_settled() -> None:
    """No session is opened any more, but this one was; it ends with the final model."""
    play = Play("a", "b")
    for uid in ("a", "b"):
        play.close(uid)
    play.submit("a", "b", kind="snapshot")
    play.publish()
    play.set_attendance("b", "ml-lost")
    node = Node(play, "b", held=[merged(0)])
    assert Send(SESSION) in node.handle(SessionRequested(SESSION))
    node.accept(SESSION)
    play.open("b")
    play.set_attendance("b", "ml-lost")
    play.settle()
    assert AnswerOpened() in node.advance()
    assert node.hand_over() == [Deliver(merged(0))]


def test_a_node_that_counts_as_lost_sends_nothing_until_it_is_present_again() -> None:
    node = joined("a")
    node.play.set_attendance("a", "lost")
    assert node.advance() == []


def test_a_session_of_an_earlier_incarnation_is_opened_anew() -> None:
    play = Play("a", "b")
    machine = RoundMachine("a", 2, play.state, SETTINGS)
    assert machine.handle(ChainAdvanced(play.state, 1, 0), 0.0) == []
    assert machine.handle(SessionRequested(SESSION), 0.0) == [Send(SESSION)]


def test_after_a_reset_the_ml_process_ends_with_the_reason() -> None:
    node = submitted("a")
    node.play.reset(forced=True)
    (failed,) = node.advance()
    assert isinstance(failed, Fail)
    assert not failed.over, "another start takes part in the next run"
    assert "reset by an operator" in failed.text
    node.handle(MLDisconnected(clean=False))
    assert node.handle(SessionRequested(SESSION)) == [Send(SESSION)]


def test_an_ml_process_that_waits_can_be_shown_for_whom() -> None:
    play = Play("b")
    node = Node(play, "a")
    assert node.machine.waiting is None
    node.handle(SessionRequested(SESSION))
    assert waiting_of(node) == "1 of 2 sessions of contract contract are open; round 0 waits for 1 more"
    play.open("a")
    node.accept(SESSION)
    node.advance()
    assert node.machine.waiting is None
    node.hand_over()
    assert waiting_of(node) == play.text
    node.handle(MLDisconnected(clean=False))
    assert node.machine.waiting is None


def test_a_session_that_may_not_lead_is_sent_unchanged() -> None:
    asked = session(may_lead=False, weightage=9)
    assert isinstance(asked, OpenSession)
    assert Node(Play(), "a").handle(SessionRequested(asked)) == [Send(asked)]


def test_a_refusal_of_the_session_before_does_not_end_the_one_that_is_requested_now() -> None:
    node = Node(Play(), "a")
    wrong, corrected = session(min_peers=3), session(min_peers=2)
    node.handle(SessionRequested(wrong))
    node.handle(MLDisconnected(False))
    assert Send(corrected) in node.handle(SessionRequested(corrected))
    assert node.refuse(wrong, "other-terms") == []
    (failed,) = node.refuse(corrected, "other-terms")
    assert isinstance(failed, Fail)
