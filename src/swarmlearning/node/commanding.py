"""A command that acts as a node for as long as it takes: it follows the chain, sends, and reports what is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from swarmlearning.api.client import Refusal
from swarmlearning.ledger.bodies import Body
from swarmlearning.ledger.chain import Chain
from swarmlearning.node.errors import NodeError
from swarmlearning.node.follower import Follower
from swarmlearning.node.sender import Sender

SECONDS = 60.0


@asynccontextmanager
async def following(follower: Follower, unanswered: str, verified: Chain | None = None) -> AsyncIterator[None]:
    """Inside the block the follower keeps up with the chain, from `verified` on if that is given; then it is closed.

    Raises `NodeError`: what the follower finds wrong, or `unanswered` when the block takes longer than `SECONDS`.
    """
    try:
        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as tasks:
            if verified is not None:
                await follower.resume(verified)
            running = tasks.create_task(follower.run())  # its error is why no SN can be reached
            yield
            running.cancel()
    except TimeoutError:
        raise NodeError(unanswered) from None
    finally:
        await follower.close()


async def send(sender: Sender, contract: str, body: Body) -> int:
    """The height at which the transaction stands. Raises `NodeError` with the reason when it is refused."""
    try:
        return await sender.send(contract, body)
    except Refusal as refusal:
        raise NodeError(f"the network refuses it: {refusal}") from refusal
