"""One round machine: what it asks for after each event. The others are played by hand."""

from collections.abc import Iterable

import pytest

from support.network import session
from support.play import Play, merged, model, receipt_of
from swarmlearning.choices import CheckinMode
from swarmlearning.ledger.bodies import (
    CloseSession,
    Depose,
    Exclusion,
    Freeze,
    Lost,
    Missing,
    OpenSession,
    Progress,
    Publish,
    ReportPerformance,
    Submit,
    TrainingBody,
)
from swarmlearning.ledger.codes import Code
from swarmlearning.rounds.events import (
    Accepted,
    Action,
    AnswerClosed,
    AnswerOpened,
    AnswerSynced,
    Cancel,
    Carried,
    Carry,
    ChainAdvanced,
    Deliver,
    DeliveryFailed,
    Dropped,
    Evaluated,
    Event,
    Fail,
    Fetch,
    Fetched,
    FetchFailed,
    Finish,
    Keep,
    LocalFailure,
    Merge,
    Merged,
    MLDisconnected,
    ModelReceived,
    Refused,
    Send,
    SessionRequested,
    SetTimer,
    Timer,
    TimerFired,
    Verify,
)
from swarmlearning.rounds.machine import MISSED_THE_END, RoundMachine
from swarmlearning.rounds.settings import RoundSettings
from swarmlearning.views.render import waiting_text

SESSION = session()
LOADED = Evaluated(0.5, None, 1, 1)
SETTINGS = RoundSettings(make_me_admin=True, full_quorum_seconds=30.0, leader_failure_seconds=600.0, initial="merged")


class Node:
    """The machine of `uid` in a training that others play."""

    def __init__(self, play: Play, uid: str, held: Iterable[str] = ()) -> None:
        self.play = play
        self.uid = uid
        self.height = 0
        self.now = 0.0
        self.wakes: list[SetTimer] = []
        self.machine = RoundMachine(uid, 1, play.state, SETTINGS, held)

    def tell(self, event: Event) -> list[Action]:
        """What it asks for; what is to be kept is left out, and wake-ups are noted apart."""
        actions = self.machine.handle(event, self.now)
        self.wakes += [action for action in actions if isinstance(action, SetTimer)]
        return [action for action in actions if not isinstance(action, Keep | SetTimer)]

    def show(self, spoke: int = 0) -> list[Action]:
        """The chain has advanced to the present state; its leader `spoke` last at this height."""
        self.height += 1
        return self.tell(ChainAdvanced(self.play.state, self.height, spoke))

    def wake(self, purpose: str, moved: int = 0) -> list[Action]:
        """The newest time of this purpose is over."""
        newest = [wake.timer for wake in self.wakes if wake.timer.purpose == purpose][-1]
        return self.tell(TimerFired(newest, moved))

    def accept(self, body: TrainingBody | Lost) -> list[Action]:
        """The next block has what it said."""
        return self.tell(Accepted(body, self.height + 1))

    def refuse(self, body: TrainingBody | Lost, code: str) -> list[Action]:
        return self.tell(Refused(body, code, "the reason", self.height + 1))

    def hand(self, number: int = 0, closing: bool = False) -> list[Action]:
        return self.tell(ModelReceived(model(self.uid, number), 1, closing))


def told(node: Node) -> str:
    """What its ML process is told that it waits for, empty while it does not."""
    return waiting_text(node.machine.waiting, {}) if node.machine.waiting else ""


def joined(uid: str, *members: str, min_peers: int = 2) -> Node:
    """The node has opened its session among these."""
    node = Node(Play(min_peers=min_peers), uid)
    node.tell(SessionRequested(SESSION))
    for member in members or ("a", "b"):
        node.play.open(member)
    node.accept(SESSION)
    assert node.show() == [AnswerOpened()]
    return node


def submitted(uid: str, *members: str, min_peers: int = 2) -> Node:
    """It has handed in its model for round 0 too, as all others."""
    node = joined(uid, *members, min_peers=min_peers)
    (sent,) = [action for action in node.hand() if isinstance(action, Send)]
    node.accept(sent.body)
    node.play.submit(*node.play.state.members)
    return node


def served(uid: str, *members: str) -> Node:
    """It has loaded the result of round 0 and trains on, as all others."""
    node = submitted(uid, *members)
    node.play.publish()
    node.show()
    node.tell(Fetched(merged(0)))
    (sent,) = [action for action in node.tell(LOADED) if isinstance(action, Send)]
    node.accept(sent.body)
    node.play.report(*node.play.state.members)
    node.show()
    return node


def submit_of(uid: str, number: int, base: str = "") -> Submit:
    return Submit(number, base, "trained", model(uid, number), 1, 1)


# --- the session ----------------------------------------------------------------------------------------------------


def test_a_session_is_opened_once_and_answered_when_the_chain_shows_it() -> None:
    play = Play()
    node = Node(play, "a")
    assert node.tell(SessionRequested(SESSION)) == [Send(SESSION)]
    assert node.show() == []
    assert node.accept(SESSION) == []
    play.open("a")
    assert node.show() == [AnswerOpened()]
    assert node.show() == []


def test_it_is_no_matter_whether_the_block_or_the_answer_comes_first() -> None:
    play = Play()
    node = Node(play, "a")
    node.tell(SessionRequested(SESSION))
    play.open("a")
    assert node.show() == []
    assert node.tell(Accepted(SESSION, node.height)) == [AnswerOpened()]


def test_the_next_ml_process_has_its_own_session_judged() -> None:
    """Its model may be another; that the member is there already says nothing about it."""
    node = joined("a")
    other = session(structure="6" * 64)
    node.tell(MLDisconnected(well=False))
    assert node.tell(SessionRequested(other)) == [Send(other)]
    assert node.refuse(other, "other-terms") == [Fail("the reason (other-terms)")]


@pytest.mark.parametrize("code", ["other-terms", "not-allowed"])
def test_a_refused_session_ends_the_ml_process_with_the_reason(code: str) -> None:
    node = Node(Play(), "a")
    node.tell(SessionRequested(SESSION))
    (failed,) = node.refuse(SESSION, code)
    assert isinstance(failed, Fail)
    assert failed.text.startswith("the reason")
    assert node.show() == []


def test_who_comes_when_all_is_over_is_told_so_once_nothing_can_become_void_any_more() -> None:
    play = Play("a", "b")
    for uid in ("a", "b"):
        play.close(uid)
    play.submit("a", "b", kind="snapshot")
    node = Node(play, "c")
    assert node.tell(SessionRequested(SESSION)) == [Send(SESSION)]
    play.publish()
    assert node.refuse(SESSION, "training-over") == []
    assert node.show() == []
    play.report("b")
    play.settle()
    (failed,) = node.show()
    assert isinstance(failed, Fail)
    assert "swarm contract reset" in failed.text


