"""Runs end when the contract is emptied: by whoever may, or by the signature that enacts what others have proposed."""

import pytest

from support.network import Ledger, read, session
from support.organisations import three_organisations
from support.uirecords import recorder_of
from swarmlearning.ledger.bodies import Contribution, CreateContract, Publish, Receipt, Reset, Sign, Submit
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.ledger.history import rounds, steps
from swarmlearning.ledger.transaction import SignedTransaction
from swarmlearning.views.pace import published, recalled
from swarmlearning.views.resets import ended_runs
from swarmlearning.views.runs import summary_of

OWN = "study"


@pytest.fixture
def proposed() -> Ledger:
    """Two sites in round 0 of a contract of all; one organisation has proposed to reset it."""
    made = three_organisations()
    made.send("op-1", CreateContract(shared=True), OWN)
    for uid in ("sl-1", "sl-2"):
        made.send(uid, session(), OWN)
    for uid in ("sl-1", "sl-2"):
        made.send(uid, Submit(0, "", "trained", uid[-1] * 64, 1, 1), OWN)
    made.send("op-1", Reset(forced=True), OWN)
    return made


def enacting(ledger: Ledger) -> SignedTransaction:
    (proposal,) = [each for each in network.proposals(ledger.chain.world) if each.act == "reset-contract"]
    return ledger.write("op-2", network.CONTRACT, Sign(proposal.number))


def publishing(ledger: Ledger) -> SignedTransaction:
    current = state_of(ledger.chain.world, OWN).round
    assert current is not None
    given = tuple(Contribution(uid, uid[-1] * 64, 1, 1) for uid in ("sl-1", "sl-2"))
    return ledger.write(current.leader, OWN, Publish(0, current.term, "f" * 64, 1, Receipt("mean", given, ())))


def test_a_run_goes_on_while_its_reset_is_only_proposed_and_ends_once_it_is_enacted(proposed: Ledger) -> None:
    run = summary_of(recorder_of(proposed), OWN, 1)
    assert (run.state, run.ended_ms) == ("running", None)
    assert [ended_runs(step) for step in steps(proposed.blocks) if ended_runs(step)] == []
    proposed.clock += 60_000
    proposed.commit(enacting(proposed))
    run = summary_of(recorder_of(proposed), OWN, 1)
    assert (run.state, run.ended_ms) == ("reset", proposed.chain.time_ms)
    (ended,) = ended_runs(list(steps(proposed.blocks))[-1])
    assert (ended.place, ended.state.name, ended.state.run, len(ended.state.members)) == (0, OWN, 1, 2)


def test_a_round_is_known_although_a_signature_in_its_block_resets_the_contract(proposed: Ledger) -> None:
    proposed.commit(publishing(proposed), enacting(proposed))
    (record,) = rounds(steps(proposed.blocks))
    assert (record.contract, record.run, record.contributed) == (OWN, 1, ("sl-1", "sl-2"))
    recorder = recorder_of(proposed)
    assert summary_of(recorder, OWN, 1).state == "reset"
    assert [each.number for each in recorder.report(OWN, 1).rounds] == [0]


def test_an_sn_recalls_rounds_until_their_run_has_ended_and_none_of_it_then(proposed: Ledger) -> None:
    proposed.commit(publishing(proposed))
    past = [each for raw in proposed.blocks for each in published(read(raw))]
    known = recalled(past, state_of(proposed.chain.world, OWN))
    assert (known.run, known.missed("sl-1")) == (1, 0)
    proposed.commit(enacting(proposed))
    for uid in ("sl-1", "sl-2"):
        proposed.send(uid, session(), OWN)
    after = recalled(past, state_of(proposed.chain.world, OWN))
    assert (after.run, after.seen) == (2, {"sl-1": (0, 0), "sl-2": (0, 0)})
