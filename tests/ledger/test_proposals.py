"""Proposals: what becomes of an act that lacks signatures."""

import pytest

from support.governed import AUTHORITIES, SPARE, active, newest, send, three
from support.network import Ledger, organisation, session
from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.ledger.bodies import (
    AdmitOrganisation,
    CreateContract,
    Reject,
    Reset,
    RetireOrganisation,
    Revoke,
    Sign,
    Stop,
)
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.proposing import MOST_OPEN, PROPOSAL_MS
from swarmlearning.ledger.contracts.rejection import Rejection


@pytest.fixture
def ledger() -> Ledger:
    return three()


def test_a_proposal_takes_effect_with_the_last_signature_that_it_needs(ledger: Ledger) -> None:
    admission = AdmitOrganisation(organisation("org-4", SPARE))
    send(ledger, "op-1", admission)
    assert "org-4" not in active(ledger)
    send(ledger, "op-2", Sign(newest(ledger).number))
    assert "org-4" in active(ledger)
    assert newest(ledger).state == "done"
    with pytest.raises(Rejection, match=r"no-proposal: proposal .* is done"):
        send(ledger, "op-3", Sign(newest(ledger).number))


def test_a_proposal_is_done_once_the_organisation_that_it_concerns_does_the_same_alone(ledger: Ledger) -> None:
    body = Revoke(thumbprint(ledger.actors["sl-2"].pair.certificate))
    send(ledger, "op-1", body)
    assert newest(ledger).state == "open"
    send(ledger, "op-2", body)
    assert (newest(ledger).state, newest(ledger).signed) == ("done", ("org-1", "org-2"))
    with pytest.raises(Rejection, match="is done"):
        send(ledger, "op-3", Sign(1))


def test_sending_the_same_act_signs_its_proposal(ledger: Ledger) -> None:
    for operator in ("op-1", "op-3"):
        send(ledger, operator, AdmitOrganisation(organisation("org-4", SPARE)))
    assert "org-4" in active(ledger)


def test_an_organisation_signs_once_through_whichever_operator(ledger: Ledger) -> None:
    ledger.join("ui-1", "UI", AUTHORITIES["org-1"])
    send(ledger, "op-1", AdmitOrganisation(organisation("org-4", SPARE)))
    for body in (Sign(newest(ledger).number), AdmitOrganisation(organisation("org-4", SPARE))):
        with pytest.raises(Rejection, match="no-change: organisation org-1 has answered proposal"):
            send(ledger, "ui-1", body)


def test_a_proposal_that_cannot_have_its_quorum_any_more_is_rejected(ledger: Ledger) -> None:
    send(ledger, "op-1", AdmitOrganisation(organisation("org-4", SPARE)))
    number = newest(ledger).number
    send(ledger, "op-2", Reject(number))
    assert newest(ledger).state == "open"
    send(ledger, "op-3", Reject(number))
    assert newest(ledger).state == "rejected"
    with pytest.raises(Rejection, match=r"no-proposal: proposal .* is rejected"):
        send(ledger, "op-2", Sign(number))


def test_a_signature_can_be_taken_back_and_a_rejection_too(ledger: Ledger) -> None:
    send(ledger, "op-1", AdmitOrganisation(organisation("org-4", SPARE)))
    number = newest(ledger).number
    send(ledger, "op-1", Reject(number))
    assert (newest(ledger).signed, newest(ledger).rejected) == ((), ("org-1",))
    send(ledger, "op-2", Sign(number))
    assert "org-4" not in active(ledger)
    send(ledger, "op-1", Sign(number))
    assert "org-4" in active(ledger)


def test_a_proposal_expires(ledger: Ledger) -> None:
    send(ledger, "op-1", AdmitOrganisation(organisation("org-4", SPARE)))
    number = newest(ledger).number
    ledger.clock += PROPOSAL_MS + 60_000
    with pytest.raises(Rejection, match=r"no-proposal: proposal .* has expired"):
        send(ledger, "op-2", Sign(number))
    send(ledger, "op-2", AdmitOrganisation(organisation("org-4", SPARE)))
    assert newest(ledger).number == number + 1


def test_a_proposal_whose_state_has_changed_since_is_refused_with_its_last_signature(ledger: Ledger) -> None:
    send(ledger, "op-1", AdmitOrganisation(organisation("org-4", SPARE)))
    number = newest(ledger).number
    other = AdmitOrganisation(organisation("org-4", create_authority("CA-5", 3650)))
    for operator in ("op-1", "op-2"):
        send(ledger, operator, other)
    send(ledger, "op-2", Sign(number))
    with pytest.raises(Rejection, match="org-4 takes part already"):
        send(ledger, "op-3", Sign(number))
    send(ledger, "op-3", Reject(number))


