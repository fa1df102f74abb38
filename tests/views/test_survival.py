"""What the network survives now, as it is told."""

import msgspec
import pytest

from support.alerting import SITES, VOTERS, facts, four_sites, lose, without
from support.network import CONTRACT, Ledger, session
from support.organisations import three_organisations
from swarmlearning.ledger.bodies import Announce, CreateContract, Leave
from swarmlearning.ledger.contracts import network
from swarmlearning.views.alerts import Facts, Ordering, alerts


@pytest.fixture(scope="module")
def quiet() -> Ledger:
    """The same for all tests that add nothing to it."""
    return four_sites()


@pytest.fixture
def ledger() -> Ledger:
    return four_sites()


def survives(known: Facts) -> list[str]:
    return [each.text for each in alerts(known) if each.code == "survives"]


def test_it_is_told_which_sns_must_not_fail(quiet: Ledger) -> None:
    known = facts(quiet)
    assert survives(msgspec.structs.replace(known, heard=without(known, "sn-2")))[0] == (
        "rounds stop when one more SN fails (SN-1, sn-3)"
    )
    two = Ordering(alone=False, voters=VOTERS[:2])
    assert survives(facts(quiet, ordering=two))[0] == "rounds stop when one more SN fails (SN-1, sn-2)"
    gone = msgspec.structs.replace(known, heard=without(known, "sn-2", "sn-3"))
    assert survives(gone)[0] == "rounds stop now: 1 of 3 voting SNs run"
    assert survives(facts(quiet, ordering=Ordering()))[0] == "rounds stop while the only SN is down"


def test_it_is_told_how_many_sites_may_fail(ledger: Ledger) -> None:
    lose(ledger, "site-2")
    one = "its rounds wait when one of its 3 sites fails (minPeers)"
    assert survives(facts(ledger))[1] == f"training {CONTRACT}: {one}"
    lose(ledger, "site-3")
    assert survives(facts(ledger))[1] == f"training {CONTRACT}: its rounds wait now: 2 sites are there, minPeers 3"


def test_sites_that_have_left_a_training_that_waits_for_them_are_named(ledger: Ledger) -> None:
    ledger.send("site-2", Leave(), network.CONTRACT)
    ledger.send("site-3", Leave(), network.CONTRACT)
    waits = "its rounds wait now: 2 sites are there, minPeers 3; site-2, site-3 left: start what has left again"
    assert survives(facts(ledger))[1] == f"training {CONTRACT}: {waits}"


def test_sites_that_are_reached_through_the_only_relay_are_told(ledger: Ledger) -> None:
    relay = "10.0.0.2:30306"
    ledger.send("sn-2", Announce({"p2p": "sn-2:30303", "api": "sn-2:30304", "relay": relay}), network.CONTRACT)
    assert len(survives(facts(ledger))) == 2
    ledger.send("site-3", Announce({"fs": relay, "relay": relay}), network.CONTRACT)
    assert survives(facts(ledger))[2] == "site-3 cannot be reached when SN sn-2 fails, the only relay"
    ledger.send("sn-3", Announce({"p2p": "sn-3:30303", "api": "sn-3:30304", "relay": "other:1"}), network.CONTRACT)
    assert len(survives(facts(ledger))) == 2


def test_where_a_round_needs_several_organisations_it_is_told_how_many_may_fail() -> None:
    ledger = three_organisations()
    ledger.send("op-1", CreateContract(min_organisations=2), "study")
    for uid in ("sl-1", "sl-2"):
        ledger.send(uid, session(min_peers=1), "study")
    known = facts(ledger, ordering=Ordering())
    assert survives(known)[1] == "training study: its rounds wait when all sites of one organisation fail"
    ledger.send("sl-3", session(min_peers=1), "study")
    known = facts(ledger, ordering=Ordering())
    told = "training study: any 2 of its 3 sites may fail, of no more than 1 organisation as a whole"
    assert survives(known)[1] == told


def test_the_only_site_that_may_lead_is_named() -> None:
    ledger = Ledger()
    for site in SITES[:3]:
        ledger.join(site)
        ledger.send(site, session(min_peers=2, may_lead=site == "site-2"))
    [_, told] = survives(facts(ledger, ordering=Ordering()))
    assert told == f"training {CONTRACT}: its rounds wait when site-2 fails, the only site that may lead"
