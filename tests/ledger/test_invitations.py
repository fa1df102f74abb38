"""Invitations: a one-time key, with which somebody without a certificate makes one request."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from support.governed import AUTHORITIES, SPARE, active, newest, send, three
from support.network import Ledger
from swarmlearning.identity.ca import Key, KeyPair, certify, issue
from swarmlearning.identity.certificates import to_pem
from swarmlearning.identity.onetime import new_key, public_half, sign
from swarmlearning.identity.requests import make_request
from swarmlearning.ledger.bodies import (
    AdmitOrganisation,
    Anchor,
    Certify,
    Invite,
    NewOrganisation,
    Register,
    Reject,
    RequestAdmission,
    RequestCertificate,
    RetireOrganisation,
    Sign,
    WithdrawInvitation,
)
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.inviting import INVITATION_MS, MOST_INVITATIONS, awaited, statement
from swarmlearning.ledger.contracts.network.state import Invitation, invitation, open_invitations
from swarmlearning.ledger.contracts.rejection import Rejection

HOUR_MS = 3_600_000
KEY = bytes(range(32))
PUBLIC = public_half(KEY)


@pytest.fixture
def ledger() -> Ledger:
    return three()


def for_node(ledger: Ledger, name: str = "SL-new", organisation: str = "org-2") -> Invite:
    return Invite(PUBLIC, organisation, ledger.chain.time_ms + HOUR_MS, "SL", name)


def for_organisation(ledger: Ledger) -> Invite:
    return Invite(PUBLIC, "org-9", ledger.chain.time_ms + HOUR_MS)


def new_node_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def certificate_request(ledger: Ledger, key: Key, name: str = "SL-new", by: bytes = KEY) -> RequestCertificate:
    body = RequestCertificate(PUBLIC, make_request(key, name, [], ["10.0.0.7"]), "")
    return msgspec.structs.replace(body, signature=sign(by, statement(ledger.chain.network_id, body)))


def admission_request(ledger: Ledger, by: bytes = KEY, authority: KeyPair = SPARE) -> RequestAdmission:
    body = RequestAdmission(PUBLIC, "North Hospital", (Anchor(to_pem(authority.certificate)),), "")
    return msgspec.structs.replace(body, signature=sign(by, statement(ledger.chain.network_id, body)))


def found(ledger: Ledger) -> Invitation:
    entry = invitation(ledger.chain.world, PUBLIC)
    assert entry is not None
    return entry


class TestNode:
    def test_a_node_gets_its_certificate_by_way_of_the_ledger_and_registers_with_it(self, ledger: Ledger) -> None:
        key = new_node_key()
        send(ledger, "op-2", for_node(ledger))
        assert [each.key for each in open_invitations(ledger.chain.world, ledger.chain.time_ms)] == [PUBLIC]
        send(ledger, "sn-1", certificate_request(ledger, key))
        assert open_invitations(ledger.chain.world, ledger.chain.time_ms) == []
        issued = certify(AUTHORITIES["org-2"], key.public_key(), "SL-new", [], ["10.0.0.7"], 30)
        send(ledger, "op-2", Certify(PUBLIC, to_pem(issued)))
        assert found(ledger).certificate == to_pem(issued)
        ledger.actor("new", "SL", AUTHORITIES["org-2"]).pair = KeyPair(issued, key)
        send(ledger, "new", Register("SL", "new", to_pem(issued), "0"))
        known = network.node(ledger.chain.world, ledger.actors["new"].uid)
        assert known is not None
        assert known.organisation == "org-2"

    def test_an_organisation_invites_its_own_nodes_alone(self, ledger: Ledger) -> None:
        with pytest.raises(Rejection, match="not-allowed: only operators of org-2 invite nodes of it"):
            send(ledger, "op-1", for_node(ledger))

    def test_only_operators_invite_and_only_sns_pass_requests_on(self, ledger: Ledger) -> None:
        with pytest.raises(Rejection, match="not-allowed"):
            send(ledger, "sl-2", for_node(ledger))
        send(ledger, "op-2", for_node(ledger))
        with pytest.raises(Rejection, match="not-allowed"):
            send(ledger, "sl-2", certificate_request(ledger, new_node_key()))

    def test_the_name_of_a_node_begins_with_its_role(self, ledger: Ledger) -> None:
        with pytest.raises(Rejection, match=r"bad-role: .* begins with SL-"):
            send(ledger, "op-2", for_node(ledger, "SN-new"))

    def test_a_request_for_another_name_is_refused_and_the_key_is_still_good(self, ledger: Ledger) -> None:
        send(ledger, "op-2", for_node(ledger))
        with pytest.raises(Rejection, match="this invitation is for SL-new, but the request is for SN-new"):
            send(ledger, "sn-1", certificate_request(ledger, new_node_key(), "SN-new"))
        send(ledger, "sn-1", certificate_request(ledger, new_node_key()))

    def test_what_an_sn_has_altered_or_signed_itself_is_refused(self, ledger: Ledger) -> None:
        send(ledger, "op-2", for_node(ledger))
        mine = certificate_request(ledger, new_node_key())
        other = certificate_request(ledger, new_node_key(), by=new_key())
        for forged in (other, msgspec.structs.replace(mine, request=other.request)):
            with pytest.raises(Rejection, match="bad-signature"):
                send(ledger, "sn-1", forged)
        assert found(ledger).state == "open"

    def test_a_signature_for_another_network_is_refused(self, ledger: Ledger) -> None:
        send(ledger, "op-2", for_node(ledger))
        body = certificate_request(ledger, new_node_key())
        elsewhere = msgspec.structs.replace(body, signature=sign(KEY, statement("f" * 64, body)))
        with pytest.raises(Rejection, match="bad-signature"):
            send(ledger, "sn-1", elsewhere)

    def test_a_request_that_is_no_csr_is_refused(self, ledger: Ledger) -> None:
        send(ledger, "op-2", for_node(ledger))
        body = RequestCertificate(PUBLIC, "nothing", "")
        signed = msgspec.structs.replace(body, signature=sign(KEY, statement(ledger.chain.network_id, body)))
        with pytest.raises(Rejection, match="bad-certificate: no request in PEM form"):
            send(ledger, "sn-1", signed)

    def test_only_the_certificate_that_was_requested_is_kept_for_the_node(self, ledger: Ledger) -> None:
        key, own = new_node_key(), AUTHORITIES["org-2"]
        send(ledger, "op-2", for_node(ledger))
        good = to_pem(certify(own, key.public_key(), "SL-new", [], [], 30))
        with pytest.raises(Rejection, match="nobody has requested a certificate"):
            send(ledger, "op-2", Certify(PUBLIC, good))
        send(ledger, "sn-1", certificate_request(ledger, key))
        for wrong in (
            to_pem(issue(own, "SL-new", [], [], 30).certificate),
            to_pem(certify(own, key.public_key(), "SN-new", [], [], 30)),
        ):
            with pytest.raises(Rejection, match="the certificate is not for SL-new and the key"):
                send(ledger, "op-2", Certify(PUBLIC, wrong))
        foreign = certify(AUTHORITIES["org-1"], key.public_key(), "SL-new", [], [], 30)
        with pytest.raises(Rejection, match="untrusted"):
            send(ledger, "op-2", Certify(PUBLIC, to_pem(foreign)))
        with pytest.raises(Rejection, match="not-allowed: this invitation is one of org-2"):
            send(ledger, "op-1", Certify(PUBLIC, good))
        send(ledger, "op-2", Certify(PUBLIC, good))


class TestOrganisation:
    def test_an_invited_organisation_is_admitted_once_a_majority_has_signed_what_it_requests(
        self, ledger: Ledger
    ) -> None:
        send(ledger, "op-1", for_organisation(ledger))
        send(ledger, "sn-2", admission_request(ledger))
        proposed = newest(ledger)
        assert (proposed.act, proposed.by, proposed.signed) == ("admit-organisation", "org-1", ())
        assert found(ledger).proposal == proposed.number
        send(ledger, "op-1", Sign(proposed.number))
        assert "org-9" not in active(ledger)
        send(ledger, "op-3", Sign(proposed.number))
        assert "org-9" in active(ledger)

    def test_an_invitation_admits_nobody_by_itself_even_where_one_organisation_is_enough(self) -> None:
        alone = Ledger(AUTHORITIES["org-1"])
        alone.join("op-1", "SWCI", AUTHORITIES["org-1"])
        send(alone, "op-1", for_organisation(alone))
        send(alone, "sn-1", admission_request(alone))
        assert "org-9" not in active(alone)
        send(alone, "op-1", Sign(newest(alone).number))
        assert "org-9" in active(alone)

    def test_the_others_may_reject_it(self, ledger: Ledger) -> None:
        send(ledger, "op-1", for_organisation(ledger))
        send(ledger, "sn-1", admission_request(ledger))
        for operator in ("op-2", "op-3"):
            send(ledger, operator, Reject(newest(ledger).number))
        assert newest(ledger).state == "rejected"

    def test_what_is_proposed_already_is_not_proposed_twice(self, ledger: Ledger) -> None:
        body = admission_request(ledger)
        send(ledger, "op-2", AdmitOrganisation(NewOrganisation("org-9", body.name, body.anchors)))
        send(ledger, "op-1", for_organisation(ledger))
        send(ledger, "sn-1", body)
        assert found(ledger).proposal == newest(ledger).number == len(network.proposals(ledger.chain.world))
        assert newest(ledger).signed == ("org-2",)

    def test_the_authority_of_another_organisation_is_not_proposed(self, ledger: Ledger) -> None:
        send(ledger, "op-1", for_organisation(ledger))
        with pytest.raises(Rejection, match="other-organisation"):
            send(ledger, "sn-1", admission_request(ledger, authority=AUTHORITIES["org-3"]))
        assert found(ledger).state == "open"

    def test_who_takes_part_already_is_not_invited(self, ledger: Ledger) -> None:
        with pytest.raises(Rejection, match="no-change: organisation org-2 takes part already"):
            send(ledger, "op-1", Invite(PUBLIC, "org-2", ledger.chain.time_ms + HOUR_MS))

    def test_each_kind_of_invitation_is_for_its_own_kind_of_request(self, ledger: Ledger) -> None:
        send(ledger, "op-1", for_organisation(ledger))
        with pytest.raises(Rejection, match="is for an organisation, not for a node"):
            send(ledger, "sn-1", certificate_request(ledger, new_node_key()))
        send(ledger, "op-1", WithdrawInvitation(PUBLIC))
        other = msgspec.structs.replace(for_node(ledger), key=public_half(b"1" * 32))
        send(ledger, "op-2", other)
        body = msgspec.structs.replace(admission_request(ledger), key=other.key)
        signed = msgspec.structs.replace(body, signature=sign(b"1" * 32, statement(ledger.chain.network_id, body)))
        with pytest.raises(Rejection, match="is for a node, not for an organisation"):
            send(ledger, "sn-1", signed)


class TestOnce:
    def test_a_key_works_once(self, ledger: Ledger) -> None:
        send(ledger, "op-2", for_node(ledger))
        send(ledger, "sn-1", certificate_request(ledger, new_node_key()))
        with pytest.raises(Rejection, match="no-invitation: the invitation is used"):
            send(ledger, "sn-1", certificate_request(ledger, new_node_key()))
        with pytest.raises(Rejection, match="no-change: there is an invitation with this key already"):
            send(ledger, "op-2", for_node(ledger))

    def test_a_key_works_until_it_expires(self, ledger: Ledger) -> None:
        send(ledger, "op-2", for_node(ledger))
        ledger.clock = found(ledger).expires_ms + 1
        assert open_invitations(ledger.chain.world, ledger.clock) == []
        with pytest.raises(Rejection, match="no-invitation: the invitation has expired"):
            send(ledger, "sn-1", certificate_request(ledger, new_node_key()))

    def test_a_key_that_was_withdrawn_is_of_no_use(self, ledger: Ledger) -> None:
        send(ledger, "op-2", for_node(ledger))
        with pytest.raises(Rejection, match="not-allowed: this invitation is one of org-2"):
            send(ledger, "op-1", WithdrawInvitation(PUBLIC))
        send(ledger, "op-2", WithdrawInvitation(PUBLIC))
        with pytest.raises(Rejection, match="no-invitation: the invitation is withdrawn"):
            send(ledger, "sn-1", certificate_request(ledger, new_node_key()))
        with pytest.raises(Rejection, match="is withdrawn already"):
            send(ledger, "op-2", WithdrawInvitation(PUBLIC))

    def test_a_key_of_an_organisation_that_has_left_is_of_no_use(self, ledger: Ledger) -> None:
        send(ledger, "op-2", for_organisation(ledger))
        send(ledger, "op-2", RetireOrganisation("org-2"))
        with pytest.raises(Rejection, match="org-2, whose invitation it is, takes no part any more"):
            send(ledger, "sn-1", admission_request(ledger))

    def test_an_unknown_key_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(Rejection, match="no-invitation: there is no invitation"):
            send(ledger, "sn-1", certificate_request(ledger, new_node_key()))

    @pytest.mark.parametrize("ms", [0, INVITATION_MS + HOUR_MS])
    def test_an_invitation_expires_within_a_month(self, ledger: Ledger, ms: int) -> None:
        with pytest.raises(Rejection, match="within 30 days"):
            send(ledger, "op-2", msgspec.structs.replace(for_node(ledger), expires_ms=ledger.chain.time_ms + ms))

    def test_the_open_invitations_of_an_organisation_are_bounded(self, ledger: Ledger) -> None:
        for number in range(MOST_INVITATIONS):
            send(ledger, "op-2", msgspec.structs.replace(for_node(ledger), key=f"{number:064x}"))
        with pytest.raises(Rejection, match="too-many: organisation org-2 has 64 open invitations"):
            send(ledger, "op-2", for_node(ledger))
        send(ledger, "op-2", WithdrawInvitation(f"{0:064x}"))
        send(ledger, "op-2", for_node(ledger))


class TestAwaited:
    """Whom an SN's port for newcomers has to be open for."""

    def keys(self, ledger: Ledger, after_ms: int = 0) -> list[str]:
        return [each.key for each in awaited(ledger.chain.world, ledger.chain.time_ms + after_ms)]

    def test_an_invitation_is_awaited_until_it_expires_or_is_withdrawn(self, ledger: Ledger) -> None:
        assert self.keys(ledger) == []
        send(ledger, "op-2", for_node(ledger))
        assert self.keys(ledger) == [PUBLIC]
        assert self.keys(ledger, 2 * HOUR_MS) == []
        send(ledger, "op-2", WithdrawInvitation(PUBLIC))
        assert self.keys(ledger) == []

    def test_a_node_is_awaited_until_it_has_registered_with_its_certificate(self, ledger: Ledger) -> None:
        key = new_node_key()
        send(ledger, "op-2", for_node(ledger))
        send(ledger, "sn-1", certificate_request(ledger, key))
        assert self.keys(ledger) == [PUBLIC], "it waits for its office"
        assert self.keys(ledger, 2 * HOUR_MS) == [], "at most until the invitation expires"
        issued = certify(AUTHORITIES["org-2"], key.public_key(), "SL-new", [], [], 30)
        send(ledger, "op-2", Certify(PUBLIC, to_pem(issued)))
        assert self.keys(ledger) == [PUBLIC], "it has still to fetch the certificate"
        ledger.actor("new", "SL", AUTHORITIES["org-2"]).pair = KeyPair(issued, key)
        send(ledger, "new", Register("SL", "new", to_pem(issued), "0"))
        assert self.keys(ledger) == []

    def test_an_organisation_is_awaited_until_a_node_of_it_has_registered(self, ledger: Ledger) -> None:
        send(ledger, "op-1", for_organisation(ledger))
        send(ledger, "sn-2", admission_request(ledger))
        for operator in ("op-1", "op-3"):
            assert self.keys(ledger) == [PUBLIC]
            send(ledger, operator, Sign(newest(ledger).number))
        assert self.keys(ledger) == [PUBLIC]
        ledger.join("op-9", "SWCI", SPARE)
        assert self.keys(ledger) == []

    def test_nobody_is_awaited_for_an_organisation_that_takes_no_part_any_more(self, ledger: Ledger) -> None:
        send(ledger, "op-2", for_node(ledger))
        for operator in ("op-1", "op-3"):
            send(ledger, operator, RetireOrganisation("org-2"))
        assert self.keys(ledger) == []