def test_an_ml_process_that_tries_again_is_heard_at_once() -> None:
    """Without waiting for a block, that may never come."""
    node = Node(Play(), "a")
    node.tell(SessionRequested(SESSION))
    node.refuse(SESSION, "other-terms")
    node.tell(MLDisconnected(well=False))
    assert node.tell(SessionRequested(SESSION)) == [Send(SESSION)]


def test_an_ml_process_that_leaves_is_reported_once() -> None:
    node = joined("a")
    lost = Lost("a", 1)
    assert node.tell(MLDisconnected(well=False)) == [Send(lost)]
    assert node.show() == []
    node.accept(lost)
    node.play.set_attendance("a", "ml-lost")
    assert node.show() == []
    assert node.tell(SessionRequested(SESSION)) == [Send(SESSION)]


def test_a_word_of_the_last_ml_process_that_comes_late_is_made_good() -> None:
    node = joined("a")
    node.play.set_attendance("a", "ml-lost")
    assert node.show() == [Send(SESSION)]
    node = joined("a")
    node.play.close("a")
    assert node.show() == [Send(SESSION)]


def test_such_a_word_is_no_matter_once_the_final_result_is_settled() -> None:
    """No session is opened any more, but this one was; it ends with the final model."""
    play = Play("a", "b")
    for uid in ("a", "b"):
        play.close(uid)
    play.submit("a", "b", kind="snapshot")
    play.publish()
    play.set_attendance("b", "ml-lost")
    node = Node(play, "b", held=[merged(0)])
    assert Send(SESSION) in node.tell(SessionRequested(SESSION))
    node.accept(SESSION)
    play.open("b")
    play.set_attendance("b", "ml-lost")
    play.settle()
    assert AnswerOpened() in node.show()
    assert node.hand() == [Deliver(merged(0))]


def test_a_lost_node_waits_to_be_heard_again() -> None:
    node = joined("a")
    node.play.set_attendance("a", "lost")
    assert node.show() == []


def test_a_session_of_an_earlier_incarnation_is_none() -> None:
    play = Play("a", "b")
    machine = RoundMachine("a", 2, play.state, SETTINGS)
    assert machine.handle(ChainAdvanced(play.state, 1, 0), 0.0) == []
    assert machine.handle(SessionRequested(SESSION), 0.0) == [Send(SESSION)]


def test_after_a_reset_the_ml_process_ends_with_the_reason() -> None:
    node = submitted("a")
    node.play.reset(forced=True)
    (failed,) = node.show()
    assert isinstance(failed, Fail)
    assert "reset by an operator" in failed.text
    node.tell(MLDisconnected(well=False))
    assert node.tell(SessionRequested(SESSION)) == [Send(SESSION)]


# --- handing in -----------------------------------------------------------------------------------------------------


def test_a_model_is_submitted_once() -> None:
    node = joined("b")
    submit = submit_of("b", 0)
    assert node.hand() == [Send(submit)]
    assert node.show() == []
    assert node.accept(submit) == []
    node.play.submit("b")
    assert node.show() == []


def test_it_waits_for_the_round_to_open() -> None:
    node = joined("b", "b", min_peers=2)
    assert node.hand() == []
    node.play.open("a")
    assert node.show() == [Send(submit_of("b", 0))]


@pytest.mark.parametrize("code", [code for code in Code if code.transient])
def test_a_refusal_in_passing_ends_nothing_and_the_next_block_shows_what_to_do(code: str) -> None:
    node = joined("b")
    submit = submit_of("b", 0)
    node.hand()
    assert node.refuse(submit, code) == []
    assert node.show() == [Send(submit)]


def test_a_refusal_on_a_state_that_was_seen_already_is_not_answered_by_the_same_again() -> None:
    node = joined("b")
    node.hand()
    submit = submit_of("b", 0)
    assert node.tell(Refused(submit, "other-round", "", node.height)) == []
    assert node.show() == [Send(submit)]


def test_a_refusal_on_an_older_state_is_answered_soon_even_without_another_block() -> None:
    node = joined("b")
    node.show()
    node.hand()
    submit = submit_of("b", 0)
    assert node.tell(Refused(submit, "other-round", "", node.height - 1)) == []
    assert node.wake("retry") == [Send(submit)]
    assert node.tell(Refused(submit, "other-round", "", node.height - 1)) == []
    assert [wake.seconds for wake in node.wakes if wake.timer.purpose == "retry"] == [0.1, 0.2]


@pytest.mark.parametrize("code", ["untrusted", "other-chain", "revoked"])
def test_any_other_refusal_ends_the_ml_process_with_the_reason(code: str) -> None:
    node = joined("b")
    node.hand()
    assert node.refuse(submit_of("b", 0), code) == [Fail(f"the reason ({code})")]


def test_a_state_that_is_told_late_changes_nothing() -> None:
    node = joined("b")
    old = ChainAdvanced(Play("b").state, node.height - 1, 0)
    node.hand()
    node.play.submit("b")
    node.show()
    assert node.tell(old) == []
    assert told(node) == node.play.text


def test_the_next_model_says_what_it_was_trained_from() -> None:
    node = served("b")
    assert node.hand(1) == [Send(submit_of("b", 1, merged(0)))]


def straggler() -> Node:
    """`d` has handed over what it trained from result 0, when result 1 has come without it and is in its store."""
    node = served("d", "a", "b", "c", "d")
    node.play.submit("a", "b", "c")
    node.play.freeze(stragglers=("d",))
    node.play.publish()
    node.show()
    assert node.tell(Fetched(merged(1))) == [Send(ReportPerformance(1, None, None, 1, 1, loaded=False))]
    assert node.hand(1) == [Carry(model("d", 1), merged(0), merged(1), 1)]
    return node


CARRIED = "c" * 64


def test_what_was_trained_from_an_older_model_is_carried_over_and_submitted() -> None:
    node = straggler()
    submit = Submit(2, merged(1), "carried", CARRIED, 1, 1)
    assert node.tell(Carried(model("d", 1), merged(1), CARRIED, 1)) == [Send(submit)]
    assert node.show() == []
    node.accept(submit)
    node.play.submit("d", kind="carried", digest=CARRIED)
    node.play.submit("a", "b", "c")
    node.play.publish()
    node.show()
    assert node.tell(Fetched(merged(2))) == [Deliver(merged(2))]


