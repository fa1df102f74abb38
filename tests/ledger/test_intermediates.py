"""Nodes whose organisation gets another intermediate authority, or another certificate for it, under the same root."""

from datetime import timedelta

import pytest
from cryptography import x509

from support.crafted_certs import NOON, craft, ms
from support.network import FOUNDER, Actor, Ledger, organisation
from swarmlearning.identity.ca import KeyPair, cross_certificate, issue
from swarmlearning.identity.certificates import thumbprint, to_pem
from swarmlearning.ledger.access import peer
from swarmlearning.ledger.bodies import (
    AddAuthority,
    AdmitOrganisation,
    Anchor,
    Announce,
    Register,
    Renew,
    RetireAuthority,
    Revoke,
)
from swarmlearning.ledger.chain import replay
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.rejection import Rejection

NETWORK = network.CONTRACT
YEARS, DAY = timedelta(days=3650), timedelta(days=1)


def authority(name: str, by: KeyPair | None = None, end: timedelta = YEARS, key: KeyPair | None = None) -> KeyPair:
    return craft(f"CN={name}", by, begin=NOON - YEARS / 2, end=NOON + end, key=key.key if key else None)


ROOT, OTHER = authority("root"), authority("other")
FIRST = authority("sub", ROOT, end=DAY)
RENEWED = authority("sub", ROOT, key=FIRST)
"""The same intermediate authority, with a certificate that lasts longer."""
SECOND = authority("sub 2", ROOT)
LEAF = issue(RENEWED, "SL-sl-1", [], [], 3650, NOON - DAY)


def pem(*pairs: KeyPair) -> str:
    return "".join(to_pem(each.certificate) for each in pairs)


def shown(*pairs: KeyPair) -> list[x509.Certificate]:
    return [each.certificate for each in pairs]


@pytest.fixture
def ledger() -> Ledger:
    """A network with an operator and a site whose certificate is by the intermediate authority."""
    made = Ledger(ROOT)
    made.clock = ms(NOON)
    made.join("op", "SWCI")
    made.actors["sl-1"] = Actor("sl-1", "SL", LEAF)
    made.send("sl-1", Register("SL", "sl-1", pem(LEAF, FIRST), "0"), NETWORK)
    return made


def stored(ledger: Ledger) -> network.Certificate:
    known = network.node(ledger.chain.world, "sl-1")
    found = network.certificate(ledger.chain.world, known.certificate) if known else None
    assert found
    return found


def standing(ledger: Ledger, leaf: KeyPair, *path: KeyPair) -> str:
    return peer(ledger.chain.world, leaf.certificate, ledger.chain.time_ms, shown(*path)).standing


def test_a_certificate_by_another_intermediate_authority_is_the_same_node_before_and_after_it_is_renewed(
    ledger: Ledger,
) -> None:
    new = issue(SECOND, "SL-sl-1", [], [], 3650, NOON - DAY)
    assert standing(ledger, new) == "unknown"
    assert standing(ledger, new, SECOND) == standing(ledger, new, SECOND, ROOT) == "trusted"
    ledger.actors["sl-1"].pair = new
    ledger.send("sl-1", Renew(pem(new, SECOND)), NETWORK)
    ledger.send("sl-1", Announce({}), NETWORK)
    assert stored(ledger).thumbprint == thumbprint(new.certificate)
    assert standing(ledger, new) == "trusted"


def test_a_renewed_certificate_of_the_intermediate_authority_takes_the_place_of_the_former_one(ledger: Ledger) -> None:
    with pytest.raises(Rejection, match="no-change: node sl-1 uses this certificate already"):
        ledger.send("sl-1", Renew(pem(LEAF, FIRST)), NETWORK)
    ledger.send("sl-1", Renew(pem(LEAF, RENEWED)), NETWORK)
    assert stored(ledger).pem == pem(LEAF, RENEWED)
    ledger.clock = ms(NOON + 2 * DAY)
    ledger.send("sl-1", Announce({}), NETWORK)
    assert replay(ledger.blocks).world.state_hash() == ledger.chain.world.state_hash()


