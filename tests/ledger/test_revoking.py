"""Certificates that an organisation revokes before any node has used them."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from support.crafted_certs import craft
from support.network import FOUNDER, Actor, Ledger, organisation
from swarmlearning.identity.ca import KeyPair, create_authority, cross_certificate, issue
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.ledger.access import Peer, peer
from swarmlearning.ledger.bodies import AddAuthority, AdmitOrganisation, Anchor, Announce, Register, Renew, Revoke
from swarmlearning.ledger.chain import replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import revoking
from swarmlearning.ledger.contracts.network.revoking import Revoked
from swarmlearning.ledger.contracts.rejection import Rejection

NETWORK = network.CONTRACT
DAY_MS = 86_400_000
OTHER = create_authority("CA-2", 3650)


def made(ledger: Ledger, name: str, days: int = 30, authority: KeyPair | None = None) -> KeyPair:
    begin = datetime.fromtimestamp(ledger.clock / 1000, UTC) - timedelta(minutes=5)
    return issue(authority or ledger.authority, name, [], [], days, begin)


def revoking_of(*pairs: KeyPair, whose: str = FOUNDER) -> Revoke:
    return Revoke(thumbprint(pairs[0].certificate), whose, tuple(to_pem(each.certificate) for each in pairs))


def holder(ledger: Ledger, pair: KeyPair, *path: x509.Certificate) -> Peer:
    return peer(ledger.chain.world, pair.certificate, ledger.chain.time_ms, path)


def listed(ledger: Ledger) -> set[str]:
    return {each.thumbprint for each in ledger.chain.world.area("revoked/", Revoked)}


def test_a_certificate_that_no_node_has_used_registers_none_and_reads_nothing(ledger: Ledger) -> None:
    stolen, fine = made(ledger, "SL-sl-9"), made(ledger, "SL-sl-9")
    assert holder(ledger, stolen).standing == "unknown"
    ledger.send("op", revoking_of(stolen), NETWORK)
    assert (holder(ledger, stolen).standing, holder(ledger, fine).standing) == ("refused", "unknown")
    ledger.actors["sl-9"] = Actor("sl-9", "SL", stolen)
    with pytest.raises(Rejection, match=r"revoked: the certificate of CN=SL-sl-9.* was revoked before it was used"):
        ledger.register("sl-9")
    ledger.actors["sl-9"] = Actor("sl-9", "SL", fine)
    ledger.register("sl-9")
    assert replay(ledger.blocks).world.state_hash() == ledger.chain.world.state_hash()


def test_a_node_does_not_renew_to_a_revoked_certificate_and_it_shuts_out_the_node_of_its_identity(
    ledger: Ledger,
) -> None:
    stolen = made(ledger, "SL-sl-1")
    ledger.send("op", revoking_of(stolen), NETWORK)
    known = network.node(ledger.chain.world, "sl-1")
    assert known
    assert known.left, "as if one that the ledger has were revoked: whoever has one key may have others"
    ledger.actors["sl-1"] = Actor("sl-1", "SL", made(ledger, "SL-sl-1"), incarnation=2)
    ledger.register("sl-1")
    assert holder(ledger, stolen).standing == "refused"
    ledger.actors["sl-1"].pair = stolen
    with pytest.raises(Rejection, match="revoked"):
        ledger.send("sl-1", Renew(to_pem(stolen.certificate)), NETWORK)


def test_used_and_unused_certificates_of_an_identity_are_revoked_by_one_act(ledger: Ledger) -> None:
    unused = made(ledger, "SL-sl-1")
    used = thumbprint(ledger.actors["sl-1"].pair.certificate)
    both = Revoke(used, FOUNDER, (ledger.actors["sl-1"].pem, to_pem(unused.certificate)))
    ledger.send("op", both, NETWORK)
    assert listed(ledger) == {thumbprint(unused.certificate)}, "that which the ledger has is revoked there"
    stored = network.certificate(ledger.chain.world, used)
    assert stored
    assert stored.revoked
    with pytest.raises(Rejection, match=r"unknown-certificate: no certificate .* that could be revoked"):
        ledger.send("op", both, NETWORK)


def test_what_is_wrong_with_an_unused_certificate_is_refused(ledger: Ledger) -> None:
    one, other = made(ledger, "SL-sl-8"), made(ledger, "SL-sl-9")
    foreign, old = made(ledger, "SL-sl-8", authority=OTHER), made(ledger, "SL-sl-8", days=1)
    for body, reason in {
        revoking_of(one, other): "bad-certificate: one identity at a time: CN=SL-sl-8",
        revoking_of(foreign): "untrusted: no authority of organisation org-1 has issued this",
        Revoke(thumbprint(one.certificate)): "unknown-certificate",
        Revoke("0" * 64, FOUNDER, (to_pem(one.certificate),)): "unknown-certificate",
        Revoke("0" * 64, FOUNDER, ("nothing",)): "bad-certificate: no certificate in PEM form",
    }.items():
        with pytest.raises(Rejection, match=reason):
            ledger.send("op", body, NETWORK)
    ledger.clock += 2 * DAY_MS
    with pytest.raises(Rejection, match="unknown-certificate"):
        ledger.send("op", revoking_of(old), NETWORK)
    assert not listed(ledger)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(revoking, "MAX_UNUSED", 3)
    return 3


def test_the_list_of_an_organisation_is_bounded_and_what_has_expired_makes_room(ledger: Ledger, few: int) -> None:
    brief = [made(ledger, f"SL-brief-{index}", days=1) for index in range(few)]
    for each in brief:
        ledger.send("op", revoking_of(each), NETWORK)
    new = made(ledger, "SL-new")
    with pytest.raises(Rejection, match="too-many: organisation org-1 has revoked 3 certificates that no node has"):
        ledger.send("op", revoking_of(new), NETWORK)
    ledger.send("op", Revoke(thumbprint(ledger.actors["sl-1"].pair.certificate)), NETWORK)  # used ones always can be
    ledger.clock += 2 * DAY_MS
    ledger.send("op", revoking_of(new), NETWORK)
    assert listed(ledger) == {thumbprint(new.certificate)}
    assert replay(ledger.blocks).world.state_hash() == ledger.chain.world.state_hash()


def test_an_organisation_that_vouches_for_anothers_intermediate_authority_revokes_nothing_of_the_others() -> None:
    now = datetime.now(UTC)
    root, theirs = (craft(f"CN={name}", begin=now - timedelta(9), end=now + timedelta(900)) for name in ("root", "b"))
    sub = craft("CN=sub", root, begin=now - timedelta(9), end=now + timedelta(900))
    ledger = Ledger(root)
    ledger.clock = int(now.timestamp() * 1000)
    ledger.join("op", "SWCI")
    ledger.send("op", AdmitOrganisation(organisation("org-2", theirs)), NETWORK)
    ledger.join("op-2", "SWCI", theirs)
    ledger.send("op-2", AddAuthority("org-2", Anchor(to_pem(cross_certificate(sub.certificate, theirs)))), NETWORK)
    site = made(ledger, "SL-sl-1", authority=sub)
    ledger.send("op-2", revoking_of(site, whose="org-2"), NETWORK)
    assert holder(ledger, site, sub.certificate, root.certificate).standing == "unknown"
    ledger.actors["sl-1"] = Actor("sl-1", "SL", site)
    bundle = to_pem(site.certificate) + to_pem(sub.certificate)
    ledger.send("sl-1", Register("SL", "sl-1", bundle, "0"), NETWORK)
    ledger.send("sl-1", Announce({}), NETWORK)
    other = made(ledger, "SL-sl-2", authority=sub)
    bundle = to_pem(other.certificate) + to_pem(sub.certificate)
    ledger.send("op-2", Revoke(thumbprint(other.certificate), FOUNDER, (bundle,)), NETWORK)
    assert [each.by for each in network.proposals(ledger.chain.world)] == ["org-2"], "the others have to sign it"
    assert listed(ledger) == {thumbprint(site.certificate)}
