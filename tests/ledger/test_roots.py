"""Roots of trust domains: what an organisation's own nodes add without its operators, and what they cannot."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from support.agent import LIFE, TrustDomain
from support.crafted_certs import craft
from support.network import FOUNDER, Actor, Ledger
from swarmlearning.identity.ca import KeyPair, create_authority
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.ledger.bodies import (
    AddAuthority,
    AddRoot,
    AdmitOrganisation,
    Anchor,
    Announce,
    NewOrganisation,
    NodeType,
    Renew,
    RetireAuthority,
)
from swarmlearning.ledger.chain import replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network.bodies import MAX_ANCHORS
from swarmlearning.ledger.contracts.network.succession import succeeding
from swarmlearning.ledger.contracts.rejection import Rejection

NETWORK = network.CONTRACT
ISSUED: tuple[NodeType, ...] = ("SN", "SL", "SWCI")
HOUR = 3600 * 1000


def root_of(domain: TrustDomain, index: int = -1, *, bundle: bool = True) -> Anchor:
    return Anchor(to_pem(domain.roots[index].certificate), ISSUED, domain.name, bundle)


def add(pair: KeyPair) -> AddRoot:
    return AddRoot(to_pem(pair.certificate))


def join(ledger: Ledger, uid: str, kind: NodeType, pair: KeyPair) -> None:
    ledger.actors[uid] = Actor(uid, kind, pair)
    ledger.register(uid)


@pytest.fixture
def domain() -> TrustDomain:
    return TrustDomain("two.example")


@pytest.fixture
def ledger(domain: TrustDomain) -> Ledger:
    """The founder's organisation, and `two`, a trust domain that is followed, with an SN, an SL and an operator."""
    made = Ledger()
    made.join("op", "SWCI")
    made.send("op", AdmitOrganisation(NewOrganisation("two", "Two", (root_of(domain),))), NETWORK)
    kinds: dict[str, NodeType] = {"sn-2": "SN", "sl-2": "SL", "op-2": "SWCI"}
    for uid, kind in kinds.items():
        join(made, uid, kind, domain.issue(kind.lower()))
    return made


def trusted(ledger: Ledger) -> set[str]:
    return {each.thumbprint for each in network.authorities(ledger.chain.world) if each.organisation == "two"}


def refused(ledger: Ledger, uid: str, pair: KeyPair, reason: str) -> None:
    with pytest.raises(Rejection, match=reason):
        ledger.send(uid, add(pair), NETWORK)


def test_an_sn_adds_a_root_by_which_the_nodes_of_its_domain_go_on(ledger: Ledger, domain: TrustDomain) -> None:
    domain.prepare_root()
    new = domain.issue("sl")
    with pytest.raises(Rejection, match="untrusted"):
        join(ledger, "sl-3", "SL", new)
    ledger.send("sn-2", add(domain.roots[1]), NETWORK)
    join(ledger, "sl-3", "SL", new)
    ledger.actors["sl-2"].pair = domain.issue("sl")
    ledger.send("sl-2", Renew(ledger.actors["sl-2"].pem), NETWORK)
    ledger.send("sl-2", Announce({}), NETWORK)
    known = network.node(ledger.chain.world, "sl-2")
    assert known
    assert (known.organisation, known.subject, known.left) == ("two", "spiffe://two.example/sl", False)
    assert len(trusted(ledger)) == 2
    assert replay(ledger.blocks).world.state_hash() == ledger.chain.world.state_hash()


def test_a_root_issues_for_its_own_domain_and_the_roles_of_those_before_it(ledger: Ledger, domain: TrustDomain) -> None:
    domain.prepare_root()
    ledger.send("sn-2", add(domain.roots[1]), NETWORK)
    with pytest.raises(Rejection, match=r"may issue for SN, SL, SWCI in trust domain two\.example only"):
        join(ledger, "swop-2", "SWOP", domain.issue("swop"))
    domain.name = "one.example"
    with pytest.raises(Rejection, match=r"in trust domain two\.example only"):
        join(ledger, "sl-1", "SL", domain.issue("sl"))


