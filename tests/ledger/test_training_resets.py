"""What is under way while a contract is reset belongs to the run before: the next run does not take it for its own."""

import pytest

from support.network import CONTRACT, Ledger, session
from support.play import merged, model
from swarmlearning.ledger.bodies import (
    Body,
    CloseSession,
    Contribution,
    Depose,
    Freeze,
    Lost,
    Missing,
    Progress,
    Publish,
    Receipt,
    ReportPerformance,
    Reset,
    Settle,
    Stop,
    Submit,
    Void,
)
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.bodies import ChangeMembers, CreateContract
from swarmlearning.ledger.contracts.training.contract import TRAINING
from swarmlearning.ledger.contracts.training.state import state_of

RECEIPT = Receipt("mean", (Contribution("sl-1", model("sl-1", 0), 1, 1),), ())
BODIES: tuple[tuple[str, Body], ...] = (
    ("sl-1", session()),
    ("sl-1", Submit(0, "", "trained", model("sl-1", 0), 1, 1)),
    ("sl-1", Freeze(0, 0)),
    ("sl-1", Progress(0, 0, 1)),
    ("sl-1", Publish(0, 0, merged(0), 1, RECEIPT)),
    ("sl-1", ReportPerformance(0, 0.5, None, 1, 1)),
    ("sl-1", Missing(0)),
    ("sl-1", CloseSession("snapshot")),
    ("sl-1", Depose(0, 0, 1, 99, "progress")),
    ("sn-1", Depose(0, 0, 1, 99, "lease")),
    ("sn-1", Void(0)),
    ("sn-1", Settle(0)),
    ("op-1", Stop()),
    ("op-1", Reset(forced=True)),
)


@pytest.fixture
def ledger() -> Ledger:
    """Round 0 of two members is open."""
    made = Ledger()
    made.join("op-1", "SWCI")
    for uid in ("sl-1", "sl-2"):
        made.join(uid)
        made.send(uid, session())
    return made


def begin_again(ledger: Ledger) -> None:
    """The operator resets the contract, and both members open their sessions again."""
    ledger.send("op-1", Reset(forced=True))
    for uid in ("sl-1", "sl-2"):
        ledger.send(uid, session())


@pytest.mark.parametrize(("sender", "body"), BODIES)
def test_what_was_written_before_a_reset_is_refused_in_the_next_run(ledger: Ledger, sender: str, body: Body) -> None:
    late = ledger.write(sender, CONTRACT, body)
    begin_again(ledger)
    before = ledger.training
    with pytest.raises(Rejection, match=r"former-run: .* was reset at height"):
        ledger.commit(late)
    assert ledger.training == before


@pytest.mark.parametrize(("sender", "body"), BODIES)
def test_what_stands_in_the_block_of_the_reset_after_it_is_refused_too(ledger: Ledger, sender: str, body: Body) -> None:
    reset, late = (ledger.write(*each) for each in (("op-1", CONTRACT, Reset(forced=True)), (sender, CONTRACT, body)))
    with pytest.raises(Rejection, match="former-run"):
        ledger.commit(reset, late)


def test_every_transaction_of_a_run_is_among_those_tested() -> None:
    assert {type(body) for _, body in BODIES} == TRAINING.rules.keys() - {ChangeMembers, CreateContract}


def test_what_is_written_once_the_reset_is_known_is_accepted(ledger: Ledger) -> None:
    begin_again(ledger)
    ledger.send("sl-1", Submit(0, "", "trained", model("sl-1", 0), 1, 1))
    ledger.send("sn-1", Lost("sl-2", 1), network.CONTRACT)
    assert ledger.training.round is not None
    assert "sl-1" in ledger.training.round.submissions


def test_a_reset_concerns_its_own_contract_alone(ledger: Ledger) -> None:
    ledger.send("op-1", CreateContract(), "other")
    late = ledger.write("sl-1", "other", session())
    ledger.send("op-1", Reset(forced=True))
    ledger.commit(late)
    assert "sl-1" in state_of(ledger.chain.world, "other").members
