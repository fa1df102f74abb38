"""Organisations: admission and retirement, their authorities and what these may issue, renewal of certificates."""

from datetime import UTC, datetime

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from support.network import FOUNDER, Actor, Ledger, anchor, organisation, session
from swarmlearning.identity.ca import KeyPair, create_authority, issue
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.ledger.bodies import (
    AddAuthority,
    AdmitOrganisation,
    Announce,
    NodeType,
    Register,
    Renew,
    RetireAuthority,
    RetireOrganisation,
)
from swarmlearning.ledger.chain import replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.bodies import ROLES
from swarmlearning.ledger.contracts.network.registration import INCARNATION_STEP
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import Body

NETWORK = network.CONTRACT
CA_1, CA_2, CA_3 = (create_authority(f"CA-{number}", 3650) for number in (1, 2, 3))


@pytest.fixture
def ledger() -> Ledger:
    """Two organisations, each with an operator and an SL; the only SN is the first one's."""
    made = Ledger(CA_1)
    made.join("op", "SWCI")
    made.send("op", AdmitOrganisation(organisation("org-2", CA_2)), NETWORK)
    made.join("sl-1")
    made.join("sl-2", "SL", CA_2)
    made.join("op-2", "OPERATOR", CA_2)
    return made


def active(ledger: Ledger) -> list[str]:
    return [each.id for each in network.organisations(ledger.chain.world)]


def refused(ledger: Ledger, uid: str, body: Body, match: str) -> None:
    with pytest.raises(Rejection, match=match):
        ledger.send(uid, body, NETWORK)


# --- coming and going -----------------------------------------------------------------------------------------------


def test_an_organisation_that_leaves_takes_its_nodes_along_and_the_others_go_on(ledger: Ledger) -> None:
    for uid in ("sl-1", "sl-2"):
        ledger.send(uid, session(1))
    after = ledger.send("op-2", RetireOrganisation("org-2"), NETWORK)
    assert active(ledger) == [FOUNDER]
    assert (after.members["sl-2"].attendance, after.members["sl-1"].attendance) == ("left", "present")
    refused(ledger, "sl-2", Announce({}), "untrusted: organisation org-2, whose certificate .* takes no part any more")
    ledger.send("sl-1", Announce({}), NETWORK)
    assert replay(ledger.blocks).world.state_hash() == ledger.chain.world.state_hash()


def test_an_organisation_that_was_retired_may_be_admitted_again_and_its_nodes_register_anew(ledger: Ledger) -> None:
    ledger.send("op-2", RetireOrganisation("org-2"), NETWORK)
    ledger.send("op", AdmitOrganisation(organisation("org-2", CA_2)), NETWORK)
    ledger.actors["sl-2"].incarnation = 2
    ledger.register("sl-2")
    ledger.send("sl-2", Announce({}), NETWORK)


def test_the_last_organisation_cannot_leave(ledger: Ledger) -> None:
    ledger.send("op-2", RetireOrganisation("org-2"), NETWORK)
    refused(ledger, "op", RetireOrganisation(FOUNDER), "last-organisation")


def test_an_organisation_with_the_only_sn_cannot_leave(ledger: Ledger) -> None:
    refused(ledger, "op", RetireOrganisation(FOUNDER), "last-sn")


def test_an_organisation_that_takes_part_is_not_admitted_again(ledger: Ledger) -> None:
    refused(ledger, "op", AdmitOrganisation(organisation("org-2", CA_3)), "no-change: organisation org-2 takes part")


def test_two_organisations_cannot_share_an_authority(ledger: Ledger) -> None:
    reason = r"other-organisation: .* is one of organisation org-2; each organisation needs its own"
    refused(ledger, "op", AdmitOrganisation(organisation("org-3", CA_2)), reason)
    refused(ledger, "op", AddAuthority(FOUNDER, anchor(CA_2)), reason)


def test_equal_subjects_of_two_organisations_are_two_identities_and_both_work(ledger: Ledger) -> None:
    for uid, authority in (("first", CA_1), ("second", CA_2)):
        ledger.actors[uid] = Actor(uid, "SL", issue(authority, "SL-same", [], [], 30))
        ledger.register(uid)
        ledger.send(uid, Announce({}), NETWORK)
    world = ledger.chain.world
    first, second = network.node(world, "first"), network.node(world, "second")
    assert first
    assert second
    assert first.subject == second.subject
    assert (first.organisation, second.organisation) == (FOUNDER, "org-2")


# --- authorities ----------------------------------------------------------------------------------------------------


def limited(authority: KeyPair, *roles: NodeType, trust_domain: str = "") -> AddAuthority:
    return AddAuthority("org-2", msgspec.structs.replace(anchor(authority), roles=roles, trust_domain=trust_domain))


def test_an_authority_issues_only_for_the_roles_that_it_was_admitted_for(ledger: Ledger) -> None:
    ledger.send("op-2", limited(CA_3, "SL"), NETWORK)
    ledger.send("op", limited(CA_3, "SL"), NETWORK)
    ledger.join("sl-3", "SL", CA_3)
    ledger.actor("sn-3", "SN", CA_3)
    reason = r"untrusted: .* is for the role SN; that authority of organisation org-2 may issue for SL only"
    refused(ledger, "sn-3", Register("SN", "sn-3", ledger.actors["sn-3"].pem, "0"), reason)


