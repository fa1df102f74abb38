"""A round in which a merger is killed: the site that leads it, while models are on their way to mergers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from linkswarm import OPERATOR, LinkSwarm
from participant import Done
from swarmlearning.client.parameters import DEFAULT_CONTRACT
from swarmlearning.identity.tls import client_context
from swarmlearning.identity.workspace import Workspace
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.node.follower import Follower
from swarmlearning.supervise.processes import RunError
from swarmlearning.views.names import node_names

FOLLOW_SECONDS = 60.0


async def kill_merger(swarm: LinkSwarm, identities: Workspace, after: float) -> list[Done]:
    """Lets all sites hand over and, so many seconds later, kills the leader; the times of the others. Raises
    `RunError`, also where the round was over by then."""
    async with _following(swarm.api, identities) as follower:
        swarm.begin(swarm.sites)
        await asyncio.sleep(after)
        victim = _leader(follower)
        await swarm.kill(next(site for site in swarm.sites if site.name == victim))
        return await swarm.done(swarm.sites)


def _leader(follower: Follower) -> str:
    """The name of the SL that leads the round in progress."""
    current = state_of(follower.chain.world, DEFAULT_CONTRACT).round
    if current is None or not current.submissions:
        raise RunError("the round was over before its leader could be killed: take a larger model or thinner links")
    return node_names(follower.chain.world)[current.leader]


@asynccontextmanager
async def _following(api: str, identities: Workspace) -> AsyncIterator[Follower]:
    """What follows the chain of this SN, once it has seen the training."""
    tls = client_context(identities.identity(OPERATOR))
    follower = Follower([api], tls, pin=lambda network_id, name: None)
    following = asyncio.ensure_future(follower.run())
    try:
        async with asyncio.timeout(FOLLOW_SECONDS), aclosing(follower.chains()) as chains:
            async for chain in chains:
                if state_of(chain.world, DEFAULT_CONTRACT).round:
                    break
        yield follower
    finally:
        following.cancel()
        await asyncio.wait([following])
        await follower.close()
