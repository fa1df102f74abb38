"""The common part of an operator's commands: read the verified ledger, or send one act and report what became of it."""

import asyncio
import logging
from collections.abc import Callable

from swarmlearning.cli.connection import VERIFIED, Connection
from swarmlearning.ledger.access import peer
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.world import World
from swarmlearning.node.errors import NodeError
from swarmlearning.operator.acts import Act
from swarmlearning.operator.reading import read_remote
from swarmlearning.operator.session import acting
from swarmlearning.views.names import escaped
from swarmlearning.views.proposals import proposal_of
from swarmlearning.views.render import proposal_text
from swarmlearning.views.report import Recorder

logger = logging.getLogger("swarm.operator")


def verified(connection: Connection) -> Chain:
    """The ledger as it stands, verified here. Raises `UserError`."""
    return recorded(connection).chain


def recorded(connection: Connection) -> Recorder:
    """The records of the ledger as it stands, verified here. Raises `UserError`."""
    address, kept = connection.address, connection.directory / VERIFIED
    recorder, problem = asyncio.run(
        read_remote(address, connection.credentials.identity(), kept, connection.network_id)
    )
    if problem:
        raise NodeError(f"the ledger of the SN at {address} cannot be used: {problem}; name another SN")
    if recorder.void:
        logger.error("%s", recorder.void)
    return recorder


def own_organisation(connection: Connection, chain: Chain) -> str:
    """The organisation whose operator this is; empty where the ledger does not know its certificate yet."""
    return peer(chain.world, connection.credentials.identity().certificate, chain.time_ms).organisation


def perform(connection: Connection, compose: Callable[[World], Act]) -> None:
    """Sends an act and prints what it did, or who has to agree first. Raises `UserError`."""

    async def send() -> str:
        address, source, home = connection.address, connection.credentials.source(), connection.home
        async with acting(address, source, home, connection.network_id) as operator:
            act = compose(operator.chain.world)
            height = await operator.perform(act)
            proposal = proposal_of(operator.chain.world, act.contract, act.body, operator.chain.time_ms)
            return f"{proposal_text(proposal) if proposal else act.done} (block {height})"

    print(escaped(asyncio.run(send())))  # it names what other organisations have called something
