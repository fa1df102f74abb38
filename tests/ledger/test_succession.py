"""Successors of authorities: which one an organisation may add alone, since a present one vouches for it."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from support.crafted_certs import craft
from support.network import FOUNDER, Actor, Ledger, anchor, organisation
from swarmlearning.identity.ca import Key, KeyPair, create_authority, issue
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.ledger.bodies import AddAuthority, AdmitOrganisation, Anchor, NodeType, RetireAuthority
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.bodies import ROLES
from swarmlearning.ledger.contracts.network.trust import authorities_of
from swarmlearning.ledger.contracts.rejection import Rejection

NETWORK = network.CONTRACT
CA_1 = create_authority("CA-1", 3650)
NOW = datetime.now(UTC)
ISSUED: tuple[NodeType, ...] = ("SL", "SWCI")
"""The roles that the second organisation's authority may issue for."""


def authority(
    name: str,
    by: KeyPair | None = None,
    *,
    key: Key | None = None,
    days: float = 3650,
    extra: x509.ExtensionType | None = None,
) -> KeyPair:
    """A certificate authority, valid since an hour ago; `days` may be negative."""
    return craft(
        f"CN={name}",
        by,
        key=key,
        begin=NOW - timedelta(hours=1) + min(timedelta(days=days), timedelta()),
        end=NOW + timedelta(days=days),
        extra=extra,
    )


def crossed(new: KeyPair, by: KeyPair) -> str:
    """A bundle: the new authority's own certificate, and one for its name and key by another."""
    name = new.certificate.subject.rfc4514_string().removeprefix("CN=")
    return to_pem(new.certificate) + to_pem(authority(name, by, key=new.key).certificate)


CA_2, CA_3 = authority("CA-2", days=10), authority("CA-3")


def network_of_two(second: KeyPair = CA_2, roles: tuple[NodeType, ...] = ISSUED, trust_domain: str = "") -> Ledger:
    """Each with an operator; the second organisation's authority is limited to these roles, and it has an SL."""
    made = Ledger(CA_1)
    made.join("op", "SWCI")
    new = msgspec.structs.replace(anchor(second), roles=roles, trust_domain=trust_domain)
    made.send("op", AdmitOrganisation(msgspec.structs.replace(organisation("org-2", second), anchors=(new,))), NETWORK)
    if not trust_domain:
        made.join("op-2", "SWCI", second)
    return made


@pytest.fixture
def ledger() -> Ledger:
    return network_of_two()


def adds_alone(ledger: Ledger, pem: str, roles: tuple[NodeType, ...] = ISSUED, sender: str = "op-2") -> bool:
    """True if the second organisation's operator adds this authority without the other organisation."""
    ledger.send(sender, AddAuthority("org-2", Anchor(pem, roles)), NETWORK)
    return not network.proposals(ledger.chain.world)


def test_a_successor_that_the_present_authority_vouches_for_needs_its_own_organisation_only(ledger: Ledger) -> None:
    ledger.join("sl-2", "SL", CA_2)
    assert adds_alone(ledger, crossed(CA_3, CA_2))
    ledger.send("op-2", RetireAuthority(thumbprint(CA_2.certificate)), NETWORK)
    ledger.actors["sl-2"] = Actor("sl-2", "SL", issue(CA_3, "SL-sl-2", [], [], 30), incarnation=2)
    ledger.register("sl-2")
    known = network.node(ledger.chain.world, "sl-2")
    assert known
    assert (known.organisation, known.left) == ("org-2", False)


def test_a_successor_that_another_organisation_s_authority_vouches_for_needs_a_majority(ledger: Ledger) -> None:
    assert not adds_alone(ledger, crossed(CA_3, CA_1))


def test_an_authority_that_nobody_vouches_for_needs_a_majority(ledger: Ledger) -> None:
    assert not adds_alone(ledger, to_pem(CA_3.certificate))


def test_an_authority_renews_its_certificate_by_its_own_organisation_only(ledger: Ledger) -> None:
    assert adds_alone(ledger, to_pem(authority("CA-2", key=CA_2.key, days=400).certificate))


def test_an_authority_issued_by_the_present_one_needs_its_own_organisation_only(ledger: Ledger) -> None:
    assert adds_alone(ledger, to_pem(authority("CA-3", CA_2).certificate))


def test_a_renewed_certificate_that_the_authority_has_not_signed_needs_a_majority(ledger: Ledger) -> None:
    another = KeyPair(CA_2.certificate, ec.generate_private_key(ec.SECP256R1()))
    forged = authority("CA-2", another, key=CA_2.key, days=400)
    assert not adds_alone(ledger, to_pem(forged.certificate) + to_pem(CA_2.certificate))


