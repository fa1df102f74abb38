"""LIST NODES' facts: nodes at work, where they are, and the SN that they came through."""

from support.operations import Operations
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.contracts import network
from swarmlearning.operator.nodes import active_nodes, survives_nothing


def test_nodes_at_work_are_shown_with_address_and_parent() -> None:
    made = Operations()
    ledger = made.ledger
    ledger.join("sn-2", "SN")
    ledger.join("sl-1", "SL")
    for uid, addresses in {
        "sn-1": {"api": "10.0.0.1:30304"},
        "sn-2": {"api": "api.sn-2.swarm:443"},
        "sl-1": {"fs": "[fd00::1]:30305", "sn": "api.sn-2.swarm:443"},
        "swop-1": {"sn": "10.0.0.1:30304"},
    }.items():
        made.send(uid, Announce(addresses), network.CONTRACT)
    alive = ("sn-1", "sn-2", "sl-1", "swop-1", "op-1")
    status = {"nodes": [{"uid": each.uid, "alive": each.uid in alive} for each in network.nodes(ledger.chain.world)]}
    found = [
        (each.type, each.host, each.port, each.uid, each.parent)
        for each in active_nodes(ledger.chain.world, status, 1000)
    ]
    assert found == [
        ("SENTINEL", "10.0.0.1", 30304, "sn-1", ""),
        ("SN", "api.sn-2.swarm", 443, "sn-2", "sn-1"),
        ("SWOP", "10.0.0.1", 30304, "swop-1", "sn-1"),
        ("SL", "fd00::1", 30305, "sl-1", "sn-2"),
    ]


def test_two_voters_survive_nothing() -> None:
    def status(*parts: str) -> dict[str, object]:
        return {"sns": [{"part": part} for part in parts]}

    assert survives_nothing(status("voter", "voter"))
    assert not survives_nothing(status("voter"))
    assert not survives_nothing(status("voter", "voter", "voter"))
