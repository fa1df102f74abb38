"""The nodes that are at work now, as LIST NODES shows them. Pure: from the verified ledger and an SN's status."""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from swarmlearning.address import split
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.world import World
from swarmlearning.views.names import displayed, node_names

ShownType: TypeAlias = Literal["SENTINEL", "SN", "SL", "SWOP"]

ADDRESS: Final = {"SN": "api", "SL": "fs", "SWOP": "sn"}
"""The service by whose address a node is shown; a SWOP has none of its own, and is shown by that of its SN."""

TWO_SNS: Final = (
    "Two SNs survive no failure: when one of them stops, nothing can be written. Start a third one, on any host: "
    "swarm sn --sentinel-ip <ip of an SN>, or with --witness one that only votes; a SWOP whose profile says "
    "`witness: true` runs that one"
)


class ActiveNode(NamedTuple):
    """A node at work. `host` and `port`: its IP or service; `parent`: the UID of the SN that it came through, empty for
    the SN that has founded the network; `last_alive_ms`: when its lease was seen to stand, which is renewed every
    second and gone after three without."""

    type: ShownType
    host: str
    port: int | None
    name: str
    uid: str
    parent: str
    last_alive_ms: int


def active_nodes(world: World, status: Mapping[str, Any], now_ms: int) -> list[ActiveNode]:
    """The SNs, SLs and SWOPs that are registered and alive by the status of an SN at `now_ms`; SNs first."""
    alive = {str(each["uid"]) for each in status["nodes"] if each["alive"]}
    found = [_active(world, known, now_ms) for known in network.nodes(world) if known.uid in alive]
    order = ("SENTINEL", "SN", "SWOP", "SL")
    return sorted((each for each in found if each is not None), key=lambda each: (order.index(each.type), each.name))


def survives_nothing(status: Mapping[str, Any]) -> bool:
    """True if there are two voters: neither can be lost."""
    return [each["part"] for each in status["sns"]].count("voter") == 2


def _active(world: World, known: Node, now_ms: int) -> ActiveNode | None:
    if known.type not in ("SN", "SL", "SWOP"):
        return None
    founder = network.network(world).founder
    shown: ShownType = "SENTINEL" if known.uid == founder else known.type
    address = known.addresses.get(ADDRESS[known.type], "")
    host, port = split(address) if address else ("", None)
    return ActiveNode(
        type=shown,
        host=displayed(host),
        port=port,
        name=node_names(world)[known.uid],
        uid=displayed(known.uid),
        parent=_parent(world, known, founder),
        last_alive_ms=now_ms,
    )


def _parent(world: World, known: Node, founder: str) -> str:
    """The UID of the SN whose address the node has announced as the one that it uses, by default the founder's."""
    if known.uid == founder:
        return ""
    used = known.addresses.get("sn")
    return next((sn.uid for sn in network.admitted(world) if used and sn.addresses.get("api") == used), founder)
