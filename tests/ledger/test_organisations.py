"""Organisations: admission and retirement, their authorities and what these may issue, renewal of certificates."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography import x509

from support.crafted_certs import craft
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
    Revoke,
)
from swarmlearning.ledger.chain import replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.bodies import ROLES
from swarmlearning.ledger.contracts.network.registration import INCARNATION_STEP
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.fields import Body

NETWORK = network.CONTRACT
NOW = datetime.now(UTC) - timedelta(hours=1)
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


def test_the_id_of_a_retired_organisation_is_not_given_to_one_with_other_authorities(ledger: Ledger) -> None:
    ledger.send("op-2", RetireOrganisation("org-2"), NETWORK)
    stranger = AdmitOrganisation(organisation("org-2", CA_3))
    refused(ledger, "op", stranger, "other-organisation: org-2 is the ID of an organisation that was retired")
    ledger.send("op", AdmitOrganisation(organisation("org-2", CA_3, CA_2)), NETWORK)


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


def spiffe(ledger: Ledger, uid: str, spiffe_id: str, name: str = "node") -> Actor:
    """A node whose certificate states a SPIFFE ID, whatever its subject."""
    pair = craft(f"CN={name}", CA_3, ca=False, uris=[spiffe_id], begin=NOW, end=NOW + timedelta(days=9))
    ledger.actors.setdefault(uid, Actor(uid, "SL", pair)).pair = pair
    return ledger.actors[uid]


def test_the_identity_of_a_certificate_with_a_spiffe_id_is_that_id_whatever_its_subject_is(ledger: Ledger) -> None:
    for operator in ("op-2", "op"):
        ledger.send(operator, limited(CA_3, *ROLES, trust_domain="a.example"), NETWORK)
    spiffe(ledger, "sl-3", "spiffe://a.example/ward-7/sl")
    ledger.register("sl-3")
    renewed = spiffe(ledger, "sl-3", "spiffe://a.example/ward-7/sl", name="another")
    ledger.send("sl-3", Renew(renewed.pem), NETWORK)
    known = network.node(ledger.chain.world, "sl-3")
    assert known
    assert (known.subject, known.organisation) == ("spiffe://a.example/ward-7/sl", "org-2")
    other = spiffe(ledger, "sl-3", "spiffe://a.example/ward-8/sl")
    refused(ledger, "sl-3", Renew(other.pem), "other-subject: node sl-3 belongs to spiffe://a.example/ward-7/sl")
    foreign = spiffe(ledger, "sl-4", "spiffe://b.example/sl")
    refused(ledger, "sl-4", Register("SL", "sl-4", foreign.pem, "0"), "in trust domain a.example only")


def test_a_node_cannot_register_under_a_name_that_its_authority_may_not_issue_for(ledger: Ledger) -> None:
    permitted = x509.NameConstraints([x509.DirectoryName(x509.Name.from_rfc4514_string("O=A"))], None)
    limit = craft("O=A,CN=CA-4", begin=NOW, end=NOW + timedelta(days=9), extra=permitted)
    ledger.send("op-2", AddAuthority("org-2", anchor(limit)), NETWORK)
    ledger.send("op", AddAuthority("org-2", anchor(limit)), NETWORK)
    for uid, subject in (("inside", "CN=SL-1,O=A"), ("outside", "CN=SL-1,O=B")):
        pair = craft(subject, limit, ca=False, begin=NOW, end=NOW + timedelta(days=9))
        ledger.actors[uid] = Actor(uid, "SL", pair)
    ledger.register("inside")
    body = Register("SL", "outside", ledger.actors["outside"].pem, "0")
    refused(
        ledger, "outside", body, "untrusted: .* may not issue .* by its name constraints: 'CN=SL-1,O=B' is not among"
    )


def test_the_last_operator_of_an_organisation_is_revoked_and_its_authority_issues_the_next(ledger: Ledger) -> None:
    ledger.send("op-2", Revoke(thumbprint(ledger.actors["op-2"].pair.certificate)), NETWORK)
    refused(ledger, "op-2", Announce({}), "revoked: the certificate of .* has been revoked")
    ledger.join("next", "OPERATOR", CA_2)
    ledger.send("next", AddAuthority("org-2", anchor(CA_3)), NETWORK)
    ledger.send("op", AddAuthority("org-2", anchor(CA_3)), NETWORK)
    ledger.join("sl-3", "SL", CA_3)


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
