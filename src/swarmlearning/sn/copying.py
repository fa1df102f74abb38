"""Copying the chain of a network that is there, before this SN is at work in it and has an opinion of its blocks."""

import logging

from swarmlearning.backoff import Backoff
from swarmlearning.node.clocks import AheadError, NodeClock
from swarmlearning.ordering.protocols import Log
from swarmlearning.sn.miner import Miner
from swarmlearning.sn.remote import Others

logger = logging.getLogger("swarm.SN")


async def copy_until(height: int, miner: Miner, log: Log, others: Others) -> None:
    """Replays what the log copies from the other SNs, until the chain is at least this high.

    They decide about a block that is ahead of the clocks, and may put another one in its place: until most of them have
    it that height is copied again, from another SN. Raises what `Miner.load` raises.
    """
    clock, pauses = NodeClock(others), Backoff(longest=3.0)
    while miner.chain.height < height:
        await log.wait_for_append(miner.chain.height)
        try:
            await miner.load(clock)
        except AheadError as error:
            logger.warning("%s", error)
            await log.pass_over(miner.chain.height + 1)
            await pauses.pause()
