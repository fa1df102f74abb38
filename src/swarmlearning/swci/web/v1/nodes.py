"""`/v1/nodes`: the registered nodes."""

from typing import Any

from fastapi import APIRouter

from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.world import World
from swarmlearning.swci.web.answers import failures
from swarmlearning.swci.web.v1.ledger import Limit, Network, NotFoundError, Offset
from swarmlearning.swci.web.v1.models import Page, model_of, page_of
from swarmlearning.views.names import displayed
from swarmlearning.views.nodes import NodeView, node_view

router = APIRouter(prefix="/nodes", tags=["nodes"], responses=failures(404, 409, 503))
NODE = model_of(NodeView)


@router.get("", response_model=Page[NODE])  # type: ignore[valid-type]
async def list_all(ledger: Network, offset: Offset = 0, limit: Limit = 100) -> Any:
    """The nodes that are registered, in the order of their registration."""
    world = await ledger.world()
    return page_of([node_view(world, each) for each in network.nodes(world)], offset, limit)


@router.get("/{uid}", response_model=NODE)
async def show(ledger: Network, uid: str) -> Any:
    """A node."""
    world = await ledger.world()
    return node_view(world, known_node(world, uid))


def known_node(world: World, uid: str) -> Node:
    """The node of this UID. Raises `NotFoundError`."""
    found = network.node(world, uid)
    if found is None:
        raise NotFoundError(f"there is no node {displayed(uid)!r}")
    return found