def test_it_is_carried_over_anew_when_it_comes_too_late_again() -> None:
    node = straggler()
    node.play.submit("a", "b", "c")
    assert node.play.frozen
    node.play.publish()
    node.show()
    assert node.tell(Carried(model("d", 1), merged(1), CARRIED, 1)) == []
    assert node.tell(Fetched(merged(2)))[0] == Carry(model("d", 1), merged(0), merged(2), 2)


@pytest.mark.parametrize("last_seen", [1, 2])
def test_what_a_round_has_taken_that_was_collected_again_is_not_carried_over(last_seen: int) -> None:
    """Its first result was made without it, and void; its second was made with it, and may have been skipped."""
    node = served("d", "a", "b", "c", "d")
    play = node.play
    assert node.hand(1) == [Send(submit_of("d", 1, merged(0)))]
    play.submit("a", "b", "c")
    play.freeze(stragglers=("d",))
    play.publish()
    node.show()
    assert node.tell(FetchFailed(merged(1), "gone")) == [Send(Missing(1))]
    play.missing("a", "b", "c", "d")
    play.void(1)
    play.submit("a", "b", "c", "d")
    play.publish(result="9" * 64)
    if last_seen == 2:
        play.report("a", "b", "c", number=1)
        play.submit("a", "b", "c")
        play.freeze(stragglers=("d",))
        play.publish()
    node.show()
    assert node.tell(Fetched(play.result.digest)) == [Deliver(play.result.digest)]


def test_what_cannot_be_carried_over_or_is_unusable_is_given_up_for_the_latest_model() -> None:
    assert straggler().tell(Carried(model("d", 1), merged(1), "", 0)) == [Deliver(merged(1))]
    node = straggler()
    node.tell(Carried(model("d", 1), merged(1), CARRIED, 1))
    node.play.submit("d", kind="carried", digest=CARRIED)
    node.play.submit("a", "b", "c")
    node.play.publish(without={"d": "non-finite"})
    node.show()
    assert node.tell(Fetched(merged(2))) == [Deliver(merged(2))]


def test_a_straggler_whose_model_before_is_gone_takes_the_latest() -> None:
    node = served("d", "a", "b", "c", "d")
    node.tell(Dropped(merged(0)))
    node.play.submit("a", "b", "c")
    node.play.freeze()
    node.play.publish()
    node.show()
    node.hand(1)
    assert node.tell(Fetched(merged(1))) == [Deliver(merged(1))]


def test_a_result_of_the_same_round_that_was_made_again_is_another_model() -> None:
    node = served("b", "a", "b", "c")
    node.play.set_attendance("b", "lost")
    node.play.missing("a", "c")
    node.play.void()
    node.play.submit("a", "c")
    node.play.publish(result="9" * 64)
    node.play.set_attendance("b", "present")
    node.show()
    assert node.hand(1) == []
    assert node.tell(Fetched("9" * 64)) == [Deliver("9" * 64)]


def test_without_a_result_any_more_the_ml_process_goes_back_to_the_model_before() -> None:
    node = served("b")
    node.hand(1)
    node.accept(submit_of("b", 1, merged(0)))
    node.play.submit("a", "b")
    node.play.publish()
    node.show()
    node.tell(Fetched(merged(1)))
    node.tell(LOADED)
    node.hand(2)
    node.play.missing("a", "b")
    node.play.void()
    assert node.show() == [Deliver(merged(0))]
    assert node.tell(LOADED) == [AnswerSynced(8, False)]
    assert node.hand(1) == [Send(submit_of("b", 1, merged(0)))]


def test_in_round_0_again_it_hands_in_what_it_has() -> None:
    node = served("b")
    node.play.missing("a", "b")
    node.play.void()
    node.show()
    assert node.hand(1) == [Send(Submit(0, "", "trained", model("b", 1), 1, 1))]


# --- a new result ---------------------------------------------------------------------------------------------------


def test_a_result_is_fetched_from_its_leader_first_and_delivered() -> None:
    node = submitted("a", "a", "b", "c")
    for _ in range(2):
        node.play.depose("sn", by_sn=True, cause="lease")
    node.play.publish("c")
    node.play.report("b")
    fetch = Fetch(merged(0), ("c", "b"))
    assert node.show() == [fetch]
    assert node.show() == []
    assert node.tell(Fetched(merged(0))) == [Deliver(merged(0))]
    report = ReportPerformance(0, 0.5, None, 1, 1)
    assert node.tell(LOADED) == [Send(report), AnswerSynced(8, False)]
    assert node.tell(LOADED) == []


def test_a_result_that_is_in_the_store_is_not_fetched() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    node = Node(play, "b", held=[merged(0)])
    node.tell(SessionRequested(SESSION))
    node.accept(SESSION)
    node.show()
    assert node.hand() == [Deliver(merged(0))]


@pytest.mark.parametrize(("holds", "goes_on"), [(merged(0), True), (merged(7), False), ("", False)])
def test_an_ml_process_that_trains_from_the_result_contributes_to_a_restarted_node(holds: str, goes_on: bool) -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    node = Node(play, "b", held=[merged(0)])
    node.tell(SessionRequested(SESSION, holds))
    play.open("b")
    assert node.accept(SESSION) == [AnswerOpened()]
    node.show()
    submit = Submit(1, merged(0), "trained", model("b", 1), 1, 1)
    assert node.hand(1) == [Send(submit) if goes_on else Deliver(merged(0))]


def test_a_newcomer_that_holds_the_result_says_so() -> None:
    play = Play("a", "b")
    play.complete_round("a", "b")
    node = Node(play, "c")
    node.tell(SessionRequested(SESSION))
    play.open("c")
    node.accept(SESSION)
    assert node.show() == [AnswerOpened(), Fetch(merged(0), ("a", "b"))]
    report = ReportPerformance(0, None, None, 0, 0)
    assert node.tell(Fetched(merged(0))) == [Send(report)]


def test_nobody_has_it_is_said_once_and_it_is_asked_for_again() -> None:
    node = submitted("b")
    node.play.publish()
    fetch = Fetch(merged(0), ("a",))
    assert node.show() == [fetch]
    assert node.tell(FetchFailed(merged(0), "gone")) == [Send(Missing(0))]
    assert node.wake("retry") == [fetch]
    assert node.tell(FetchFailed(merged(0), "gone")) == []
    assert node.wake("retry") == [fetch]
    node.accept(Missing(0))
    node.play.missing("b")
    node.show()
    assert node.tell(FetchFailed(merged(0), "gone")) == []
    assert node.wake("retry") == [fetch]
    assert [wake.seconds for wake in node.wakes if wake.timer.purpose == "retry"] == [0.1, 0.2, 0.4]
    assert node.tell(Fetched(merged(0))) == [Deliver(merged(0))]


