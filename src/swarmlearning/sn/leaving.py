"""Leaving the network for good: reported for a stopped SN through one of the others."""

import logging

from swarmlearning import __version__
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.bodies import Leave, Register
from swarmlearning.ledger.chain import RULES_VERSION, Chain
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.history import Replay
from swarmlearning.node.checkpoints import Checkpoints
from swarmlearning.node.commanding import SECONDS, following, send
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError
from swarmlearning.node.follower import Follower
from swarmlearning.node.sender import Author, Sender
from swarmlearning.ordering.local import iterate_chain_file
from swarmlearning.sn.node import CHAIN_FILE

logger = logging.getLogger("swarm.SN")


async def leave(place: DataDirectory, identity: Identity) -> int:
    """Records that the SN of this data directory has left, which the voters then remove; returns the block's height.

    Raises `NodeError`.
    """
    stored = Replay(Checkpoints(place.path).base(place.network) or Chain())
    for raw in iterate_chain_file(place.path / CHAIN_FILE, stored.chain.height + 1):
        stored.append(raw)
    chain = stored.chain
    me = network.node(chain.world, place.uid)
    if me is None:
        raise NodeError(f"{place.path}: this SN has never been registered")
    others = network.sn_addresses(chain.world, besides=place.uid)
    if not others:
        raise NodeError("this is the network's only SN; without it there is no network")
    follower = Follower(others, client_context(identity), place.pin)
    sender = Sender(Author(identity.signer(), place.uid, place.incarnation), follower, logger.warning)
    unanswered = f"none of the other SNs ({', '.join(others)}) answered within {SECONDS:.0f} s"
    async with following(follower, unanswered):
        await follower.reached(chain.height)
        await send(sender, network.CONTRACT, registration(me, identity))
        return await send(sender, network.CONTRACT, Leave())


def registration(me: Node, identity: Identity) -> Register:
    """The registration with which a command acts for a stopped SN."""
    return Register("SN", me.name, identity.bundle, __version__, RULES_VERSION)
