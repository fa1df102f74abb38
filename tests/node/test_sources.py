"""Where a node's models are fetched from, as the ledger shows it."""

import pytest

from support.network import Ledger
from swarmlearning.ledger.bodies import Announce, Leave
from swarmlearning.ledger.contracts import network
from swarmlearning.node.sources import announced, relays, source_of

RELAY = "relay.example.org:443"


@pytest.fixture
def ledger() -> Ledger:
    """With two SNs, of which the second is a relay, and an SL."""
    made = Ledger()
    made.join("sn-2", "SN")
    made.join("sl-1", "SL")
    made.send("sn-2", Announce({"api": "10.0.0.2:30304", "relay": RELAY}), network.CONTRACT)
    return made


def test_a_node_is_fetched_from_at_its_own_address(ledger: Ledger) -> None:
    ledger.send("sl-1", Announce(announced("[fd00::1]:30305", "")), network.CONTRACT)
    assert source_of(ledger.chain.world, "sl-1") == ("fd00::1", 30305)


def test_a_node_behind_a_relay_is_fetched_from_there_by_its_uid(ledger: Ledger) -> None:
    ledger.send("sl-1", Announce(announced("", RELAY)), network.CONTRACT)
    assert source_of(ledger.chain.world, "sl-1") == ("relay.example.org", 443, "sl-1")


def test_an_address_that_no_admitted_sn_offers_as_a_relay_is_none(ledger: Ledger) -> None:
    """A member may not lead others to any address by calling it a relay."""
    ledger.send("sl-1", Announce(announced("", "10.9.9.9:22")), network.CONTRACT)
    assert source_of(ledger.chain.world, "sl-1") is None
    ledger.send("sl-1", Announce(announced("", RELAY)), network.CONTRACT)
    ledger.send("sn-2", Leave(), network.CONTRACT)
    assert relays(ledger.chain.world) == {}
    assert source_of(ledger.chain.world, "sl-1") is None


def test_a_node_that_has_announced_nothing_is_nowhere(ledger: Ledger) -> None:
    assert source_of(ledger.chain.world, "sl-1") is None
    assert source_of(ledger.chain.world, "unknown") is None
