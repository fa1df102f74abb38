"""The phases of the ML process: which messages are possible in each, and that no order of events leaves their table."""

import itertools

import pytest

from support.network import session
from support.play import Play
from support.roundnode import SESSION, SETTINGS, joined, served, submit_of, submitted
from support.walk import Walk
from swarmlearning.ledger.bodies import Submit
from swarmlearning.rounds.events import (
    AnswerClosed,
    AnswerOpened,
    AnswerSynced,
    Deliver,
    DeliveryFailed,
    Evaluated,
    Fail,
    Fetched,
    MLDisconnected,
    ModelReceived,
    Send,
    SessionRequested,
)
from swarmlearning.rounds.facts import NO_MODEL, Handed, ModelRef
from swarmlearning.rounds.machine import RoundMachine
from swarmlearning.rounds.phases import (
    Absent,
    Awaiting,
    Delivering,
    Ended,
    Failed,
    FromML,
    Joining,
    Open,
    OutOfOrder,
    Phase,
    Served,
    ToML,
    next_phase,
)

OLD, LATEST = ModelRef(1, "1" * 64), ModelRef(2, "2" * 64)
MODEL = Handed("3" * 64, 7)
AWAITING, SERVED = Awaiting(OLD, MODEL), Served(OLD, MODEL)

REQUESTED = SessionRequested(session())
RECEIVED = ModelReceived(MODEL.digest, MODEL.size, closing=False)
EVALUATED = Evaluated(0.5, None, 1, 1)
GONE = MLDisconnected(clean=True)
DELIVER, SYNCED, CLOSED, FAIL = Deliver(LATEST.digest), AnswerSynced(8, over=False), AnswerClosed(), Fail("the reason")
UNDELIVERED = DeliveryFailed(LATEST.digest)

PHASES: list[Phase] = [
    Absent(),
    Joining(OLD),
    Open(OLD),
    AWAITING,
    Delivering(AWAITING, LATEST),
    SERVED,
    Delivering(SERVED, LATEST),
    Ended(),
    Failed(),
]
MESSAGES: list[FromML | ToML | DeliveryFailed] = [
    REQUESTED,
    RECEIVED,
    EVALUATED,
    GONE,
    AnswerOpened(),
    DELIVER,
    SYNCED,
    CLOSED,
    FAIL,
    UNDELIVERED,
]
TABLE: dict[tuple[Phase, FromML | ToML | DeliveryFailed], Phase] = {
    **{(phase, REQUESTED): Joining(NO_MODEL) for phase in PHASES},
    **{(phase, GONE): Absent() for phase in PHASES},
    **{(phase, FAIL): Failed() for phase in PHASES if not isinstance(phase, Absent | Ended | Failed)},
    **{(phase, UNDELIVERED): phase for phase in PHASES if not isinstance(phase, Delivering)},
    (Joining(OLD), AnswerOpened()): Open(OLD),
    (Open(OLD), RECEIVED): AWAITING,
    (AWAITING, DELIVER): Delivering(AWAITING, LATEST),
    (AWAITING, SYNCED): Open(OLD),
    (AWAITING, CLOSED): Ended(),
    (Delivering(AWAITING, LATEST), EVALUATED): Served(LATEST, MODEL),
    (Delivering(AWAITING, LATEST), UNDELIVERED): AWAITING,
    (SERVED, DELIVER): Delivering(SERVED, LATEST),
    (SERVED, SYNCED): Open(OLD),
    (SERVED, CLOSED): Ended(),
    (Delivering(SERVED, LATEST), EVALUATED): Served(LATEST, MODEL),
    (Delivering(SERVED, LATEST), UNDELIVERED): SERVED,
    (Failed(), RECEIVED): Failed(),
    (Failed(), EVALUATED): Failed(),
}


def name(case: object) -> str:
    return type(case).__name__


@pytest.mark.parametrize(("phase", "message"), list(itertools.product(PHASES, MESSAGES)), ids=name)
def test_a_message_leads_to_the_next_phase_or_is_an_error_that_names_both(
    phase: Phase, message: FromML | ToML | DeliveryFailed
) -> None:
    if (phase, message) in TABLE:
        assert next_phase(phase, message, LATEST) == TABLE[phase, message]
    else:
        with pytest.raises(OutOfOrder, match=rf"^{name(message)} is not possible in phase {name(phase)}\b"):
            next_phase(phase, message, LATEST)


def test_an_ml_process_that_holds_the_standing_model_begins_with_it() -> None:
    assert next_phase(Absent(), SessionRequested(session(), LATEST.digest), LATEST) == Joining(LATEST)
    assert next_phase(Absent(), SessionRequested(session(), OLD.digest), LATEST) == Joining(NO_MODEL)
    assert next_phase(Absent(), SessionRequested(session()), NO_MODEL) == Joining(NO_MODEL)


def test_a_failed_delivery_to_an_earlier_ml_process_changes_nothing() -> None:
    phase = Delivering(AWAITING, LATEST)
    assert next_phase(phase, DeliveryFailed(OLD.digest), LATEST) == phase


# --- the machine ----------------------------------------------------------------------------------------------------


def test_a_message_out_of_order_is_refused_and_changes_nothing() -> None:
    node = joined("b")
    with pytest.raises(OutOfOrder, match="Evaluated is not possible in phase Open"):
        node.handle(EVALUATED)
    assert node.hand_over() == [Send(submit_of("b", 0))]
    with pytest.raises(OutOfOrder, match="ModelReceived is not possible in phase Awaiting"):
        node.hand_over(1)
    node.accept(submit_of("b", 0))
    assert node.advance() == [Send(submit_of("b", 0))], "the first model, since the ledger does not have it yet"


def test_a_model_before_the_session_is_open_is_refused() -> None:
    machine = RoundMachine("b", 1, Play("a").state, SETTINGS)
    machine.handle(SessionRequested(SESSION), 0.0)
    with pytest.raises(OutOfOrder, match="ModelReceived is not possible in phase Joining"):
        machine.handle(RECEIVED, 0.0)


def test_what_an_ml_process_sends_before_it_has_read_that_it_failed_is_ignored() -> None:
    node = served("b")
    node.play.reset(forced=True)
    assert [type(action) for action in node.advance()] == [Fail]
    assert node.hand_over(1) == []
    assert node.handle(EVALUATED) == []


def test_a_result_is_reported_as_held_but_not_loaded_where_the_ml_process_is_gone() -> None:
    node = submitted("b")
    node.handle(MLDisconnected(clean=False))
    node.play.publish()
    node.advance()
    (report,) = node.handle(Fetched(node.play.result.digest))
    assert isinstance(report, Send)
    assert not isinstance(report.body, Submit)
    assert report.body.loaded is False  # type: ignore[union-attr]


AT_ANY_TIME = {"ChainAdvanced", "Dropped", "DeliveryFailed", "TimerFired"}
FROM_ML = {("Absent", "SessionRequested"), ("Open", "ModelReceived"), ("Delivering", "Evaluated")}


def test_no_order_of_events_leaves_the_table() -> None:
    """Each action is checked against what the ML process waits for, too. All phases are reached."""
    met: set[tuple[str, str]] = set()
    for seed in range(100):
        walk = Walk(seed)
        for _ in range(400):
            walk.step()
        met |= walk.met
    phases = {name(phase) for phase in PHASES}
    possible = FROM_ML | {(phase, "MLDisconnected") for phase in phases - {"Absent"}}
    assert met >= possible | set(itertools.product(phases, AT_ANY_TIME))