def test_a_proposal_to_stop_a_run_does_not_end_the_next_one(ledger: Ledger) -> None:
    ledger.send("op-1", CreateContract(), "ours")
    for site in ("sl-1", "sl-2"):
        ledger.send(site, session(2), "ours")
    ledger.send("op-2", Stop(), "ours")
    number = newest(ledger).number
    ledger.send("op-1", Reset(forced=True), "ours")  # its owner
    with pytest.raises(Rejection, match=f"no-proposal: proposal {number} was made for run 1; now it is run 2"):
        send(ledger, "op-3", Sign(number))
    for site in ("sl-1", "sl-2"):
        ledger.send(site, session(2), "ours")
    ledger.send("op-3", Stop(), "ours")
    assert newest(ledger).number == number + 1, "the same act for the next run is another proposal"
    send(ledger, "op-2", Reject(number))


def test_a_proposal_takes_effect_when_a_signer_signs_again_after_the_quorum_has_become_smaller(ledger: Ledger) -> None:
    for operator in ("op-1", "op-2"):
        send(ledger, operator, AdmitOrganisation(organisation("org-4", SPARE)))
    other = AdmitOrganisation(organisation("org-5", create_authority("CA-5", 3650)))
    for operator in ("op-1", "op-2"):
        send(ledger, operator, other)
    number = newest(ledger).number
    assert newest(ledger).state == "open", "three of four are needed"
    send(ledger, "op-3", RetireOrganisation("org-3"))
    send(ledger, "op-1", Sign(number))
    assert "org-5" in active(ledger)


def test_an_organisation_cannot_retire_the_others_without_their_quorum(ledger: Ledger) -> None:
    for each in ("org-1", "org-2"):
        send(ledger, "op-3", RetireOrganisation(each))
    assert active(ledger) == ["org-1", "org-2", "org-3"]


def test_the_last_organisation_cannot_leave() -> None:
    alone = Ledger(AUTHORITIES["org-1"])
    alone.join("op-1", "SWCI")
    with pytest.raises(Rejection, match="last-organisation"):
        send(alone, "op-1", RetireOrganisation("org-1"))


def test_an_act_that_could_not_take_effect_is_not_proposed(ledger: Ledger) -> None:
    before = len(network.proposals(ledger.chain.world))
    with pytest.raises(Rejection, match="unknown-organisation"):
        send(ledger, "op-1", RetireOrganisation("org-9"))
    assert len(network.proposals(ledger.chain.world)) == before


def test_an_outsider_cannot_sign(ledger: Ledger) -> None:
    send(ledger, "op-1", AdmitOrganisation(organisation("org-4", SPARE)))
    number = newest(ledger).number
    with pytest.raises(Rejection, match="not-allowed"):
        send(ledger, "sl-2", Sign(number))
    ledger.actor("op-9", "SWCI", SPARE)
    with pytest.raises(Rejection, match="untrusted"):
        ledger.register("op-9")


def test_an_organisation_has_a_bounded_number_of_open_proposals(ledger: Ledger) -> None:
    for number in range(MOST_OPEN):
        send(ledger, "op-1", AdmitOrganisation(organisation(f"new-{number}", SPARE)))
    with pytest.raises(Rejection, match=f"too-many: organisation org-1 has {MOST_OPEN} open proposals"):
        send(ledger, "op-1", AdmitOrganisation(organisation("one-more", SPARE)))
    send(ledger, "op-2", AdmitOrganisation(organisation("one-more", SPARE)))


def test_an_answer_does_not_count_any_more_once_its_organisation_was_retired_and_admitted_again(ledger: Ledger) -> None:
    send(ledger, "op-3", AdmitOrganisation(organisation("org-4", SPARE)))
    number = newest(ledger).number
    send(ledger, "op-3", RetireOrganisation("org-3"))
    for operator in ("op-1", "op-2"):
        send(ledger, operator, AdmitOrganisation(organisation("org-3", AUTHORITIES["org-3"])))
    send(ledger, "op-1", Sign(number))
    assert "org-4" not in active(ledger), "one of three has signed since"
    send(ledger, "op-2", Sign(number))
    assert "org-4" in active(ledger)
