"""The nodes for which a credential acts: the subject under the same authority."""

from cryptography.hazmat.primitives.serialization import Encoding

from support.network import Ledger, organisation
from swarmlearning.identity.ca import KeyPair, create_authority, issue
from swarmlearning.identity.certificates import thumbprint
from swarmlearning.ledger.bodies import AdmitOrganisation, Leave, RetireOrganisation, Revoke
from swarmlearning.ledger.contracts import network
from swarmlearning.node.credentials import peer_of
from swarmlearning.sn.admission import Admission
from swarmlearning.transport.parties import Credential


def credential(pair: KeyPair, authority: KeyPair) -> Credential:
    der = pair.certificate.public_bytes(Encoding.DER)
    return Credential(der, thumbprint(pair.certificate), thumbprint(authority.certificate))


class Network:
    """SN-1 and SN-2 under CA-1; CA-2 is another organisation's."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.ledger.join("sn-2", "SN")
        self.first, self.second = self.ledger.authority, create_authority("CA-2", 3650)
        self.ledger.join("op", "SWCI")
        self.ledger.send("op", AdmitOrganisation(organisation("org-2", self.second)), network.CONTRACT)

    def admits(self, shown: Credential, uid: str | None = None) -> bool:
        return Admission(lambda: self.ledger.chain).admits(shown, uid)

    def registered(self, uid: str) -> Credential:
        return credential(self.ledger.actors[uid].pair, self.first)

    def issued(self, name: str, authority: KeyPair) -> Credential:
        return credential(issue(authority, name, [], [], 3650), authority)


def test_a_registered_certificate_acts_for_its_own_node_only() -> None:
    net = Network()
    shown = net.registered("sn-2")
    assert net.admits(shown)
    assert net.admits(shown, "sn-2")
    assert not net.admits(shown, "sn-1")


def test_a_renewed_certificate_with_a_new_key_is_the_same_node() -> None:
    net = Network()
    assert net.admits(net.issued("SN-sn-2", net.first), "sn-2")


def test_an_equal_subject_under_another_trusted_authority_is_another_identity() -> None:
    net = Network()
    assert not net.admits(net.issued("SN-sn-2", net.second))


def test_an_authority_that_only_has_an_equal_name_is_another_authority() -> None:
    net = Network()
    assert not net.admits(net.issued("SN-sn-2", create_authority("CA-1", 3650)))


def test_a_certificate_of_an_unregistered_sn_is_not_admitted() -> None:
    net = Network()
    assert not net.admits(net.issued("SN-sn-3", net.first))


def test_the_certificate_of_an_sl_is_not_admitted_among_sns() -> None:
    net = Network()
    sl = net.ledger.join("sl-1")
    shown = credential(sl.pair, net.first)
    assert peer_of(net.ledger.chain, shown).node("sl-1") is not None
    assert not net.admits(shown)
    assert not net.admits(shown, "sl-1")


def test_a_revoked_certificate_is_not_admitted() -> None:
    net = Network()
    shown = net.registered("sn-2")
    net.ledger.send("op", Revoke(shown.thumbprint), network.CONTRACT)
    assert not net.admits(shown)


def test_nodes_of_a_retired_organisation_are_not_admitted() -> None:
    net = Network()
    sn = net.ledger.join("sn-3", "SN", net.second)
    net.ledger.join("op-2", "SWCI", net.second)
    shown = credential(sn.pair, net.second)
    assert net.admits(shown, "sn-3")
    net.ledger.send("op-2", RetireOrganisation("org-2"), network.CONTRACT)
    assert not net.admits(shown, "sn-3")


def test_an_sn_that_has_left_is_not_admitted() -> None:
    net = Network()
    net.ledger.send("sn-2", Leave(), network.CONTRACT)
    assert not net.admits(net.registered("sn-2"))
