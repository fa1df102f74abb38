"""The submissions of one round machine: the model that was handed over, or that carried over to a newer result."""

import pytest

from support.play import Play, merged, model
from support.roundnode import LOADED, SESSION, Node, joined, served, submit_of, submitted, waiting_of
from swarmlearning.ledger.bodies import (
    Missing,
    ReportPerformance,
    Submit,
)
from swarmlearning.ledger.codes import Code
from swarmlearning.rounds.events import (
    AnswerOpened,
    AnswerSynced,
    Cancel,
    Carried,
    Carry,
    ChainAdvanced,
    Deliver,
    Dropped,
    Fail,
    Fetch,
    Fetched,
    FetchFailed,
    MLDisconnected,
    Refused,
    Send,
    SessionRequested,
)


def test_a_model_is_submitted_once() -> None:
    node = joined("b")
    submit = submit_of("b", 0)
    assert node.hand_over() == [Send(submit)]
    assert node.advance() == []
    assert node.accept(submit) == []
    node.play.submit("b")
    assert node.advance() == []


def test_a_model_is_submitted_when_the_round_opens() -> None:
    node = joined("b", "b", min_peers=2)
    assert node.hand_over() == []
    node.play.open("a")
    assert node.advance() == [Send(submit_of("b", 0))]


OUTDATED = (Code.EXPIRED, Code.FORMER_RUN)


@pytest.mark.parametrize("code", [code for code in Code if code.transient and code not in OUTDATED])
def test_a_submission_refused_with_a_transient_code_is_sent_again_after_the_next_block(code: str) -> None:
    node = joined("b")
    submit = submit_of("b", 0)
    node.hand_over()
    assert node.refuse(submit, code) == []
    assert node.advance() == [Send(submit)]


def test_a_submission_refused_on_a_known_state_is_not_sent_again_before_the_next_block() -> None:
    node = joined("b")
    node.hand_over()
    submit = submit_of("b", 0)
    assert node.handle(Refused(submit, "other-round", "", node.height)) == []
    assert node.advance() == [Send(submit)]


def test_a_submission_refused_on_an_older_state_is_sent_again_soon_even_without_another_block() -> None:
    node = joined("b")
    node.advance()
    node.hand_over()
    submit = submit_of("b", 0)
    assert node.handle(Refused(submit, "other-round", "", node.height - 1)) == []
    assert node.fire("retry") == [Send(submit)]
    assert node.handle(Refused(submit, "other-round", "", node.height - 1)) == []
    assert node.seconds("retry") == [0.1, 0.2]


@pytest.mark.parametrize("code", OUTDATED)
def test_a_submission_refused_as_written_too_long_ago_is_written_anew_even_without_another_block(code: str) -> None:
    node = joined("b")
    node.hand_over()
    assert node.handle(Refused(submit_of("b", 0), code, "", node.height)) == []
    assert node.fire("retry") == [Send(submit_of("b", 0))]


@pytest.mark.parametrize("code", ["untrusted", "other-chain", "revoked"])
def test_a_submission_refused_for_good_ends_the_ml_process_with_the_reason(code: str) -> None:
    node = joined("b")
    node.hand_over()
    assert node.refuse(submit_of("b", 0), code) == [Fail(f"the reason ({code})")]


def test_a_state_that_arrives_after_a_newer_one_changes_nothing() -> None:
    node = joined("b")
    old = ChainAdvanced(Play("b").state, node.height - 1, 0)
    node.hand_over()
    node.play.submit("b")
    node.advance()
    assert node.handle(old) == []
    assert waiting_of(node) == node.play.text


def test_a_model_is_submitted_with_the_result_that_it_was_trained_from() -> None:
    node = served("b")
    assert node.hand_over(1) == [Send(submit_of("b", 1, merged(0)))]


def straggler() -> Node:
    """`d` has handed over what it trained from result 0, when result 1 has come without it and is in its store."""
    node = served("d", "a", "b", "c", "d")
    node.play.submit("a", "b", "c")
    node.play.freeze(stragglers=("d",))
    node.play.publish()
    node.advance()
    assert node.handle(Fetched(merged(1))) == [Send(ReportPerformance(1, None, None, 1, 1, loaded=False))]
    assert node.hand_over(1) == [Carry(model("d", 1), merged(0), merged(1), 1)]
    return node


CARRIED = "c" * 64


def test_a_model_trained_from_an_older_result_is_carried_over_and_submitted() -> None:
    node = straggler()
    submit = Submit(2, merged(1), "carried", CARRIED, 1, 1)
    assert node.handle(Carried(model("d", 1), merged(1), CARRIED, 1)) == [Send(submit)]
    assert node.advance() == []
    node.accept(submit)
    node.play.submit("d", kind="carried", digest=CARRIED)
    node.play.submit("a", "b", "c")
    node.play.publish()
    node.advance()
    assert node.handle(Fetched(merged(2))) == [Deliver(merged(2))]


def test_a_carried_over_model_that_is_late_again_is_carried_over_to_the_next_result() -> None:
    node = straggler()
    node.play.submit("a", "b", "c")
    assert node.play.frozen
    node.play.publish()
    node.advance()
    assert node.handle(Carried(model("d", 1), merged(1), CARRIED, 1)) == []
    assert node.handle(Fetched(merged(2)))[0] == Carry(model("d", 1), merged(0), merged(2), 2)