@pytest.mark.parametrize("uid", ["sl-2", "op-2"])
def test_neither_an_sl_nor_an_operator_adds_a_root(ledger: Ledger, domain: TrustDomain, uid: str) -> None:
    domain.prepare_root()
    refused(ledger, uid, domain.roots[1], "not-allowed: only SN, SWOP may do this")


def test_a_domain_that_is_not_followed_gets_no_root(ledger: Ledger) -> None:
    other = TrustDomain("three.example")
    body = AdmitOrganisation(NewOrganisation("three", "Three", (root_of(other, bundle=False),)))
    ledger.send("op", body, NETWORK)
    ledger.send("op-2", body, NETWORK)
    join(ledger, "sn-3", "SN", other.issue("sn"))
    other.prepare_root()
    reason = r"not-allowed: no bundle of the trust domain three\.example is followed for organisation three"
    refused(ledger, "sn-3", other.roots[1], reason)
    refused(ledger, "sn-1", other.roots[1], f"not-allowed: no bundle of .* of CN=.* is followed .* {FOUNDER}")


def test_that_a_domain_is_followed_is_no_decision_of_its_organisation_alone(ledger: Ledger) -> None:
    authority = create_authority("CA-9", 30)
    own = Anchor(to_pem(authority.certificate), trust_domain="nine.example")
    new = NewOrganisation("nine", "Nine", (own,))
    for uid in ("op", "op-2"):
        ledger.send(uid, AdmitOrganisation(new), NETWORK)
    followed = AddAuthority("nine", msgspec.structs.replace(own, bundle=True))
    assert succeeding(ledger.chain.world, NETWORK, AddAuthority("nine", own)) == "nine"
    assert succeeding(ledger.chain.world, NETWORK, followed) == ""


def test_a_root_that_operators_have_retired_does_not_return(ledger: Ledger, domain: TrustDomain) -> None:
    domain.prepare_root()
    ledger.send("sn-2", add(domain.roots[1]), NETWORK)
    refused(ledger, "sn-2", domain.roots[1], "no-change: root .* is trusted already")
    ledger.send("op-2", RetireAuthority(thumbprint(domain.roots[1].certificate)), NETWORK)
    refused(ledger, "sn-2", domain.roots[1], "not-allowed: root .* was retired; an operator may bring it back")


def test_a_root_of_another_domain_and_a_certificate_that_is_no_root_are_refused(
    ledger: Ledger, domain: TrustDomain
) -> None:
    refused(ledger, "sn-2", TrustDomain("one.example").roots[0], "bad-certificate: root .* is of another trust domain")
    refused(ledger, "sn-2", domain.issue("sn"), "bad-certificate: .* is no certificate authority")
    old = craft("CN=old", begin=datetime(2020, 1, 1, tzinfo=UTC), end=datetime(2021, 1, 1, tzinfo=UTC))
    refused(ledger, "sn-2", old, "bad-certificate: .* has expired")
    refused(ledger, "sn-2", ledger.authority, f"other-organisation: .* is one of organisation {FOUNDER}")


def test_what_has_expired_makes_room_for_what_is_added(ledger: Ledger, domain: TrustDomain) -> None:
    domain.prepare_root(timedelta(days=9))
    ledger.send("sn-2", add(domain.roots[1]), NETWORK)
    ledger.actors["sn-2"].pair = domain.issue("sn", 3 * LIFE)
    ledger.send("sn-2", Renew(ledger.actors["sn-2"].pem), NETWORK)
    ledger.clock += 49 * HOUR
    domain.prepare_root(timedelta(days=9))
    ledger.send("sn-2", add(domain.roots[2]), NETWORK)
    assert trusted(ledger) == {thumbprint(root.certificate) for root in domain.roots[1:]}


def test_an_organisation_has_so_many_roots_at_most(ledger: Ledger, domain: TrustDomain) -> None:
    for _ in range(MAX_ANCHORS - 1):
        domain.prepare_root()
        ledger.send("sn-2", add(domain.roots[-1]), NETWORK)
    domain.prepare_root()
    refused(ledger, "sn-2", domain.roots[-1], "too-many: an organisation has 8 authorities at most")
