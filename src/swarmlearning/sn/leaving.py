"""Leaving the network for good: said by a stopped SN through one of the others."""

import asyncio
import logging

from swarmlearning import __version__
from swarmlearning.api.client import Refusal
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.tls import client_context
from swarmlearning.ledger.bodies import Body, Leave, Register
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Node
from swarmlearning.ledger.history import steps
from swarmlearning.node.datadir import DataDirectory
from swarmlearning.node.errors import NodeError
from swarmlearning.node.follower import Follower
from swarmlearning.node.sender import Author, Sender
from swarmlearning.ordering.local import read_chain_file
from swarmlearning.sn.node import CHAIN_FILE

logger = logging.getLogger("swarm.SN")

SECONDS = 60.0


async def leave(place: DataDirectory, identity: Identity) -> int:
    """Records that the SN of this data directory has left, which the voters then remove; the height of the block.

    Raises `NodeError`.
    """
    chain = [step.chain for step in steps(read_chain_file(place.path / CHAIN_FILE))][-1]
    me = network.node(chain.world, place.uid)
    if me is None:
        raise NodeError(f"{place.path}: this SN has never been registered")
    others = network.sn_addresses(chain.world, besides=place.uid)
    if not others:
        raise NodeError("this is the network's only SN; without it there is no network")
    follower = Follower(others, client_context(identity), place.pin)
    sender = Sender(Author(identity.signer(), place.uid, place.incarnation), follower, logger.warning)
    try:
        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as tasks:
            following = tasks.create_task(follower.run())  # what breaks it is why the others cannot be told
            await follower.reached(chain.height)
            await _say(sender, registration(me, identity))
            height = await _say(sender, Leave())
            following.cancel()
    except TimeoutError:
        raise NodeError(f"none of the other SNs ({', '.join(others)}) answered within {SECONDS:.0f} s") from None
    finally:
        await follower.close()
    return height


async def _say(sender: Sender, body: Body) -> int:
    try:
        return await sender.send(network.CONTRACT, body)
    except Refusal as refusal:
        raise NodeError(f"the network refuses it: {refusal}") from refusal


def registration(me: Node, identity: Identity) -> Register:
    """Of a command that speaks for a stopped SN."""
    return Register(node_type="SN", name=me.name, certificate=identity.bundle, version=__version__)