def test_new_holders_are_asked_before_anything_is_said() -> None:
    node = submitted("b", "a", "b", "c")
    node.play.publish()
    node.show()
    node.play.report("c")
    node.show()
    assert node.tell(FetchFailed(merged(0), "gone")) == []
    assert node.wake("retry") == [Fetch(merged(0), ("a", "c"))]


def test_the_last_who_had_it_says_that_it_is_gone() -> None:
    node = submitted("b")
    node.play.publish()
    node.show()
    node.tell(Fetched(merged(0)))
    node.tell(LOADED)
    node.play.report("b")
    node.play.missing("a")
    assert node.show() == [Verify(merged(0))], "is its own copy damaged?"
    assert node.show() == []
    assert node.wake("check") == [Verify(merged(0))], "it may have been damaged since"
    assert node.tell(Dropped(merged(0))) == [Send(Missing(0))]


def test_a_model_that_is_gone_when_it_should_be_delivered_is_fetched_again() -> None:
    node = submitted("b")
    node.play.publish()
    node.show()
    assert node.tell(Fetched(merged(0))) == [Deliver(merged(0))]
    assert node.tell(DeliveryFailed(merged(0))) == [Fetch(merged(0), ("a",))]
    assert node.tell(Fetched(merged(0))) == [Deliver(merged(0))]


def test_an_ml_process_is_given_one_model_at_a_time() -> None:
    """What it says of the first would else be taken for the second, which it has not loaded yet."""
    node = submitted("c", "a", "b", "c")
    node.play.publish()
    node.show()
    assert node.tell(Fetched(merged(0))) == [Deliver(merged(0))]
    assert node.tell(Dropped(merged(0))) == [Fetch(merged(0), ("a",))]
    assert node.tell(FetchFailed(merged(0), "gone")) == [Send(Missing(0))]
    node.accept(Missing(0))
    node.play.missing("a", "b", "c")
    node.play.void(0)
    node.play.submit("a", "b", "c")
    node.play.publish("b", result="9" * 64)
    assert node.show() == [Fetch("9" * 64, ("b",))]
    assert Deliver("9" * 64) not in node.tell(Fetched("9" * 64))
    assert node.tell(LOADED) == [Deliver("9" * 64)]


def test_an_adaptive_ml_process_trains_on_when_its_interval_is_known() -> None:
    play = Play()
    for uid in ("a", "b"):
        play.open(uid, adaptive=True)
    node = Node(play, "b")
    node.tell(SessionRequested(SESSION))
    node.accept(SESSION)
    node.show()
    node.hand()
    play.submit("a", "b")
    play.publish()
    node.show()
    node.tell(Fetched(merged(0)))
    assert [type(action) for action in node.tell(LOADED)] == [Send]
    play.report("b")
    assert node.show() == []
    play.report("a")
    assert node.show() == [AnswerSynced(8, False)]


def test_but_not_for_ever() -> None:
    play = Play()
    for uid in ("a", "b"):
        play.open(uid, adaptive=True)
    node = Node(play, "b")
    node.tell(SessionRequested(SESSION))
    node.accept(SESSION)
    node.show()
    node.hand()
    play.submit("a", "b")
    play.publish()
    node.show()
    node.tell(Fetched(merged(0)))
    node.tell(LOADED)
    play.report("b")
    node.show()
    assert node.wake("pace") == [AnswerSynced(8, False)]


# --- leading --------------------------------------------------------------------------------------------------------


def leading(*others: str) -> Node:
    """`a` leads round 0 and has handed in its own model; minPeers is 2."""
    node = joined("a", "a", *others)
    (sent,) = node.hand()
    assert isinstance(sent, Send)
    node.accept(sent.body)
    node.play.submit("a")
    node.show()
    return node


def merge_of(node: Node, *unusable: Exclusion, base: str = "") -> Merge:
    left_out = {part.uid for part in unusable}
    entries = tuple(entry for uid, entry in sorted(node.play.round.submissions.items()) if uid not in left_out)
    return Merge(node.play.round.number, node.play.round.term, base, entries, unusable, single=False)


def merged_by(node: Node, result: str = merged(0)) -> Merged:
    now = node.play.round
    without = {} if result else {"b": "unreachable"}
    return Merged(now.number, now.term, result, 1, receipt_of(now, without))  # type: ignore[arg-type]


def published_by(node: Node, result: str = merged(0)) -> Publish:
    done = merged_by(node, result)
    return Publish(done.round, done.term, done.result, done.size, done.receipt)


def test_a_leader_fetches_at_once_waits_for_all_then_freezes_merges_and_publishes() -> None:
    node = leading("b", "c")
    node.play.submit("b")
    assert node.show() == [Fetch(model("b", 0), ("b",))]
    assert node.show() == []
    assert node.tell(Fetched(model("b", 0))) == []
    freeze = Freeze(0, 0, ("c",))
    assert node.wake("grace") == [Send(freeze)]
    assert node.accept(freeze) == []
    node.play.freeze()
    assert node.show() == [merge_of(node)]
    assert node.show() == []
    publish = published_by(node)
    assert node.tell(merged_by(node)) == [Send(publish)]
    assert node.accept(publish) == []
    node.play.publish()
    assert node.show() == [Deliver(merged(0))]


def test_the_wait_of_another_term_is_over_for_nobody() -> None:
    node = leading("b", "c")
    node.play.submit("b")
    node.show()
    (grace,) = [wake.timer for wake in node.wakes if wake.timer.purpose == "grace"]
    for key in ((1, 0, 1), (1, 1, 0), (2, 0, 0)):
        assert node.tell(TimerFired(Timer("grace", key), 0)) == []
    assert node.tell(TimerFired(grace, 0)) == [Send(Freeze(0, 0, ("c",)))]


def test_the_merge_waits_for_every_model_with_weight() -> None:
    node = leading("b", "c")
    node.play.submit("b", "c")
    assert len(node.show()) == 2
    assert node.tell(Fetched(model("b", 0))) == []
    assert node.tell(Fetched(model("c", 0))) == [merge_of(node)]


def test_a_model_that_nobody_can_give_is_left_out() -> None:
    node = leading("b", "c")
    node.play.submit("b", "c")
    node.show()
    node.tell(Fetched(model("b", 0)))
    assert node.tell(FetchFailed(model("c", 0), "refused")) == [
        merge_of(node, Exclusion("c", "unreachable", "unreachable"))
    ]


