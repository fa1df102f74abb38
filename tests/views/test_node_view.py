"""Facts about nodes, from ledgers made in memory."""

import msgspec
import pytest

from support.agent import TrustDomain
from support.network import FOUNDER, Ledger, anchor
from swarmlearning.identity.ca import create_authority
from swarmlearning.identity.certificates import to_pem
from swarmlearning.ledger.bodies import AddAuthority, AdmitOrganisation, Anchor, Leave, Lost, NewOrganisation, Revoke
from swarmlearning.ledger.contracts import network
from swarmlearning.views.nodes import Expiry, authority_expiries, expiries, node_view, sl_names
from swarmlearning.views.render import DAY_MS, expiry_text


def state(ledger: Ledger, uid: str) -> str:
    known = network.node(ledger.chain.world, uid)
    assert known is not None
    return node_view(ledger.chain.world, known).state


def test_a_node_is_alive_until_it_is_lost_or_has_left() -> None:
    ledger = Ledger()
    ledger.join("site-1")
    ledger.join("site-2")
    assert state(ledger, "site-1") == "alive"
    ledger.send("sn-1", Lost("site-1", 1), network.CONTRACT)
    assert state(ledger, "site-1") == "lost"
    ledger.send("site-2", Leave(), network.CONTRACT)
    assert state(ledger, "site-2") == "left"


def test_a_node_whose_certificate_is_revoked_is_shown_as_revoked_whatever_it_did_before() -> None:
    ledger = Ledger()
    ledger.join("op", "OPERATOR")
    for site in ("site-1", "site-2"):
        ledger.join(site)
    ledger.send("site-2", Leave(), network.CONTRACT)
    for site in ("site-1", "site-2"):
        known = network.node(ledger.chain.world, site)
        assert known is not None
        ledger.send("op", Revoke(known.certificate), network.CONTRACT)
        assert state(ledger, site) == "revoked"


def test_sites_are_the_sls_in_the_order_of_their_numbers() -> None:
    ledger = Ledger()
    for site in ("site-10", "site-2", "site-1"):
        ledger.join(site)
    assert list(sl_names(ledger.chain.world).values()) == ["site-1", "site-2", "site-10"]


def test_expiries_are_of_nodes_that_have_not_left_and_of_trusted_authorities() -> None:
    ledger = Ledger()
    ledger.join("site-1")
    ledger.join("site-2")
    ledger.send("site-2", Leave(), network.CONTRACT)
    found = expiries(ledger.chain.world)
    assert {each.of for each in found} == {"SN-1", "site-1", "CN=CA-1,OU=Swarm-Learning"}
    end = int(ledger.authority.certificate.not_valid_after_utc.timestamp() * 1000)
    assert {each.expires_ms for each in found} == {end}  # certificates end with their authority's at the latest


def test_a_revoked_certificate_need_not_be_renewed() -> None:
    ledger = Ledger()
    ledger.join("site-1")
    known = network.node(ledger.chain.world, "site-1")
    assert known is not None
    ledger.join("op", "SWCI")
    ledger.send("op", Revoke(known.certificate), network.CONTRACT)
    assert "site-1" not in {each.of for each in expiries(ledger.chain.world)}


@pytest.mark.parametrize(
    ("left_ms", "text"),
    [
        (-1, "has expired"),
        (DAY_MS // 2, "expires today"),
        (DAY_MS, "expires in 1 day,"),
        (7 * DAY_MS, "expires in 7 days,"),
        (30 * DAY_MS, "expires in 30 days,"),
    ],
)
def test_an_expiry_is_announced_in_days(left_ms: int, text: str) -> None:
    shown = expiry_text(Expiry("SL-1", 10**12 + left_ms), 10**12)
    assert shown.startswith("the certificate of SL-1 ")
    assert text in shown
    assert "renew it" in shown


def test_an_expiry_that_is_far_off_is_not_mentioned() -> None:
    assert expiry_text(Expiry("SL-1", 10**12 + 30 * DAY_MS + 1), 10**12) == ""


@pytest.mark.parametrize(("last", "days"), [(True, 60), (False, 30)])
def test_the_end_of_an_organisation_s_last_authority_is_announced_60_days_ahead(last: bool, days: int) -> None:
    shown, far = (
        expiry_text(Expiry("CA-1", 10**12 + left_ms, "hospital-a", last), 10**12)
        for left_ms in (days * DAY_MS, days * DAY_MS + 1)
    )
    assert f"expires in {days} days," in shown
    assert ("add its successor before then: swarm trust add" in shown) == last
    assert far == ""


def test_a_root_that_is_followed_is_missed_only_where_it_is_the_last_and_its_successor_is_late() -> None:
    ledger, domain = Ledger(), TrustDomain("two.example")
    ledger.join("op", "SWCI")
    anchors = (Anchor(to_pem(domain.roots[0].certificate), trust_domain="two.example", bundle=True),)
    ledger.send("op", AdmitOrganisation(NewOrganisation("two", "Two", anchors)), network.CONTRACT)
    (root,) = [each for each in authority_expiries(ledger.chain.world) if each.organisation == "two"]
    assert 0.8 * DAY_MS * 2 / 6 < root.expires_ms - root.overdue_ms < 1.2 * DAY_MS * 2 / 6  # it lives for two days
    assert expiry_text(root, root.overdue_ms - 1) == ""
    assert expiry_text(msgspec.structs.replace(root, last=False), root.overdue_ms) == ""
    assert "do their SPIFFE agents run?" in expiry_text(root, root.overdue_ms)


def test_the_last_authority_of_an_organisation_is_the_one_that_is_valid_longest() -> None:
    ledger = Ledger(create_authority("CA-1", 3650))
    ledger.join("op", "SWCI")
    body = AddAuthority(FOUNDER, anchor(create_authority("CA-2", 100)))
    assert [each.last for each in authority_expiries(ledger.chain.world)] == [True]
    ledger.send("op", body, network.CONTRACT)
    found = {each.of: (each.organisation, each.last) for each in authority_expiries(ledger.chain.world)}
    assert found == {
        "CN=CA-1,OU=Swarm-Learning": (FOUNDER, True),
        "CN=CA-2,OU=Swarm-Learning": (FOUNDER, False),
    }
