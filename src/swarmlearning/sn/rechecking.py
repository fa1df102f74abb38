"""Verification of the blocks before the checkpoint from which an SN has started, while it works."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

from swarmlearning.ledger.chain import Chain, ForkError, UnsupportedRulesError
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.node.errors import NodeError
from swarmlearning.ordering.protocols import OrderingError

logger = logging.getLogger("swarm.chain")

READ_BATCH = 16
REST = 3.0
"""For every second that a block takes this many are left to the SN's own work."""
REMEDY = "`swarm sn repair` fetches it anew from the other SNs"


async def recheck(
    read: Callable[[int, int], Awaitable[list[bytes]]], resumed: Chain, base: Chain | None = None
) -> None:
    """Replays the chain, from block 0 or what is after `base`, up to the head of a checkpoint; `read` returns blocks by
    start and limit.

    Raises `NodeError` when the blocks do not lead to that head.
    """
    chain = base or Chain()
    try:
        while chain.height < resumed.height:
            limit = min(READ_BATCH, resumed.height - chain.height)
            blocks = await read(chain.height + 1, limit)
            if not blocks:
                raise NodeError(f"block {chain.height + 1} is missing in the chain file. {REMEDY}")
            for raw in blocks:
                begun = monotonic()
                chain = (await asyncio.to_thread(chain.append, raw)).chain
                await asyncio.sleep(REST * (monotonic() - begun))
    except (ForkError, MalformedError, UnsupportedRulesError, OrderingError) as error:
        raise NodeError(f"the chain file is not valid: {error}. {REMEDY}") from error
    if (chain.hash, chain.world.state_hash()) != (resumed.hash, resumed.world.state_hash()):
        raise NodeError(f"the blocks up to {resumed.height} do not lead to the state of the checkpoint. {REMEDY}")
    logger.info("The chain up to block %d has been checked again", resumed.height)