def test_a_model_that_is_gone_when_it_should_be_merged_is_fetched_again() -> None:
    node = leading("b")
    node.play.submit("b")
    node.show()
    assert node.tell(Fetched(model("b", 0))) == [merge_of(node)]
    unwanted = Cancel(merge_of(node))
    assert node.tell(Dropped(model("b", 0))) == [unwanted, Fetch(model("b", 0), ("b",))]
    assert node.tell(Fetched(model("b", 0))) == [merge_of(node)]


@pytest.mark.parametrize("seen", [True, False])
def test_a_round_that_collects_again_is_merged_again_though_the_models_are_the_same(seen: bool) -> None:
    """Also when the state in between was not `seen`: the chain may have gone on faster."""
    node = leading("b")
    node.play.submit("b")
    node.show()
    node.tell(FetchFailed(model("b", 0), "refused"))
    publish = published_by(node, "")
    assert node.tell(merged_by(node, "")) == [Send(publish)]
    node.accept(publish)
    node.play.publish(without={"b": "unreachable"})
    if seen:
        assert node.show() == []
    else:
        node.height += 1
    node.play.depose("b")
    node.play.readdress("b")
    assert node.play.frozen
    assert node.show() == []
    assert node.wake("retry") == [Fetch(model("b", 0), ("b",))]
    assert node.tell(Fetched(model("b", 0))) == [merge_of(node)]


def test_while_a_result_is_being_published_nothing_is_fetched_or_merged() -> None:
    node = leading("b")
    node.play.submit("b")
    node.show()
    node.tell(FetchFailed(model("b", 0), "refused"))
    node.tell(merged_by(node, ""))
    assert node.show() == []


def test_a_refused_result_is_made_again_with_the_next_block() -> None:
    node = leading("b")
    node.play.submit("b")
    node.show()
    node.tell(Fetched(model("b", 0)))
    node.tell(merged_by(node))
    assert node.refuse(published_by(node), "wrong-contributors") == []
    assert node.show() == [merge_of(node)]


def test_a_merge_of_a_term_that_has_passed_is_not_published() -> None:
    node = leading("b")
    node.play.submit("b")
    node.show()
    node.tell(Fetched(model("b", 0)))
    done = merged_by(node)
    unwanted = Cancel(merge_of(node))
    node.play.depose("sn", by_sn=True, cause="lease")
    assert node.show() == [unwanted]
    assert node.tell(done) == []


def test_the_next_leader_goes_on_with_what_is_there() -> None:
    node = submitted("b")
    assert node.show() == []
    node.play.set_attendance("a", "lost")
    assert node.show() == [Fetch(model("a", 0), ("a",))]
    assert node.tell(Fetched(model("a", 0))) == [merge_of(node)]


def test_a_leader_that_fetches_the_previous_model_merges_when_it_has_it() -> None:
    node = submitted("b")
    node.play.publish()
    node.play.report("a")
    assert node.show() == [Fetch(merged(0), ("a",))]
    node.play.open("c")
    node.play.report("c", loss=None)
    node.play.submit("a", "c")
    node.play.freeze("b")
    node.show()
    for uid in ("a", "c"):
        assert node.tell(Fetched(model(uid, 1))) == []
    assert merge_of(node, base=merged(0)) in node.tell(Fetched(merged(0)))


def test_a_leader_that_got_the_previous_model_late_merges_it_where_it_is_submitted() -> None:
    node = submitted("b")
    node.play.publish()
    node.play.report("a")
    node.play.close("a", "active")
    node.play.submit("a", kind="active", digest=merged(0))
    node.play.open("c")
    node.play.submit("c")
    node.play.freeze("b")
    node.show()
    node.tell(FetchFailed(merged(0), "refused"))
    node.wake("retry")
    node.tell(Fetched(model("c", 1)))
    assert merge_of(node, base=merged(0)) in node.tell(Fetched(merged(0)))


def test_a_leader_without_the_model_that_stands_fetches_it_from_those_who_have_it() -> None:
    node = submitted("b", "a", "b", "c")
    node.play.publish("a")
    node.play.report("a", "c")
    for uid in ("a", "c"):
        node.play.close(uid, "inactive")
        node.play.submit(uid, kind="inactive")
    node.play.freeze("b")
    node.show()
    node.tell(FetchFailed(merged(0), "refused"))
    assert Fetch(merged(0), ("a", "c")) in node.wake("retry")
    stands = merged_by(node, merged(0))
    assert Send(published_by(node, merged(0))) in node.tell(stands)
    node.play.publish("b", result=merged(0))
    assert node.show() == []
    assert Deliver(merged(0)) in node.tell(Fetched(merged(0)))


def test_a_leader_does_not_fetch_from_itself() -> None:
    node = leading("b")
    node.play.submit("b")
    node.show()
    assert node.tell(Dropped(model("a", 0))) == [Fetch(model("a", 0), ())]


def test_a_leader_that_cannot_do_its_work_deposes_itself_and_tries_again_later() -> None:
    node = leading("b")
    node.play.submit("b")
    node.show()
    assert node.tell(Fetched(model("b", 0))) == [merge_of(node)]
    depose = Depose(0, 0, 1, node.height, "progress")
    assert node.tell(LocalFailure(merge_of(node), "the disk is full")) == [Send(depose)]
    assert node.show() == [], "it does not merge before its time"
    node.play.depose("a")
    node.accept(depose)
    assert node.play.leader == "b"
    node.show()
    node.play.set_attendance("b", "lost")
    assert node.play.leader == "a"
    assert node.show() == []
    assert node.wake("retry") == [merge_of(node)]


def test_a_fetch_that_a_newer_result_supersedes_is_cancelled_so_one_is_under_way_at_a_time() -> None:
    node = submitted("d", "a", "b", "c", "d")
    under_way: list[Fetch] = []
    for number in range(3):
        node.play.publish(result=merged(number))
        actions = node.show()
        fetch = Fetch(merged(number), (node.play.result.leader,))
        assert actions == [*map(Cancel, under_way), fetch]
        under_way = [fetch]
        node.play.report("a", "b")
        node.play.submit("a", "b")
        node.play.freeze()


def test_a_failure_of_a_superseded_fetch_does_not_depose_the_leader_and_changes_nothing() -> None:
    node = submitted("b", "a", "b", "c")
    node.play.publish()
    (stale,) = node.show()
    node.play.report("a", "c")
    node.play.submit("a", "c")
    node.play.freeze()
    node.play.publish(result=merged(1))
    assert node.play.leader == "c"
    node.play.depose("c")
    assert node.play.leader == "a"
    node.play.depose("a")
    assert node.play.leader == "b"
    assert isinstance(stale, Fetch)
    assert Cancel(stale) in node.show()
    assert node.tell(LocalFailure(stale, "the disk is full")) == []


