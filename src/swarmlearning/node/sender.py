"""Signing and sending this node's transactions, each at most once on the chain, whatever breaks in between."""

import asyncio
import logging
from collections.abc import Callable

from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.identity.signing import Signer
from swarmlearning.ledger.bodies import Body
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.transaction import SignedTransaction, sign
from swarmlearning.node.follower import FIRST_PAUSE, LONGEST_PAUSE, Follower

logger = logging.getLogger("swarm.ledger")


class Author:
    """Signs for one node incarnation; counts its sequence numbers."""

    def __init__(self, signer: Signer, uid: str, incarnation: int, sequence: int = 0) -> None:
        """`sequence` is the highest number that this incarnation has used already."""
        self._signer = signer
        self._sequence = sequence
        self.uid = uid
        self.incarnation = incarnation

    def write(self, chain: Chain, contract: str, body: Body) -> SignedTransaction:
        """A new transaction anchored at the head of `chain`."""
        self._sequence += 1
        content = chain.compose(self.uid, self.incarnation, self._sequence, contract, body)
        return sign(content, self._signer)


class Sender:
    """Sends an author's transactions to whichever SN takes them."""

    def __init__(self, author: Author, follower: Follower, on_unavailable: Callable[[str], None]) -> None:
        self.author = author
        self._follower = follower
        self._on_unavailable = on_unavailable

    async def send(self, contract: str, body: Body) -> int:
        """Height at which the transaction stands, once this node has verified that block. Raises `Refusal`.

        While no SN can be reached the same bytes are offered again: at most one of the offers takes effect.
        """
        signed = self.author.write(self._follower.chain, contract, body)
        pause = FIRST_PAUSE
        while True:
            try:
                height = await self._offer(signed.raw)
                break
            except Unavailable as error:
                self._on_unavailable(str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            except Refusal as refusal:
                if refusal.code != Code.EXPIRED:
                    raise
                signed = self.author.write(self._follower.chain, contract, body)
        await self._follower.reached(height)
        return height

    async def _offer(self, raw: str) -> int:
        """One offer to the SN in use. Raises `Unavailable` also when that SN is left meanwhile: it may be frozen."""
        offer = asyncio.ensure_future(self._follower.client.submit(raw))
        turned = asyncio.ensure_future(self._follower.turned())
        try:
            await asyncio.wait((offer, turned), return_when=asyncio.FIRST_COMPLETED)
            if not offer.done():
                raise Unavailable("the SN was left before it answered")
            return offer.result()
        finally:
            for task in (offer, turned):
                task.cancel()
            await asyncio.gather(offer, turned, return_exceptions=True)