def test_an_operator_cannot_make_an_authority_of_its_own_certificate(ledger: Ledger) -> None:
    own = ledger.actors["op-2"].pair
    subject = own.certificate.subject.rfc4514_string()
    self_made = craft(subject, key=own.key, begin=NOW - timedelta(hours=1), end=NOW + timedelta(days=9))
    assert self_made.certificate.subject == own.certificate.subject
    assert not adds_alone(ledger, to_pem(self_made.certificate) + to_pem(own.certificate))


def test_a_successor_for_more_roles_than_its_predecessor_has_needs_a_majority(ledger: Ledger) -> None:
    assert not adds_alone(ledger, crossed(CA_3, CA_2), (*ISSUED, "SN"))


def test_an_authority_does_not_give_itself_more_roles(ledger: Ledger) -> None:
    assert not adds_alone(ledger, to_pem(CA_2.certificate), ROLES)


def test_a_successor_without_its_predecessor_s_name_constraints_needs_a_majority() -> None:
    permitted = x509.NameConstraints([x509.DNSName("SWCI-op-2")], None)
    limited = authority("CA-2", extra=permitted)
    assert not adds_alone(network_of_two(limited), crossed(CA_3, limited))
    assert adds_alone(network_of_two(limited), crossed(authority("CA-3", extra=permitted), limited))


def test_a_successor_beyond_its_predecessor_s_trust_domain_needs_a_majority() -> None:
    ledger = network_of_two(trust_domain="b.example")
    pair = craft("CN=x", CA_2, ca=False, uris=["spiffe://b.example/swci"], begin=NOW, end=NOW + timedelta(days=9))
    ledger.actors["op-2"] = Actor("op-2", "SWCI", pair)
    ledger.register("op-2")
    assert not adds_alone(ledger, crossed(CA_3, CA_2))


def test_an_organisation_adds_a_successor_in_the_last_second_of_its_only_authority(ledger: Ledger) -> None:
    ledger.actors["op-2"].pair = craft(
        "CN=SWCI-op-2,OU=Swarm-Learning", CA_2, ca=False, begin=NOW, end=NOW + timedelta(days=10)
    )
    ledger.actors["op-2"].incarnation = 2
    ledger.register("op-2")
    end = int(CA_2.certificate.not_valid_after_utc.timestamp()) * 1000
    ledger.clock = end + 999
    assert adds_alone(ledger, crossed(CA_3, CA_2))
    ledger.clock = end + 1000
    with pytest.raises(Rejection, match=r"untrusted: .* expired at .*: its organisation must renew it"):
        ledger.send("op-2", RetireAuthority(thumbprint(CA_2.certificate)), NETWORK)
    ledger.actors["op-2"].pair = issue(CA_3, "SWCI-op-2", [], [], 30)
    ledger.actors["op-2"].incarnation = 3
    ledger.register("op-2")
    ledger.send("op-2", RetireAuthority(thumbprint(CA_2.certificate)), NETWORK)


def test_an_authority_whose_certificate_has_expired_is_refused(ledger: Ledger) -> None:
    expired = authority("CA-3", days=-1)
    for body in (
        AddAuthority(FOUNDER, anchor(expired)),
        AdmitOrganisation(organisation("org-3", expired)),
    ):
        with pytest.raises(Rejection, match=r"bad-certificate: .* CN=CA-3 has expired: it needs a renewed one"):
            ledger.send("op", body, NETWORK)


def test_the_last_authority_that_is_still_valid_cannot_be_retired(ledger: Ledger) -> None:
    assert adds_alone(ledger, crossed(CA_3, CA_2))
    ledger.clock += 11 * 24 * 3_600_000
    ledger.actors["op-2"] = Actor("op-2", "SWCI", issue(CA_3, "SWCI-op-2", [], [], 30), incarnation=2)
    ledger.register("op-2")
    with pytest.raises(Rejection, match="last-authority: this is the only authority of organisation org-2"):
        ledger.send("op-2", RetireAuthority(thumbprint(CA_3.certificate)), NETWORK)
    ledger.send("op-2", RetireAuthority(thumbprint(CA_2.certificate)), NETWORK)
    assert [root.pem for root in authorities_of(ledger.chain.world, "org-2")] == [to_pem(CA_3.certificate)]


def test_an_authority_that_loses_a_role_shuts_out_the_nodes_of_that_role(ledger: Ledger) -> None:
    ledger.join("sl-2", "SL", CA_2)
    assert adds_alone(ledger, to_pem(CA_2.certificate), ("SWCI",))
    assert {known.uid for known in network.nodes(ledger.chain.world) if known.left} == {"sl-2"}
