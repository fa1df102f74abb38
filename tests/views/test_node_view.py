"""Facts about nodes, from ledgers made in memory."""

from support.network import Ledger
from swarmlearning.ledger.bodies import Leave, Lost
from swarmlearning.ledger.contracts import network
from swarmlearning.views.nodes import node_view, sl_names


def state(ledger: Ledger, uid: str) -> str:
    known = network.node(ledger.chain.world, uid)
    assert known is not None
    return node_view(ledger.chain.world, known).state


def test_a_node_is_alive_until_it_is_lost_or_has_left() -> None:
    ledger = Ledger()
    ledger.join("site-1")
    ledger.join("site-2")
    assert state(ledger, "site-1") == "alive"
    ledger.say("sn-1", Lost("site-1", 1), network.CONTRACT)
    assert state(ledger, "site-1") == "lost"
    ledger.say("site-2", Leave(), network.CONTRACT)
    assert state(ledger, "site-2") == "left"


def test_sites_are_the_sls_in_the_order_of_their_numbers() -> None:
    ledger = Ledger()
    for site in ("site-10", "site-2", "site-1"):
        ledger.join(site)
    assert list(sl_names(ledger.chain.world).values()) == ["site-1", "site-2", "site-10"]
