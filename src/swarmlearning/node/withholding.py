"""SNs that withhold blocks from whoever follows them: another SN has them, and is followed then."""

import asyncio
import logging

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.ledger.chain import Chain, ForkError, UnsupportedRulesError
from swarmlearning.ledger.transaction import MalformedError
from swarmlearning.node.follower import Follower

logger = logging.getLogger("swarm.chain")

LOOK_SECONDS = 10.0
ANSWER_SECONDS = 2.0
ARRIVAL_SECONDS = 5.0
"""A block that another SN has comes from the SN in use by then, or is withheld."""


async def leave_withholders(follower: Follower) -> None:
    """Turns from each SN that withholds blocks, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await leave_withholder(follower)


async def leave_withholder(follower: Follower) -> None:
    """Turns from the SN in use if another one has a valid next block, and that does not come from this one."""
    used, chain = follower.client, follower.chain
    for other in follower.clients:
        if other is used or not await _has_next(other, chain):
            continue
        try:
            async with asyncio.timeout(ARRIVAL_SECONDS):
                await follower.reached(chain.height + 1)
        except TimeoutError:
            logger.warning(
                "SN %s withholds block %d, which SN %s has; another SN is followed",
                used.address,
                chain.height + 1,
                other.address,
            )
            follower.leave(used)
        return


async def _has_next(client: SnClient, chain: Chain) -> bool:
    """True if this SN has a block that continues this chain: its claim alone makes nobody leave another SN."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            raw = await client.block(chain.height + 1)
        chain.append(raw)
    except (Unavailable, Refusal, TimeoutError, ForkError, MalformedError, UnsupportedRulesError):
        return False
    return True
