"""Who may use an SN's relay, and how much of it, as the ledger decides."""

from cryptography.hazmat.primitives.serialization import Encoding

from support.governed import send, three
from support.network import Ledger
from swarmlearning.identity.ca import create_authority, issue
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.ledger.bodies import Revoke
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.quotas import BURST_SECONDS, quotas_of
from swarmlearning.sn.relaying import Members
from swarmlearning.transport.parties import Credential


def credential(ledger: Ledger, uid: str) -> Credential:
    known = network.node(ledger.chain.world, uid)
    assert known is not None
    return Credential(b"", known.certificate, "")


def test_a_node_is_called_by_its_own_certificate_alone() -> None:
    ledger = three()
    members = Members(lambda: ledger.chain)
    assert members.owns(credential(ledger, "sl-1"), "sl-1")
    assert not members.owns(credential(ledger, "sl-2"), "sl-1")
    assert not members.owns(credential(ledger, "sl-1"), "unknown")


def test_nothing_is_relayed_for_who_is_revoked() -> None:
    ledger = three()
    members, shown = Members(lambda: ledger.chain), credential(ledger, "sl-1")
    assert members.fault(shown) == ""
    send(ledger, "op-1", Revoke(shown.thumbprint))
    assert "revoked" in members.fault(shown)
    assert not members.owns(shown, "sl-1")


def test_nothing_is_relayed_for_who_is_not_on_the_ledger() -> None:
    ledger = three()
    stranger = issue(create_authority("CA-9", 3650), "SL-9", [], [], 3650).certificate
    shown = Credential(stranger.public_bytes(Encoding.DER), thumbprint(stranger), "")
    assert "is not on the ledger" in Members(lambda: ledger.chain).fault(shown)


def test_bytes_count_for_an_organisation_and_delay_no_other_one() -> None:
    ledger = three()
    members = Members(lambda: ledger.chain)
    quota = quotas_of(ledger.chain.world, "org-1").model_bytes
    for _ in range(2 * BURST_SECONDS):
        members.turn(credential(ledger, "sl-1"), quota)
    assert members.turn(credential(ledger, "sl-1"), 1) > 0.0
    assert members.turn(credential(ledger, "sl-2"), 1) == 0.0
