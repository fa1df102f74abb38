"""Changes of a contract's members and observers: who decides them, and what they change in a run."""

import pytest

from support.network import Ledger, session
from support.organisations import three_organisations
from swarmlearning.ledger.bodies import ChangeMembers, CreateContract, Reset
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training.state import Charter, state_of

OWN = "study"


def created(*members: str, minimum: int = 0, sites: tuple[str, ...] = ()) -> Ledger:
    """Three organisations, and a contract of the first one with these members, under which these sites train."""
    ledger = three_organisations()
    ledger.send("op-1", CreateContract(members=members, min_organisations=minimum), OWN)
    for uid in sites:
        ledger.send(uid, session(), OWN)
    return ledger


def charter(ledger: Ledger) -> Charter:
    found = state_of(ledger.chain.world, OWN).charter
    assert found is not None
    return found


def refused(ledger: Ledger, uid: str, body: ChangeMembers, match: str, contract: str = OWN) -> None:
    with pytest.raises(Rejection, match=match):
        ledger.send(uid, body, contract)


def is_proposed(ledger: Ledger, uid: str, body: ChangeMembers) -> bool:
    """True if the change waits for others once it was sent."""
    before = charter(ledger)
    ledger.send(uid, body, OWN)
    return charter(ledger) == before


def test_a_contract_s_owner_adds_a_member_alone_while_only_its_own_sites_train() -> None:
    ledger = created("org-1", sites=("sl-1",))
    ledger.send("op-1", ChangeMembers(("org-1", "org-2")), OWN)
    ledger.send("sl-2", session(), OWN)
    assert state_of(ledger.chain.world, OWN).members.keys() == {"sl-1", "sl-2"}


WIDER = {
    "a further member": ChangeMembers(("org-1", "org-2", "org-3")),
    "every organisation": ChangeMembers(),
    "an observer who reads results": ChangeMembers(("org-1", "org-2"), ("org-3",), observers_read_results=True),
}


@pytest.mark.parametrize("body", WIDER.values(), ids=WIDER)
def test_whoever_gets_to_read_what_others_have_trained_needs_their_agreement(body: ChangeMembers) -> None:
    ledger = created("org-1", "org-2", sites=("sl-1", "sl-2"))
    assert is_proposed(ledger, "op-1", body)
    ledger.send("op-2", body, OWN)
    assert charter(ledger).members == body.members


def test_an_open_contract_is_closed_for_those_who_train_by_its_owner_alone_and_for_others_by_a_majority() -> None:
    ledger = created(sites=("sl-1", "sl-2"))
    assert is_proposed(ledger, "op-1", ChangeMembers(("org-1", "org-2", "org-3")))
    assert not is_proposed(ledger, "op-1", ChangeMembers(("org-1", "org-2")))


def test_an_observer_who_reads_no_results_is_added_by_the_owner_alone() -> None:
    ledger = created("org-1", "org-2", sites=("sl-1", "sl-2"))
    assert not is_proposed(ledger, "op-1", ChangeMembers(("org-1", "org-2"), ("org-3",)))


def test_nobody_but_the_owner_changes_the_members_without_a_majority() -> None:
    ledger = created("org-1", "org-2")
    assert is_proposed(ledger, "op-2", ChangeMembers(("org-1", "org-2", "org-3")))
    assert is_proposed(ledger, "op-3", ChangeMembers(("org-1", "org-3")))


def test_a_member_is_removed_once_none_of_its_sites_is_in_the_run() -> None:
    ledger = created("org-1", "org-2", sites=("sl-1", "sl-2"))
    refused(ledger, "op-1", ChangeMembers(("org-1",)), "not-over: sites of org-2 take part in run 1 of contract study")
    ledger.send("op-1", Reset(forced=True), OWN)
    ledger.send("op-1", ChangeMembers(("org-1",)), OWN)
    with pytest.raises(Rejection, match="not-invited"):
        ledger.send("sl-2", session(), OWN)


def test_an_agreement_to_other_members_lapses_once_the_members_have_changed() -> None:
    ledger = created("org-1", "org-2", sites=("sl-1", "sl-2"))
    assert is_proposed(ledger, "op-1", ChangeMembers(("org-1", "org-2", "org-3")))
    other = ChangeMembers()
    for operator in ("op-1", "op-3"):
        ledger.send(operator, other, OWN)
    assert charter(ledger).members == ()
    assert is_proposed(ledger, "op-2", ChangeMembers(("org-1", "org-2", "org-3")))
    assert [each.state for each in network.proposals(ledger.chain.world)][-1] == "open"


WRONG = {
    "a stranger": (ChangeMembers(("org-1", "org-9")), "unknown-organisation: no organisation org-9"),
    "an observer that is a stranger": (ChangeMembers(("org-1",), ("org-9",)), "unknown-organisation"),
    "too few": (
        ChangeMembers(("org-1",)),
        "locked-out: a round of contract study needs sites of 2 organisations",
    ),
    "nothing": (ChangeMembers(("org-2", "org-1", "org-2")), "no-change: contract study has these members"),
}


@pytest.mark.parametrize(("body", "match"), WRONG.values(), ids=WRONG)
def test_a_change_that_means_nothing_or_locks_everybody_out_is_refused(body: ChangeMembers, match: str) -> None:
    refused(created("org-1", "org-2", minimum=2), "op-1", body, match)


def test_a_contract_that_nobody_owns_has_no_members_to_change() -> None:
    refused(three_organisations(), "op-1", ChangeMembers(("org-1",)), "no-contract: .* swarm contract create", "else")