@pytest.mark.parametrize("last_seen", [1, 2])
def test_a_model_that_a_repeated_round_has_merged_is_not_carried_over(last_seen: int) -> None:
    """Its first result was made without it, and void; its second was made with it, and may have been skipped."""
    node = served("d", "a", "b", "c", "d")
    play = node.play
    assert node.hand_over(1) == [Send(submit_of("d", 1, merged(0)))]
    play.submit("a", "b", "c")
    play.freeze(stragglers=("d",))
    play.publish()
    node.advance()
    assert node.handle(FetchFailed(merged(1), "gone")) == [Send(Missing(1))]
    play.missing("a", "b", "c", "d")
    play.void(1)
    play.submit("a", "b", "c", "d")
    play.publish(result="9" * 64)
    if last_seen == 2:
        play.report("a", "b", "c", number=1)
        play.submit("a", "b", "c")
        play.freeze(stragglers=("d",))
        play.publish()
    node.advance()
    assert node.handle(Fetched(play.result.digest)) == [Deliver(play.result.digest)]


def test_a_model_that_cannot_be_carried_over_or_merged_is_given_up_for_the_latest_result() -> None:
    assert straggler().handle(Carried(model("d", 1), merged(1), "", 0)) == [Deliver(merged(1))]
    node = straggler()
    node.handle(Carried(model("d", 1), merged(1), CARRIED, 1))
    node.play.submit("d", kind="carried", digest=CARRIED)
    node.play.submit("a", "b", "c")
    node.play.publish(without={"d": "non-finite"})
    node.advance()
    assert node.handle(Fetched(merged(2))) == [Deliver(merged(2))]


def test_a_straggler_without_the_model_it_trained_from_gets_the_latest_result() -> None:
    node = served("d", "a", "b", "c", "d")
    node.handle(Dropped(merged(0)))
    node.play.submit("a", "b", "c")
    node.play.freeze()
    node.play.publish()
    node.advance()
    node.hand_over(1)
    assert node.handle(Fetched(merged(1))) == [Deliver(merged(1))]


def test_a_second_result_of_the_same_round_is_delivered_too() -> None:
    node = served("b", "a", "b", "c")
    node.play.set_attendance("b", "lost")
    node.play.missing("a", "c")
    node.play.void()
    node.play.submit("a", "c")
    node.play.publish(result="9" * 64)
    node.play.set_attendance("b", "present")
    node.advance()
    assert node.hand_over(1) == []
    assert node.handle(Fetched("9" * 64)) == [Deliver("9" * 64)]


def test_when_the_result_becomes_void_the_ml_process_goes_back_to_the_model_before_it() -> None:
    node = served("b")
    node.hand_over(1)
    node.accept(submit_of("b", 1, merged(0)))
    node.play.submit("a", "b")
    node.play.publish()
    node.advance()
    node.handle(Fetched(merged(1)))
    node.handle(LOADED)
    node.hand_over(2)
    node.play.missing("a", "b")
    node.play.void()
    assert node.advance() == [Deliver(merged(0))]
    assert node.handle(LOADED) == [AnswerSynced(8, False)]
    assert node.hand_over(1) == [Send(submit_of("b", 1, merged(0)))]


def test_when_the_first_result_becomes_void_the_models_at_hand_are_submitted_to_round_0() -> None:
    node = served("b")
    node.play.missing("a", "b")
    node.play.void()
    node.advance()
    assert node.hand_over(1) == [Send(Submit(0, "", "trained", model("b", 1), 1, 1))]


def test_carrying_over_to_a_result_that_was_superseded_is_cancelled() -> None:
    node = served("b", "a", "b", "c")
    node.play.submit("a", "c")
    node.play.freeze()
    node.play.publish(result=merged(1))
    node.advance()
    node.handle(Fetched(merged(1)))
    carry = Carry(model("b", 1), merged(0), merged(1), 1)
    assert carry in node.hand_over(1)
    node.play.report("a", "c")
    node.play.submit("a", "c")
    node.play.freeze()
    node.play.publish(result=merged(2))
    assert Cancel(carry) in node.advance()


def test_the_model_at_hand_is_submitted_to_a_round_whose_base_is_lost() -> None:
    node = served("b")
    node.hand_over(1)
    node.play.submit("a", "b")
    node.play.publish()
    node.play.missing("a", "b")
    node.play.void()
    node.play.missing("a", "b", number=0)
    node.play.void(number=0)
    assert Send(submit_of("b", 1)) in node.advance()


def test_an_unreachable_member_submits_another_model_but_not_the_same_again() -> None:
    node = submitted("b")
    node.play.publish(without={"b": "unreachable"})
    assert not [action for action in node.advance() if isinstance(action, Send) and isinstance(action.body, Submit)]
    node.handle(MLDisconnected(clean=False))
    node.handle(SessionRequested(SESSION))
    assert node.accept(SESSION) == [AnswerOpened()]
    assert Send(Submit(0, "", "trained", model("b", 1), 1, 1)) in node.hand_over(1)


@pytest.mark.parametrize("closes", ["before", "after"])
def test_a_model_that_a_node_submitted_before_it_was_restarted_is_not_merged_twice(closes: str) -> None:
    """Its script hands the same model over again, before or after the round that has it closes."""
    play = served("a").play
    play.submit("a")
    node = Node(play, "a", held=[merged(0), model("a", 1)])
    node.handle(SessionRequested(SESSION, merged(0)))
    node.accept(SESSION)
    node.advance()
    if closes == "after":
        assert node.hand_over(1) == []
    play.submit("b")
    play.publish("b")
    assert node.advance() == [Fetch(merged(1), ("b",))]
    if closes == "before":
        assert node.hand_over(1) == []
    assert node.handle(Fetched(merged(1))) == [Deliver(merged(1))]
