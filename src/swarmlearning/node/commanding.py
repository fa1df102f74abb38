"""A command that acts as a node for as long as it takes: it follows the chain, sends, and reports refusals."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from swarmlearning.api.client import Refusal
from swarmlearning.ledger.bodies import Body
from swarmlearning.node.checkpoints import Checkpoints
from swarmlearning.node.errors import NodeError
from swarmlearning.node.follower import Follower
from swarmlearning.node.sender import Sender

SECONDS = 60.0


@asynccontextmanager
async def following(
    follower: Follower,
    unanswered: str,
    checkpoints: Checkpoints | None = None,
    network_id: str = "",
    beside: Sequence[Coroutine[Any, Any, None]] = (),
) -> AsyncIterator[asyncio.Timeout]:
    """Inside the block the follower keeps up with the chain, and what is named `beside` runs; then it is closed.

    With `checkpoints` it goes on from the one of this network, if there is one, and writes newer ones. Raises
    `NodeError`: what the follower finds wrong, or `unanswered` when the block takes longer than `SECONDS`, or than
    the timeout that it gets is set to.
    """
    try:
        async with asyncio.timeout(SECONDS) as limit, asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(work) for work in beside]
            if checkpoints is not None:
                if (verified := checkpoints.read(network_id)) is not None:
                    await follower.resume(verified)
                running.append(tasks.create_task(checkpoints.keep(follower)))
            running.append(tasks.create_task(follower.run()))  # its failure is the reason why nothing can be sent
            yield limit
            for task in running:
                task.cancel()
    except TimeoutError:
        raise NodeError(unanswered) from None
    finally:
        await follower.close()


async def catch_up(follower: Follower, limit: asyncio.Timeout) -> None:
    """Waits until the follower has the blocks that its SN has now; each block that comes extends the `limit`."""
    height = int((await follower.client.status())["height"])
    while follower.chain.height < height:
        await follower.reached(follower.chain.height + 1)
        limit.reschedule(asyncio.get_running_loop().time() + SECONDS)
    follower.judge_sns()


async def send(sender: Sender, contract: str, body: Body, on_behalf_of: str = "") -> int:
    """The height at which the transaction stands. Raises `NodeError` with the reason when it is refused."""
    try:
        return await sender.send(contract, body, on_behalf_of=on_behalf_of)
    except Refusal as refusal:
        raise NodeError(f"the network refuses it: {refusal}") from refusal