def test_a_leader_that_cannot_store_the_standing_result_is_not_deposed_for_that() -> None:
    node = submitted("b", "a", "b", "c")
    node.play.publish()
    assert node.play.leader == "b"
    (fetch,) = node.show()
    assert isinstance(fetch, Fetch)
    assert node.tell(LocalFailure(fetch, "the disk is full")) == [Send(Missing(0))]


def test_a_leader_that_cannot_store_a_contribution_deposes_itself() -> None:
    node = leading("b")
    node.play.submit("b")
    (fetch,) = node.show()
    assert isinstance(fetch, Fetch)
    assert node.tell(LocalFailure(fetch, "the disk is full")) == [Send(Depose(0, 0, 1, node.height, "progress"))]


def test_a_merge_that_can_never_succeed_ends_the_ml_process_with_the_reason() -> None:
    node = leading("b")
    node.play.submit("b")
    node.show()
    (merge,) = node.tell(Fetched(model("b", 0)))
    assert isinstance(merge, Merge)
    actions = node.tell(LocalFailure(merge, "tensor w is F8_E4M3, which cannot be merged", permanent=True))
    assert Fail("tensor w is F8_E4M3, which cannot be merged") in actions
    assert Send(Depose(0, 0, 1, node.height, "progress")) in actions


def test_carrying_over_to_a_result_that_was_superseded_is_cancelled() -> None:
    node = served("b", "a", "b", "c")
    node.play.submit("a", "c")
    node.play.freeze()
    node.play.publish(result=merged(1))
    node.show()
    node.tell(Fetched(merged(1)))
    carry = Carry(model("b", 1), merged(0), merged(1), 1)
    assert carry in node.hand(1)
    node.play.report("a", "c")
    node.play.submit("a", "c")
    node.play.freeze()
    node.play.publish(result=merged(2))
    assert Cancel(carry) in node.show()


def test_a_leader_at_work_says_so_as_long_as_bytes_move() -> None:
    node = leading("b")
    node.play.submit("b")
    node.show()
    node.tell(Fetched(model("b", 0)))
    assert node.wake("progress", moved=10) == [Send(Progress(0, 0, 10))]
    node.accept(Progress(0, 0, 10))
    node.play.progress("a", moved=10)
    node.show()
    assert node.wake("progress", moved=30) == [Send(Progress(0, 0, 30))]
    node.accept(Progress(0, 0, 30))
    node.play.progress("a", moved=30)
    node.show()
    assert node.wake("progress", moved=30) == [], "nothing has moved"


def test_a_leader_that_waits_for_the_others_says_so() -> None:
    node = leading("b", "c")
    assert [wake for wake in node.wakes if wake.timer.purpose == "progress"] == [], "its round is not due"
    node.play.submit("b")
    node.show()
    assert node.wake("progress") == [Send(Progress(0, 0, 0))]


def watching() -> Node:
    """`b` is in a round that is due and led by `a`."""
    node = joined("b", "a", "b", "c")
    (sent,) = node.hand()
    assert isinstance(sent, Send)
    node.accept(sent.body)
    node.play.submit("a", "b")
    node.show(spoke=5)
    return node


def test_a_leader_that_is_quiet_for_too_long_is_reported_once() -> None:
    node = watching()
    depose = Depose(0, 0, 1, 5, "progress")
    assert node.wake("patience") == [Send(depose)]
    node.accept(depose)
    node.play.depose("b")
    assert node.show(spoke=5) == []


def test_patience_with_a_leader_begins_anew_when_it_reports_and_is_doubled_when_one_was_deposed() -> None:
    node = watching()
    (first,) = [wake.timer for wake in node.wakes if wake.timer.purpose == "patience"]
    node.show(spoke=6)
    assert node.tell(TimerFired(first, 0)) == []
    assert node.wake("patience") == [Send(Depose(0, 0, 1, 6, "progress"))]
    node.play.depose("c", "b")
    assert node.play.leader == "b"
    node.show(spoke=6)
    node.play.depose("b")
    assert node.play.leader == "c"
    node.show(spoke=6)
    assert [wake.seconds for wake in node.wakes if wake.timer.purpose == "patience"] == [30.0, 30.0, 60.0]


def test_patience_with_a_leader_is_not_longer_because_leaders_before_it_were_lost() -> None:
    node = watching()
    for _ in range(8):
        node.play.depose("sn", by_sn=True, cause="lease")
        node.show(spoke=6)
    assert {wake.seconds for wake in node.wakes if wake.timer.purpose == "patience"} == {30.0}


def test_nobody_has_patience_with_a_leader_that_has_nothing_to_do() -> None:
    node = joined("b", "a", "b", "c")
    node.hand()
    assert node.wakes == []


# --- members that nobody can fetch from ------------------------------------------------------------------------------


def without_b(*others: str) -> Node:
    """`a` leads round 0, which waits for a model of `b` that can be fetched; minPeers is 2."""
    node = leading("b", *others)
    node.play.submit("b")
    node.play.publish(without={"b": "unreachable"}) if node.play.frozen else None
    while node.play.leader != "a":
        node.play.depose(node.play.leader)
    node.show()
    return node


def test_a_leader_tells_the_ledger_nothing_while_it_tries_to_fetch_from_an_unreachable_member() -> None:
    node = without_b()
    fetch = Fetch(model("b", 0), ("b",))
    pauses = []
    for _ in range(12):
        assert node.tell(FetchFailed(model("b", 0), "refused")) == []
        pauses.append(node.wakes[-1].seconds)
        assert node.show() == []
        assert node.wake("retry") == [fetch]
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == 60.0


def test_a_leader_freezes_the_round_once_it_has_the_model_of_an_unreachable_member() -> None:
    node = without_b()
    freeze = Freeze(0, node.play.round.term, reached=("b",))
    assert node.tell(Fetched(model("b", 0))) == [Send(freeze)]
    node.accept(freeze)
    node.play.freeze(reached=("b",))
    assert node.show() == [merge_of(node)]


def test_a_leader_that_waits_for_an_unreachable_member_lets_another_try_after_its_patience() -> None:
    node = without_b()
    term = node.play.round.term
    depose = Depose(0, term, 1, node.height, "progress")
    assert node.wake("unreachable") == [Send(depose)]
    node.accept(depose)
    node.play.depose("a")
    node.play.depose(node.play.leader)
    assert node.play.leader == "a"
    node.show()
    waits = [wake.seconds for wake in node.wakes if wake.timer.purpose == "unreachable"]
    assert waits[-1] > waits[0], "longer each time"


