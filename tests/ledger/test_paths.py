"""Certificates from which paths lead to authorities of two organisations: whose node it is."""

from datetime import timedelta

import pytest

from support.crafted_certs import NOON, craft
from support.network import Actor, Ledger, organisation
from swarmlearning.identity.ca import KeyPair, cross_certificate, issue
from swarmlearning.identity.certificates import authority_of, to_pem
from swarmlearning.ledger.bodies import AddAuthority, AdmitOrganisation, Anchor, Register, RetireAuthority
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection

NETWORK = network.CONTRACT
YEARS = timedelta(days=3650)


def authority(name: str, by: KeyPair | None = None) -> KeyPair:
    return craft(f"CN={name}", by, begin=NOON - YEARS, end=NOON + YEARS)


ROOT, OTHER, STRANGER = authority("root"), authority("other"), authority("stranger")
SUB = authority("sub", ROOT)
"""An intermediate authority of the first organisation, which the ledger does not know."""


def pem(*pairs: KeyPair) -> str:
    return "".join(to_pem(each.certificate) for each in pairs)


def crossed(whose: KeyPair) -> str:
    """A certificate for another's authority, by which the second organisation vouches for it."""
    return to_pem(cross_certificate(whose.certificate, OTHER))


def site(uid: str, by: KeyPair) -> Actor:
    return Actor(uid, "SL", issue(by, f"SL-{uid}", [], [], 3650, NOON - YEARS / 2))


@pytest.fixture
def ledger() -> Ledger:
    """Two organisations, the second of which vouches for the intermediate authority of the first."""
    made = Ledger(ROOT)
    made.clock = int((NOON - YEARS / 4).timestamp() * 1000)
    made.join("op", "SWCI")
    made.send("op", AdmitOrganisation(organisation("org-2", OTHER)), NETWORK)
    made.actors["op-2"] = Actor("op-2", "SWCI", issue(OTHER, "SWCI-op-2", [], [], 3650, NOON - YEARS / 2))
    made.register("op-2")
    made.send("op-2", AddAuthority("org-2", Anchor(crossed(SUB))), NETWORK)
    return made


def registered(ledger: Ledger, bundle: str) -> str:
    """The organisation of a site with this bundle after its own certificate, once it has registered."""
    actor = ledger.actors["sl-1"] = site("sl-1", SUB)
    ledger.send("sl-1", Register("SL", "sl-1", actor.pem + bundle, "0"), NETWORK)
    known = network.node(ledger.chain.world, "sl-1")
    assert known is not None
    return known.organisation


@pytest.mark.parametrize("bundle", [pem(SUB), pem(SUB, ROOT), pem(ROOT, SUB)], ids=["sub", "sub, root", "root, sub"])
def test_a_node_belongs_to_the_organisation_that_its_own_intermediates_lead_to(ledger: Ledger, bundle: str) -> None:
    assert registered(ledger, bundle) == "org-1"


def test_a_node_without_intermediates_belongs_to_the_organisation_that_has_its_issuer(ledger: Ledger) -> None:
    assert registered(ledger, "") == "org-2"


def test_a_node_whose_intermediates_lead_to_two_organisations_alike_is_refused(ledger: Ledger) -> None:
    third = authority("third")
    for operator in ("op", "op-2"):
        ledger.send(operator, AdmitOrganisation(organisation("org-3", third)), NETWORK)
    twice = pem(SUB) + to_pem(cross_certificate(SUB.certificate, third))
    with pytest.raises(Rejection, match=r"untrusted: .* lead to authorities of org-1 and org-3.*leave out"):
        registered(ledger, twice)


def test_an_authority_that_another_organisation_has_claimed_is_admitted_once_a_majority_has_retired_it(
    ledger: Ledger,
) -> None:
    ledger.send("op-2", AddAuthority("org-2", Anchor(crossed(STRANGER))), NETWORK)
    new = AdmitOrganisation(organisation("org-3", STRANGER))
    with pytest.raises(Rejection, match=r"is one of organisation org-2.*swarm trust retire"):
        ledger.send("op", new, NETWORK)
    claimed = ledger.chain.world.area("authority/", network.Authority)
    (thumbprint,) = (each.thumbprint for each in claimed if each.identity == authority_of(STRANGER.certificate))
    third = authority("third")
    for operator in ("op", "op-2"):
        ledger.send(operator, AdmitOrganisation(organisation("org-4", third)), NETWORK)
    ledger.actors["op-4"] = Actor("op-4", "SWCI", issue(third, "SWCI-op-4", [], [], 3650, NOON - YEARS / 2))
    ledger.register("op-4")
    for body in (RetireAuthority(thumbprint), new):
        for operator in ("op", "op-4"):
            ledger.send(operator, body, NETWORK)
    assert network.organisation(ledger.chain.world, "org-3") is not None
