"""Two nodes that register under one UID at the same moment: the first in the block has it, the other is refused."""

import pytest

from support.network import Actor, Ledger, organisation
from swarmlearning.identity.ca import KeyPair, create_authority, issue
from swarmlearning.ledger.bodies import AdmitOrganisation, Register
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.transaction import SignedTransaction

NETWORK = network.CONTRACT
UID = "00000000-0000-4000-8000-000000000000"
CA_1, CA_2 = create_authority("CA-1", 3650), create_authority("CA-2", 3650)


@pytest.fixture
def ledger() -> Ledger:
    """Two organisations."""
    made = Ledger(CA_1)
    made.join("op", "SWCI")
    made.send("op", AdmitOrganisation(organisation("org-2", CA_2)), NETWORK)
    return made


def registration(ledger: Ledger, authority: KeyPair, subject: str, incarnation: int = 1) -> SignedTransaction:
    """The registration of the UID by a new node of this subject."""
    begin = authority.certificate.not_valid_before_utc
    ledger.actors[subject] = Actor(UID, "SL", issue(authority, subject, [], [], 3650, begin), incarnation)
    return ledger.write(subject, NETWORK, Register("SL", subject, ledger.actors[subject].pem, "0"))


def owner(ledger: Ledger) -> tuple[str, str]:
    known = network.node(ledger.chain.world, UID)
    assert known is not None
    return known.organisation, known.name


def test_of_two_nodes_that_register_one_uid_in_one_block_the_first_has_it(ledger: Ledger) -> None:
    first, second = registration(ledger, CA_1, "SL-first"), registration(ledger, CA_1, "SL-second")
    with pytest.raises(Rejection, match=r"other-subject: UID .* belongs to CN=SL-first.* data directory of its own"):
        ledger.commit(first, second)
    ledger.commit(first)
    assert owner(ledger) == ("org-1", "SL-first")


def test_a_uid_that_a_node_of_another_organisation_has_claimed_first_stays_that_node_s_and_the_refusal_names_the_remedy(
    ledger: Ledger,
) -> None:
    late = registration(ledger, CA_1, "SL-1")
    ledger.commit(registration(ledger, CA_2, "SL-1"))
    with pytest.raises(Rejection, match=r"of organisation org-2, not of org-1; use .* or another data directory"):
        ledger.commit(late)
    assert owner(ledger) == ("org-2", "SL-1")


def test_of_two_processes_with_one_data_directory_and_one_start_the_second_is_refused(ledger: Ledger) -> None:
    first = registration(ledger, CA_1, "SL-1")
    second = ledger.write("SL-1", NETWORK, Register("SL", "copy", ledger.actors["SL-1"].pem, "0"))
    ledger.commit(first)
    with pytest.raises(Rejection, match=r"old-incarnation: .* is registered with incarnation 1; 1 is not newer"):
        ledger.commit(second)


def test_a_claimed_uid_gives_no_part_in_what_its_first_owner_has(ledger: Ledger) -> None:
    ledger.commit(registration(ledger, CA_1, "SL-1"))
    impostor = registration(ledger, CA_2, "SL-1", incarnation=2)
    with pytest.raises(Rejection, match="other-subject"):
        ledger.commit(impostor)
    assert owner(ledger) == ("org-1", "SL-1")
