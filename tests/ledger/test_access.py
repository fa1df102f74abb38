"""Permissions by body and role, and by the certificate that a peer shows."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from support.network import FOUNDER, Actor, Ledger, anchor, organisation, session
from swarmlearning.identity.ca import KeyPair, create_authority, issue
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.ledger import access
from swarmlearning.ledger.access import Peer
from swarmlearning.ledger.bodies import (
    AddAuthority,
    AdmitOrganisation,
    Anchor,
    Announce,
    Leave,
    NodeType,
    Register,
    Renew,
    RetireAuthority,
    RetireOrganisation,
    Revoke,
    Submit,
)
from swarmlearning.ledger.chain import RULES_VERSION
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.rules import RULES

NETWORK = network.CONTRACT
CA_1 = create_authority("CA-1", 3650)
CA_2 = create_authority("CA-2", 3650)
ANY = "SN SL SWOP SWCI UI OPERATOR OBSERVER"
OPERATORS = "SWCI UI OPERATOR"

# Who may send what. "of others: SN": of itself any node may, of another one only an SN.
MAY_SEND = {
    "Genesis": "SN",
    "Register": ANY,
    "Announce": ANY,
    "Leave": ANY,
    "Lost": ANY + " of others: SN",
    "Back": ANY + " of others: SN",
    "Recover": "SN",
    "Renew": ANY,
    "AddRoot": "SN SWOP",
    "AdmitOrganisation": OPERATORS,
    "RetireOrganisation": OPERATORS,
    "AddAuthority": OPERATORS,
    "RetireAuthority": OPERATORS,
    "Revoke": OPERATORS,
    "LiftQuarantine": OPERATORS,
    "SetPolicy": OPERATORS,
    "SetQuotas": OPERATORS,
    "Sign": OPERATORS,
    "Reject": OPERATORS,
    "Invite": OPERATORS,
    "WithdrawInvitation": OPERATORS,
    "RequestCertificate": "SN",
    "RequestAdmission": "SN",
    "Certify": OPERATORS,
    "SwitchRules": OPERATORS,
    "CreateContract": OPERATORS,
    "ChangeMembers": OPERATORS,
    "OpenSession": "SL",
    "Submit": "SL",
    "Freeze": "SL",
    "Progress": "SL",
    "Publish": "SL",
    "ReportPerformance": "SL",
    "Missing": "SL",
    "StateLink": "SL",
    "Sliced": "SL",
    "Held": "SL",
    "ReportFault": "SL",
    "Reassign": "SL",
    "Check": "SL",
    "Checked": "SL",
    "Weigh": "SL",
    "CloseSession": "SL",
    "Depose": "SN SL",
    "Void": "SN",
    "RefuseBlock": "SN",
    "Equivocation": ANY,
    "Settle": "SN SL",
    "Stop": OPERATORS,
    "Reset": OPERATORS,
    "CreateTask": OPERATORS,
    "AppendTaskBody": OPERATORS,
    "FinalizeTask": OPERATORS,
    "DeleteTask": OPERATORS,
    "CreateTaskrunner": OPERATORS,
    "Listen": "SWOP",
    "Assign": OPERATORS,
    "AssignTarget": OPERATORS,
    "ReportPeer": "SWOP",
    "ResetTaskrunner": OPERATORS,
    "AbortTaskrunner": OPERATORS,
    "AnnotateRun": OPERATORS,
    "TagRun": OPERATORS,
    "HideRun": OPERATORS,
}


@pytest.fixture
def ledger() -> Ledger:
    """A network of two organisations, each with an SN and an operator, the first with two SLs."""
    made = Ledger(CA_1)
    made.join("op", "SWCI")
    made.join("sl-1")
    made.join("sl-2")
    made.send("op", AdmitOrganisation(organisation("org-2", CA_2)), NETWORK)
    made.join("sn-2", "SN", CA_2)
    made.join("op-2", "SWCI", CA_2)
    return made


def shown(roles: frozenset[NodeType]) -> str:
    return " ".join(role for role in ANY.split() if role in roles)


def peer(ledger: Ledger, certificate: x509.Certificate) -> Peer:
    return access.peer(ledger.chain.world, certificate, ledger.chain.time_ms)


def of(ledger: Ledger, uid: str) -> Peer:
    return peer(ledger, ledger.actors[uid].pair.certificate)


def uids(found: Peer) -> list[str]:
    return [known.uid for known in found.nodes]


# --- bodies ---------------------------------------------------------------------------------------------------------


def test_the_permissions_have_one_row_for_each_body() -> None:
    assert {body.__name__ for body in RULES[RULES_VERSION].handlers} == set(MAY_SEND)


@pytest.mark.parametrize("body", RULES[RULES_VERSION].handlers, ids=lambda body: body.__name__)
def test_each_body_may_be_sent_only_by_the_roles_in_its_row(body: type) -> None:
    permission = RULES[RULES_VERSION].handlers[body][1].permission
    others = "" if permission.of_others is None else f" of others: {shown(permission.of_others)}"
    assert shown(permission.roles) + others == MAY_SEND[body.__name__]


# --- identities -----------------------------------------------------------------------------------------------------


def test_a_registered_certificate_is_trusted_for_its_own_nodes(ledger: Ledger) -> None:
    found = of(ledger, "sl-1")
    assert (found.standing, found.role, uids(found), found.is_sn, found.may_read) == (
        "trusted",
        "SL",
        ["sl-1"],
        False,
        True,
    )
    assert found.node("sl-1") == network.node(ledger.chain.world, "sl-1")
    assert found.node("sl-2") is None
    assert of(ledger, "sn-2").is_sn


@pytest.mark.parametrize("same_key", [True, False])
def test_a_renewed_certificate_by_the_same_authority_is_the_same_node(ledger: Ledger, same_key: bool) -> None:
    renewed = renewal(ledger.actors["sn-1"].pair, CA_1, same_key)
    found = peer(ledger, renewed.certificate)
    assert (found.standing, uids(found), found.is_sn) == ("trusted", ["sn-1"], True)
    ledger.actors["sn-1"] = Actor("sn-1", "SN", renewed, incarnation=2)
    ledger.register("sn-1")
    assert of(ledger, "sn-1").is_sn


def test_a_renewed_certificate_of_an_authority_is_the_same_authority(ledger: Ledger) -> None:
    renewed = self_signed(CA_1)
    ledger.send("op", AddAuthority(FOUNDER, Anchor(to_pem(renewed))), NETWORK)
    ledger.send("op", RetireAuthority(thumbprint(CA_1.certificate)), NETWORK)
    assert uids(of(ledger, "sl-1")) == ["sl-1"]
    ledger.send("sl-1", Announce({}), NETWORK)


def test_an_equal_subject_of_another_authority_is_another_identity(ledger: Ledger) -> None:
    taker = issue(CA_2, "SL-sl-1", [], [], 30)
    found = peer(ledger, taker.certificate)
    assert (found.standing, found.nodes) == ("unknown", ())
    ledger.actors["sl-1"] = Actor("sl-1", "SL", taker, incarnation=2**31 - 1)
    with pytest.raises(
        Rejection, match=r"other-subject: UID sl-1 belongs to CN=SL-sl-1.* of organisation org-1, not of org-2"
    ):
        ledger.send("sl-1", Register("SL", "sl-1", to_pem(taker.certificate), "0"), NETWORK)


def test_an_equal_subject_of_another_authority_that_has_a_node_cannot_send_for_the_first(ledger: Ledger) -> None:
    taker = issue(CA_2, "SL-sl-1", [], [], 30)
    ledger.actors["sl-9"] = Actor("sl-9", "SL", taker)
    ledger.register("sl-9")
    assert uids(peer(ledger, taker.certificate)) == ["sl-9"]
    ledger.actors["sl-1"].pair = taker
    with pytest.raises(Rejection, match="other-subject: node sl-1 belongs to CN=SL-sl-1"):
        ledger.send("sl-1", Announce({}), NETWORK)


def test_an_authority_of_an_equal_name_is_another_authority(ledger: Ledger) -> None:
    namesake = create_authority("CA-1", 3650)
    for operator in ("op", "op-2"):
        ledger.send(operator, AdmitOrganisation(organisation("org-3", namesake)), NETWORK)
    taker = issue(namesake, "SL-sl-1", [], [], 30)
    assert peer(ledger, taker.certificate).nodes == ()
    ledger.actors["sl-1"] = Actor("sl-1", "SL", taker, incarnation=2)
    with pytest.raises(Rejection, match="other-subject"):
        ledger.register("sl-1")


def test_a_certificate_that_is_newer_than_the_last_block_identifies_its_node_too(ledger: Ledger) -> None:
    """A network at rest has old blocks; nobody could write a new one if its SNs had all renewed their certificates."""
    later = datetime.fromtimestamp(ledger.chain.time_ms / 1000, UTC) + timedelta(days=3)
    assert peer(ledger, issue(CA_1, "SN-sn-1", [], [], 30, later).certificate).is_sn


def test_a_node_that_has_not_registered_yet_may_only_read(ledger: Ledger) -> None:
    found = peer(ledger, issue(CA_1, "SN-new", [], [], 30).certificate)
    assert (found.standing, found.may_read, found.nodes, found.is_sn) == ("unknown", True, (), False)


def test_a_certificate_without_a_role_may_read_nothing(ledger: Ledger) -> None:
    found = peer(ledger, issue(CA_1, "printer-7", [], [], 30).certificate)
    assert (found.standing, found.may_read) == ("refused", False)
    assert "names no role" in found.fault


# --- revocation -----------------------------------------------------------------------------------------------------


def refused(found: Peer) -> bool:
    return (found.standing, found.may_read, found.nodes, found.is_sn) == ("refused", False, (), False)


@pytest.mark.parametrize("uid", ["sl-1", "sn-2"])
def test_a_revoked_certificate_permits_nothing(ledger: Ledger, uid: str) -> None:
    operator = "op-2" if uid == "sn-2" else "op"
    ledger.send(operator, Revoke(thumbprint(ledger.actors[uid].pair.certificate)), NETWORK)
    assert refused(of(ledger, uid))
    assert "revoked" in of(ledger, uid).fault
    assert uid not in [sn.uid for sn in network.admitted(ledger.chain.world)]


def test_certificates_of_a_retired_organisation_permit_nothing_registered_or_not(ledger: Ledger) -> None:
    ledger.send("op-2", RetireOrganisation("org-2"), NETWORK)
    assert refused(of(ledger, "sn-2"))
    assert refused(peer(ledger, issue(CA_2, "SN-new", [], [], 30).certificate))
    assert [sn.uid for sn in network.admitted(ledger.chain.world)] == ["sn-1"]


def test_an_expired_certificate_permits_nothing(ledger: Ledger) -> None:
    certificate = ledger.actors["sl-1"].pair.certificate
    after = int(certificate.not_valid_after_utc.timestamp() * 1000) + 2000
    assert refused(access.peer(ledger.chain.world, certificate, after))


def test_a_node_that_has_left_has_no_permissions_until_it_registers_again(ledger: Ledger) -> None:
    ledger.send("sl-1", Leave(), NETWORK)
    assert (of(ledger, "sl-1").standing, of(ledger, "sl-1").nodes) == ("trusted", ())
    ledger.actors["sl-1"].incarnation = 2
    ledger.register("sl-1")
    assert uids(of(ledger, "sl-1")) == ["sl-1"]


@pytest.mark.parametrize("how", ["revoked", "retired"])
def test_a_training_does_not_wait_for_a_member_that_is_shut_out(how: str) -> None:
    ledger = Ledger(CA_2)
    ledger.join("op", "SWCI")
    ledger.send("op", AdmitOrganisation(organisation("org-2", CA_1)), NETWORK)
    for uid, authority in (("sl-1", CA_1), ("sl-2", CA_2)):
        ledger.actor(uid, "SL", authority)
        ledger.register(uid)
        ledger.send(uid, session(2))
    leader = ledger.training.round.leader if ledger.training.round else ""
    assert leader in ("sl-1", "sl-2")
    ledger.actor("op-2", "SWCI", CA_1)
    ledger.register("op-2")
    shown = thumbprint(ledger.actors["sl-1"].pair.certificate)
    after = ledger.send("op-2", RetireOrganisation("org-2") if how == "retired" else Revoke(shown), NETWORK)
    assert after.members["sl-1"].attendance == "left"
    assert after.round is not None
    assert after.round.leader == "sl-2"


@pytest.mark.parametrize("how", ["revoked", "retired"])
@pytest.mark.parametrize("left", [True, False])
def test_the_model_of_a_member_that_is_shut_out_is_not_merged_though_it_had_left_before(how: str, left: bool) -> None:
    ledger = Ledger(CA_2)
    ledger.join("op", "SWCI")
    ledger.send("op", AddAuthority(FOUNDER, anchor(CA_1)), NETWORK)
    for uid, authority in (("sl-1", CA_1), ("sl-2", CA_2), ("sl-3", CA_2)):
        ledger.actor(uid, "SL", authority)
        ledger.register(uid)
        ledger.send(uid, session(2))
    for uid in ("sl-1", "sl-2"):
        ledger.send(uid, Submit(0, "", "trained", uid[-1] * 64, 1, 1))
    if left:
        ledger.send("sl-1", Leave(), NETWORK)
    certificate = CA_1.certificate if how == "retired" else ledger.actors["sl-1"].pair.certificate
    body = RetireAuthority(thumbprint(certificate)) if how == "retired" else Revoke(thumbprint(certificate))
    after = ledger.send("op", body, NETWORK)
    assert after.round is not None
    assert list(after.round.submissions) == ["sl-2"]


def test_the_key_of_a_former_certificate_is_of_no_use_once_the_node_is_revoked(ledger: Ledger) -> None:
    former = ledger.actors["sl-1"].pair
    renewed = issue(CA_1, "SL-sl-1", [], [], 30)
    ledger.actors["sl-1"].pair = renewed
    ledger.send("sl-1", Renew(to_pem(renewed.certificate)), NETWORK)
    ledger.send("op", Revoke(thumbprint(renewed.certificate)), NETWORK)
    ledger.actors["sl-1"] = Actor("sl-1", "SL", former, incarnation=2)  # a thief who has the whole disk
    with pytest.raises(Rejection, match=r"the certificate of CN=SL-sl-1.* has been revoked"):
        ledger.register("sl-1")
    with pytest.raises(Rejection, match="revoked"):
        ledger.send("sl-1", Renew(to_pem(former.certificate)), NETWORK)
    assert not peer(ledger, former.certificate).may_read


def test_an_equal_subject_of_another_organisation_is_not_revoked_with_a_node(ledger: Ledger) -> None:
    twin = Actor("sl-9", "SL", issue(CA_2, "SL-sl-1", [], [], 30))
    ledger.actors["sl-9"] = twin
    ledger.register("sl-9")
    ledger.send("op", Revoke(thumbprint(ledger.actors["sl-1"].pair.certificate)), NETWORK)
    assert uids(peer(ledger, twin.pair.certificate)) == ["sl-9"]


def test_a_revoked_node_comes_back_with_a_new_certificate(ledger: Ledger) -> None:
    ledger.send("op", Revoke(thumbprint(ledger.actors["sl-1"].pair.certificate)), NETWORK)
    ledger.actors["sl-1"].incarnation = 2
    with pytest.raises(Rejection, match="revoked"):
        ledger.register("sl-1")
    ledger.actors["sl-1"] = Actor("sl-1", "SL", issue(CA_1, "SL-sl-1", [], [], 30), incarnation=2)
    ledger.register("sl-1")
    assert uids(of(ledger, "sl-1")) == ["sl-1"]


# --- certificates to try --------------------------------------------------------------------------------------------


def renewal(pair: KeyPair, authority: KeyPair, same_key: bool) -> KeyPair:
    """The same subject again, by this authority, with the old key or a new one."""
    fresh = issue(authority, "SN-sn-1", [], [], 365)
    if not same_key:
        return fresh
    old = fresh.certificate
    builder = x509.CertificateBuilder(
        issuer_name=old.issuer,
        subject_name=old.subject,
        public_key=pair.certificate.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=old.not_valid_before_utc,
        not_valid_after=old.not_valid_after_utc,
    )
    assert isinstance(authority.key, ec.EllipticCurvePrivateKey)
    return KeyPair(builder.sign(authority.key, hashes.SHA256()), pair.key)


def self_signed(authority: KeyPair) -> x509.Certificate:
    """The authority's certificate renewed: the same name and key, another validity."""
    old = authority.certificate
    assert isinstance(authority.key, ec.EllipticCurvePrivateKey)
    return (
        x509.CertificateBuilder(
            issuer_name=old.subject,
            subject_name=old.subject,
            public_key=old.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=old.not_valid_before_utc,
            not_valid_after=datetime(2060, 1, 1, tzinfo=UTC),
        )
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(authority.key, hashes.SHA256())
    )