def test_an_authority_of_a_trust_domain_issues_for_spiffe_ids_of_that_domain_only(ledger: Ledger) -> None:
    for operator in ("op-2", "op"):
        ledger.send(operator, limited(CA_3, *ROLES, trust_domain="a.example"), NETWORK)
    ledger.actor("sl-3", "SL", CA_3)
    refused(ledger, "sl-3", Register("SL", "sl-3", ledger.actors["sl-3"].pem, "0"), "in trust domain a.example only")


def test_an_organisation_s_only_authority_cannot_be_retired(ledger: Ledger) -> None:
    body = RetireAuthority(thumbprint(CA_2.certificate))
    refused(ledger, "op-2", body, "last-authority: .* add its successor first, or retire the organisation")


def test_a_retired_authority_shuts_out_only_the_nodes_that_it_alone_vouches_for(ledger: Ledger) -> None:
    for operator in ("op-2", "op"):
        ledger.send(operator, AddAuthority("org-2", anchor(CA_3)), NETWORK)
    ledger.join("sl-3", "SL", CA_3)
    ledger.send("op-2", RetireAuthority(thumbprint(CA_3.certificate)), NETWORK)
    left = {known.uid for known in network.nodes(ledger.chain.world) if known.left}
    assert left == {"sl-3"}


def test_a_successor_that_the_present_authority_vouches_for_needs_its_own_organisation_only(ledger: Ledger) -> None:
    crossed = to_pem(CA_3.certificate) + to_pem(cross_certificate(CA_3, by=CA_2))
    successor = msgspec.structs.replace(anchor(CA_3), certificate=crossed)
    ledger.send("op-2", AddAuthority("org-2", successor), NETWORK)
    assert not network.proposals(ledger.chain.world)
    ledger.send("op-2", RetireAuthority(thumbprint(CA_2.certificate)), NETWORK)
    ledger.actors["sl-2"] = Actor("sl-2", "SL", issue(CA_3, "SL-sl-2", [], [], 30), incarnation=2)
    ledger.register("sl-2")
    known = network.node(ledger.chain.world, "sl-2")
    assert known
    assert (known.organisation, known.left) == ("org-2", False)


def test_a_successor_that_another_organisation_s_authority_vouches_for_needs_a_majority(ledger: Ledger) -> None:
    crossed = to_pem(CA_3.certificate) + to_pem(cross_certificate(CA_3, by=CA_1))
    ledger.send("op-2", AddAuthority("org-2", msgspec.structs.replace(anchor(CA_3), certificate=crossed)), NETWORK)
    (found,) = network.proposals(ledger.chain.world)
    assert (found.state, found.signed) == ("open", ("org-2",))


# --- nodes ----------------------------------------------------------------------------------------------------------


def test_a_certificate_is_renewed_while_the_node_runs_also_with_a_new_key(ledger: Ledger) -> None:
    ledger.send("sl-1", session(1))
    renewed = issue(CA_1, "SL-sl-1", [], [], 300)
    ledger.actors["sl-1"].pair = renewed
    ledger.send("sl-1", Renew(to_pem(renewed.certificate)), NETWORK)
    known = network.node(ledger.chain.world, "sl-1")
    assert known
    assert (known.certificate, known.incarnation) == (thumbprint(renewed.certificate), 1)
    assert ledger.training.members["sl-1"].attendance == "present"
    refused(ledger, "sl-1", Renew(""), "no-change: node sl-1 uses this certificate already")
    assert replay(ledger.blocks).world.state_hash() == ledger.chain.world.state_hash()


def test_an_sn_that_renews_its_certificate_seals_with_the_new_one(ledger: Ledger) -> None:
    renewed = issue(CA_1, "SN-sn-1", [], [], 300)
    ledger.actors["sn-1"].pair = renewed
    ledger.send("sn-1", Renew(to_pem(renewed.certificate)), NETWORK)
    ledger.send("sl-1", Announce({}), NETWORK)


@pytest.mark.parametrize(
    ("authority", "name"), [(CA_2, "SL-sl-1"), (CA_1, "SL-other")], ids=["other organisation", "other subject"]
)
def test_a_node_does_not_renew_to_another_identity(ledger: Ledger, authority: KeyPair, name: str) -> None:
    other = issue(authority, name, [], [], 30)
    ledger.actors["sl-1"].pair = other
    refused(ledger, "sl-1", Renew(to_pem(other.certificate)), "other-subject: node sl-1 belongs to CN=SL-sl-1")


def test_incarnations_grow_by_bounded_steps(ledger: Ledger) -> None:
    ledger.actors["sl-1"].incarnation = 1 + INCARNATION_STEP
    ledger.register("sl-1")
    ledger.actors["sl-1"].incarnation = 2 + 2 * INCARNATION_STEP
    with pytest.raises(Rejection, match=r"far-incarnation: .* the next is 2000001 at most"):
        ledger.register("sl-1")


def cross_certificate(authority: KeyPair, *, by: KeyPair) -> x509.Certificate:
    """A certificate for the name and key of `authority`, issued by another one."""
    own = authority.certificate
    assert isinstance(by.key, ec.EllipticCurvePrivateKey)
    return (
        x509.CertificateBuilder(
            issuer_name=by.certificate.subject,
            subject_name=own.subject,
            public_key=own.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=own.not_valid_before_utc,
            not_valid_after=datetime(2060, 1, 1, tzinfo=UTC),
        )
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(by.key, hashes.SHA256())
    )
