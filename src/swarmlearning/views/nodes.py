"""Facts about the registered nodes."""

from typing import Literal, TypeAlias

import msgspec

from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.world import World
from swarmlearning.views.names import node_names

State: TypeAlias = Literal["alive", "lost", "left", "quarantined"]


class NodeView(msgspec.Struct, frozen=True):
    """A registered node; `state` is what the ledger shows of it, `addresses` maps a service to `host:port`."""

    uid: str
    type: str
    name: str
    incarnation: int
    state: State
    version: str
    addresses: dict[str, str]


def node_view(world: World, known: Node) -> NodeView:
    """The facts about one node."""
    return NodeView(
        known.uid, known.type, known.name, known.incarnation, _state(world, known), known.version, known.addresses
    )


def sl_names(world: World) -> dict[str, str]:
    """UID to shown name of the registered SLs, in the order of the names (site-2 before site-10)."""
    names = node_names(world)
    found = [(names[known.uid], known.uid) for known in network.nodes(world) if known.type == "SL"]
    return {uid: name for name, uid in sorted(found, key=lambda pair: (len(pair[0]), pair))}


def _state(world: World, known: Node) -> State:
    if known.left:
        return "left"
    if network.quarantine(world, known):
        return "quarantined"
    return "alive" if known.alive else "lost"
