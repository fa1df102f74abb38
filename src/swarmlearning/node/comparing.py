"""The comparison of the chain that a node follows with those of all SNs: one SN cannot show it a chain of its own.

An SN that has sealed blocks of both is proved to deceive; the proof goes to the ledger of the others, as a transaction
that follows from the last block that both chains have.
"""

import asyncio
import logging
from dataclasses import replace

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.node.clocks import correction, offset
from swarmlearning.node.equivocation import Parting
from swarmlearning.node.errors import NodeError
from swarmlearning.node.follower import Follower
from swarmlearning.node.sender import Author

logger = logging.getLogger("swarm.chain")

COMPARE_SECONDS = 10.0
ANSWER_SECONDS = 5.0
MOST_COMPARED = 4
"""Other chains that are compared block by block."""


class Comparison:
    """Compares the follower's chain with the SNs'; `author` signs what it finds."""

    def __init__(self, follower: Follower, author: Author) -> None:
        self._follower = follower
        self._author = author
        self._is_off = False

    async def run(self) -> None:
        """Compares every few seconds until cancelled. Raises `NodeError` where most SNs have another chain."""
        while True:
            await self.compare_clocks()
            await asyncio.sleep(COMPARE_SECONDS)
            await self.compare()

    async def compare_clocks(self) -> None:
        """Warns once where this node's clock is off by more than blocks may be ahead without a doubt."""
        found = [ms for ms in await asyncio.gather(*map(offset, self._follower.clients)) if ms is not None]
        ahead_ms = -correction(found) if len(found) > 1 else -sum(found)
        if abs(ahead_ms) > network.DOUBT_MS and not self._is_off:
            how = "ahead of" if ahead_ms > 0 else "behind"
            logger.warning("this node's clock is %.0f s %s the SNs': set it right (NTP)", abs(ahead_ms) / 1000, how)
        self._is_off = abs(ahead_ms) > network.DOUBT_MS

    async def compare(self) -> None:
        """Compares once. Raises `NodeError` where more than half of the known SNs have another block at the head."""
        chain, clients = self._follower.chain, self._follower.clients
        found = await asyncio.gather(*(_differs(client, chain) for client in clients))
        differing = [client for client, differs in zip(clients, found, strict=True) if differs]
        for client in differing[:MOST_COMPARED]:
            parting = await self._follower.seals.parting(client)
            if parting.proof is not None:
                await self._send(chain, parting, differing)
                break
        if 2 * len(differing) > len(clients):
            raise NodeError(
                f"block {chain.height} of this node differs from that of {len(differing)} of {len(clients)} SNs: it "
                "has followed an SN with a chain of its own, or an SN was restored from a backup. Start it again, in "
                "the first case with the address of another SN"
            )

    async def _send(self, chain: Chain, parting: Parting, differing: list[SnClient]) -> None:
        assert parting.proof is not None
        common = replace(chain, height=parting.height, hash=parting.hash) if parting.height >= 0 else chain
        signed = self._author.write(common, network.CONTRACT, parting.proof)
        logger.error("an SN has sealed two blocks for one height above block %d: the proof is sent", common.height)
        for client in (*differing, *self._follower.clients):
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await client.submit(signed.raw)
                return
            except (Unavailable, Refusal, TimeoutError) as error:
                logger.debug("%s", error)


async def _differs(client: SnClient, chain: Chain) -> bool:
    """True if the SN has another block at this node's head, or at its own where that is lower: it was restored, and
    what it lost is nobody's any more."""
    height = chain.height
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            try:
                stance = await client.stance(height)
            except Refusal as behind:
                height = behind.height
                if behind.code != Code.NO_BLOCK or height not in chain.hashes:
                    return False
                stance = await client.stance(height)
    except (Unavailable, Refusal, TimeoutError):
        return False
    return not stance.objection and stance.block != chain.hashes[height]