def test_it_does_so_too_once_the_former_one_has_expired(ledger: Ledger) -> None:
    ledger.clock = ms(NOON + 2 * DAY)
    with pytest.raises(Rejection, match=r"untrusted: .*CN=sub.* expired"):
        ledger.send("sl-1", Announce({}), NETWORK)
    ledger.send("op", Announce({}), NETWORK)  # a block of that time
    assert standing(ledger, LEAF) == standing(ledger, LEAF, FIRST) == "refused"
    assert standing(ledger, LEAF, RENEWED) == "trusted", "else its SN would not take the renewal"
    ledger.send("sl-1", Renew(pem(LEAF, RENEWED)), NETWORK)
    ledger.send("sl-1", Announce({}), NETWORK)
    assert standing(ledger, LEAF) == "trusted"


def test_a_start_states_the_path_too(ledger: Ledger) -> None:
    ledger.clock = ms(NOON + 2 * DAY)
    ledger.actors["sl-1"].incarnation = 2
    with pytest.raises(Rejection, match=r"untrusted: .*CN=sub.* expired"):
        ledger.send("sl-1", Register("SL", "sl-1", "", "0"), NETWORK)
    ledger.send("sl-1", Register("SL", "sl-1", pem(LEAF, RENEWED), "0"), NETWORK)
    assert stored(ledger).pem == pem(LEAF, RENEWED)


def test_a_path_that_leads_nowhere_does_not_take_the_place_of_one_that_holds(ledger: Ledger) -> None:
    with pytest.raises(Rejection, match=r"untrusted: .*unknown issuer"):
        ledger.send("sl-1", Renew(pem(LEAF, SECOND)), NETWORK)
    ledger.send("sl-1", Announce({}), NETWORK)


def test_a_revoked_certificate_stays_revoked_over_any_path(ledger: Ledger) -> None:
    ledger.send("op", Revoke(thumbprint(LEAF.certificate)), NETWORK)
    ledger.actors["sl-1"].incarnation = 2
    with pytest.raises(Rejection, match="revoked"):
        ledger.send("sl-1", Register("SL", "sl-1", pem(LEAF, RENEWED), "0"), NETWORK)
    assert standing(ledger, LEAF, RENEWED) == "refused"


def test_a_registered_certificate_stays_with_its_organisation_over_any_path(ledger: Ledger) -> None:
    """Another organisation vouches for the intermediate authority."""
    ledger.send("op", AdmitOrganisation(organisation("org-2", OTHER)), NETWORK)
    crossed = cross_certificate(RENEWED.certificate, OTHER)
    with pytest.raises(Rejection, match=r"untrusted: .*unknown issuer"):
        ledger.send("sl-1", Renew(pem(LEAF) + to_pem(crossed)), NETWORK)
    ledger.clock = ms(NOON + 2 * DAY)
    ledger.send("op", Announce({}), NETWORK)
    found = peer(ledger.chain.world, LEAF.certificate, ledger.chain.time_ms, [crossed])
    assert (found.standing, found.organisation) == ("refused", "")
    ledger.send("op", AddAuthority(FOUNDER, Anchor(to_pem(RENEWED.certificate))), NETWORK)
    assert stored(ledger).organisation == FOUNDER


def test_a_certificate_that_an_intermediate_of_a_retired_root_has_issued_is_refused(ledger: Ledger) -> None:
    below = authority("sub 3", OTHER)
    site = issue(below, "SL-sl-3", [], [], 3650, NOON - DAY)
    ledger.send("op", AddAuthority(FOUNDER, Anchor(to_pem(OTHER.certificate))), NETWORK)
    assert standing(ledger, site, below) == "unknown"
    ledger.send("op", RetireAuthority(thumbprint(OTHER.certificate)), NETWORK)
    assert standing(ledger, site, below) == "refused"