def test_a_leader_to_which_an_unreachable_members_bytes_come_slowly_goes_on() -> None:
    node = without_b()
    assert node.wake("unreachable", moved=10) == []
    assert node.wake("unreachable", moved=20) == []
    assert [type(action) for action in node.wake("unreachable", moved=20)] == [Send]


def test_a_merge_does_not_wait_for_an_unreachable_member_when_enough_others_are_in() -> None:
    node = without_b()
    node.play.open("c")
    node.play.submit("c")
    assert node.play.frozen
    assert node.show() == [Fetch(model("c", 0), ("c",))]
    (merge,) = node.tell(Fetched(model("c", 0)))
    assert isinstance(merge, Merge)
    assert [part.uid for part in merge.unusable] == ["b"]


def test_an_unreachable_member_submits_another_model_but_not_the_same_again() -> None:
    node = submitted("b")
    node.play.publish(without={"b": "unreachable"})
    assert not [action for action in node.show() if isinstance(action, Send) and isinstance(action.body, Submit)]
    assert Send(Submit(0, "", "trained", model("b", 1), 1, 1)) in node.hand(1)


def test_a_contributor_that_takes_three_times_as_long_as_the_others_is_left_out_by_name() -> None:
    node = leading("b", "c")
    node.play.submit("b", "c")
    node.show()
    node.now = 20.0
    node.tell(Fetched(model("b", 0)))
    assert node.wakes[-1].timer.purpose == "slow"
    assert node.wakes[-1].seconds == 40.0
    node.now = 60.0
    cancel, merge = node.wake("slow")
    assert cancel == Cancel(Fetch(model("c", 0), ("c",)))
    assert isinstance(merge, Merge)
    assert [(part.uid, part.reason) for part in merge.unusable] == [("c", "too-slow")]


def test_a_contributor_that_is_needed_is_not_left_out_however_slow_it_is() -> None:
    node = leading("b")
    node.play.submit("b")
    node.show()
    assert "slow" not in {wake.timer.purpose for wake in node.wakes}


def test_a_leader_whose_merge_fails_for_long_deposes_itself_less_and_less_often() -> None:
    node = leading("b")
    node.play.submit("b")
    node.show()
    node.tell(Fetched(model("b", 0)))
    pauses = []
    for _ in range(12):
        node.tell(LocalFailure(merge_of(node), "the disk is full"))
        pauses.append(node.wakes[-1].seconds)
        node.wake("retry")
    assert pauses[-1] == 60.0


def test_a_leader_whose_last_result_nobody_could_fetch_merges_again_after_a_pause_only() -> None:
    play = Play("a")
    play.open("b", may_lead=False)
    play.submit("a", "b")
    play.publish()
    play.missing("b")
    play.missing("b", lasting=True)
    play.void()
    assert play.member("a").unreachable
    node = Node(play, "a", held=[model("a", 0), model("b", 0)])
    node.tell(SessionRequested(SESSION))
    node.accept(SESSION)
    play.submit("a", "b")
    assert play.leader == "a"
    assert node.show() == []
    assert node.wakes[-1].seconds == 60.0
    assert node.wake("unreachable") == [merge_of(node)]


# --- models that are lost --------------------------------------------------------------------------------------------


def without_the_result() -> Node:
    """A node that has reported that nobody serves the result of round 0, and has tried once more, in vain."""
    node = submitted("b")
    node.play.publish()
    node.show()
    assert node.tell(FetchFailed(merged(0), "refused")) == [Send(Missing(0))]
    node.accept(Missing(0))
    node.play.missing("b")
    node.show()
    assert node.wake("retry", moved=3) == [Fetch(merged(0), ("a",))]
    assert node.tell(FetchFailed(merged(0), "refused")) == []
    return node


def test_bytes_that_were_moved_before_a_result_was_missed_do_not_count_as_bytes_of_it() -> None:
    assert without_the_result().wake("missing", moved=3) == [Send(Missing(0, lasting=True))]


def test_a_result_that_nobody_serves_is_reported_missing_and_again_when_no_byte_has_come_for_long() -> None:
    node = without_the_result()
    assert node.wake("missing", moved=5) == [], "something has come"
    lasting = Missing(0, lasting=True)
    assert node.wake("missing", moved=5) == [Send(lasting)]
    node.accept(lasting)
    node.play.missing("b", lasting=True)
    node.show()
    assert node.wake("missing", moved=5) == []


def test_a_base_that_nobody_has_is_reported_missing() -> None:
    node = served("b")
    node.play.submit("a", "b")
    node.play.publish()
    node.play.missing("a", "b")
    node.play.void()
    node.tell(Dropped(merged(0)))
    assert Fetch(merged(0), ("a",)) in node.show() or merged(0) in node.machine._work.fetching
    assert Send(Missing(0)) in node.tell(FetchFailed(merged(0), "gone"))
    node.accept(Missing(0))
    node.play.missing("b", number=0)
    assert Send(Missing(0)) not in node.show()


def test_a_round_without_a_base_is_submitted_what_the_ml_process_has() -> None:
    node = served("b")
    node.hand(1)
    node.play.submit("a", "b")
    node.play.publish()
    node.play.missing("a", "b")
    node.play.void()
    node.play.missing("a", "b", number=0)
    node.play.void(number=0)
    assert Send(submit_of("b", 1)) in node.show()


# --- a leader that takes too long ------------------------------------------------------------------------------------


def test_a_leader_that_takes_far_longer_than_leaders_before_it_is_reported_though_it_reports_progress() -> None:
    node = submitted("b", "a", "b", "c")
    node.show()
    node.now = 10.0
    node.play.publish()
    node.show()
    node.tell(Fetched(merged(0)))
    node.play.depose("b")
    node.play.report("a", "b", "c")
    node.play.submit("a", "b", "c")
    assert (node.play.leader, node.play.frozen) == ("c", True)
    node.show()
    (overdue,) = [wake for wake in node.wakes if wake.timer.purpose == "overdue" and wake.timer.subject == "frozen"]
    assert overdue.seconds == 60.0 + 3 * (30.0 + 10.0) * 2
    (report,) = [action for action in node.tell(TimerFired(overdue.timer, 0)) if isinstance(action, Send)]
    assert report.body == Depose(1, 1, 1, node.height, "overdue")


def test_the_leader_of_the_first_merge_may_take_as_long_as_it_moves_on() -> None:
    node = submitted("b", "a", "b", "c")
    node.show()
    assert node.play.frozen
    assert "overdue" not in {wake.timer.purpose for wake in node.wakes}


def test_a_leader_that_does_not_freeze_a_round_that_is_due_is_overdue() -> None:
    node = joined("b", "a", "b", "c")
    node.play.submit("a", "c")
    node.show()
    (overdue,) = [wake for wake in node.wakes if wake.timer.purpose == "overdue"]
    assert overdue.seconds == 30.0 + 3 * 30.0


# --- the end --------------------------------------------------------------------------------------------------------


def closing(checkin: CheckinMode) -> Node:
    """`b` has closed its session; round 1 is collecting."""
    node = served("b")
    assert node.hand(1, closing=True) == [Send(CloseSession("snapshot"))]
    node.accept(CloseSession("snapshot"))
    node.play.close("b", checkin)
    return node


@pytest.mark.parametrize(
    ("checkin", "digest", "weight"),
    [("snapshot", model("b", 1), 1), ("inactive", model("b", 1), 0), ("active", merged(0), 1)],
)
def test_a_finished_site_contributes_by_its_check_in_mode(checkin: CheckinMode, digest: str, weight: int) -> None:
    node = closing(checkin)
    assert node.show() == [Send(Submit(1, merged(0), checkin, digest, 1, weight))]


def test_an_active_one_waits_until_it_has_the_latest_model() -> None:
    node = closing("active")
    (sent,) = node.show()
    assert isinstance(sent, Send)
    node.accept(sent.body)
    node.play.depose("sn", by_sn=True, cause="lease")
    node.play.submit("a")
    node.play.submit("b", kind="active")
    node.play.publish("a")
    assert node.show() == [Fetch(merged(1), ("a",))]
    submit = Submit(2, merged(1), "active", merged(1), 1, 1)
    assert node.tell(Fetched(merged(1))) == [Send(submit), Deliver(merged(1))]


def test_an_active_one_that_cannot_get_it_contributes_what_it_has() -> None:
    node = closing("active")
    node.show()
    node.play.depose("sn", by_sn=True, cause="lease")
    node.play.submit("a")
    node.play.submit("b", kind="active")
    node.play.publish("a")
    node.show()
    node.play.missing("b")
    assert Send(Submit(2, merged(1), "active", model("b", 1), 1, 1)) in node.show()


def test_what_the_ml_process_left_behind_is_contributed_though_it_has_died() -> None:
    node = closing("snapshot")
    node.tell(MLDisconnected(well=False))
    assert Send(Submit(1, merged(0), "snapshot", model("b", 1), 1, 1)) in node.show()


def test_the_end() -> None:
    """Delivered, answered when it cannot be void any more, and finished when nothing is under way."""
    node = closing("snapshot")
    (sent,) = node.show()
    assert isinstance(sent, Send)
    node.accept(sent.body)
    node.play.close("a")
    node.play.submit("b", kind="snapshot")
    node.play.submit("a", kind="snapshot")
    node.play.publish("b", result="8" * 64)
    node.play.report("a")
    node.show()
    assert node.tell(Fetched("8" * 64)) == [Deliver("8" * 64)]
    report = ReportPerformance(1, 0.5, None, 1, 1)
    assert node.tell(LOADED) == [Send(report)]
    node.play.report("b")
    assert node.show() == []
    node.play.settle()
    assert node.show() == [AnswerClosed()]
    assert node.tell(MLDisconnected(well=True)) == [], "its report has no answer yet"
    assert node.accept(report) == [Finish()]
    assert node.show() == []


def test_nobody_finishes_before_all_hold_the_final_model() -> None:
    play = Play("a", "b", "c")
    for uid in ("a", "b", "c"):
        play.close(uid)
    play.submit("a", "b", "c", kind="snapshot")
    play.publish()
    play.report("b")
    node = Node(play, "b", held=[merged(0)])
    node.tell(SessionRequested(SESSION))
    node.refuse(SESSION, "training-over")
    node.tell(MLDisconnected(well=False))
    assert node.show() == []
    play.set_attendance("c", "ml-lost")
    assert node.show() == []
    play.settle()
    assert node.show() == [Finish()]


def test_who_has_ended_stays_for_those_who_have_come_back_without_the_final_model() -> None:
    play = Play("a", "b", "c")
    for uid in ("a", "b", "c"):
        play.close(uid)
    play.submit("a", "b", "c", kind="snapshot")
    play.set_attendance("c", "lost")
    play.publish()
    play.report("b")
    node = Node(play, "b", held=[merged(0)])
    node.tell(SessionRequested(SESSION))
    node.refuse(SESSION, "training-over")
    node.tell(MLDisconnected(well=False))
    play.settle()
    play.set_attendance("c", "present")
    assert node.show() == []
    play.report("c")
    assert node.show() == [Finish()]


def test_who_comes_back_when_the_others_have_ended_is_told_that_it_missed_the_end() -> None:
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
    (failed,) = node.show()
    assert isinstance(failed, Fail)
    assert failed.text == MISSED_THE_END
    assert node.tell(MLDisconnected(well=False)) == [Finish()]


def test_who_trains_still_is_told_at_its_next_sync_that_training_is_over() -> None:
    node = served("c", "a", "b", "c")
    for uid in ("a", "b"):
        node.play.close(uid)
        node.play.submit(uid, kind="snapshot")
    node.play.freeze("b")
    node.play.publish("b")
    node.play.report("a")
    node.show()
    assert Send(ReportPerformance(1, None, None, 1, 1, loaded=False)) in node.tell(Fetched(merged(1)))
    assert node.hand(1) == [Deliver(merged(1))]
    assert AnswerSynced(8, True) not in node.tell(LOADED)
    node.play.report("b", "c")
    node.play.settle()
    assert node.show() == [AnswerSynced(8, True)]
    assert node.hand(2, closing=True) == [AnswerClosed()]


# --- what is kept, what is said -------------------------------------------------------------------------------------


def test_models_are_kept_as_long_as_anybody_may_want_them() -> None:
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


def test_whoever_waits_is_told_for_whom() -> None:
    play = Play("b")
    node = Node(play, "a")
    assert node.machine.waiting is None
    node.tell(SessionRequested(SESSION))
    assert told(node) == "1 of 2 sessions of contract contract are open; round 0 waits for 1 more"
    play.open("a")
    node.accept(SESSION)
    node.show()
    assert node.machine.waiting is None
    node.hand()
    assert told(node) == play.text
    node.tell(MLDisconnected(well=False))
    assert node.machine.waiting is None


def test_an_unwilling_session_is_passed_on_as_it_is() -> None:
    asked = session(may_lead=False, weightage=9)
    assert isinstance(asked, OpenSession)
    assert Node(Play(), "a").tell(SessionRequested(asked)) == [Send(asked)]
