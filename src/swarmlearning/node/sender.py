"""Signing and sending this node's transactions, each at most once on the chain, whatever fails in between."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping

from swarmlearning.api.client import Refusal, SnClient, Unavailable
from swarmlearning.backoff import Backoff
from swarmlearning.identity.certificates import load_leaf, thumbprint
from swarmlearning.identity.signing import Signers
from swarmlearning.ledger.bodies import Body, Renew
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.transaction import MalformedError, SignedTransaction, sign
from swarmlearning.node.follower import Follower
from swarmlearning.node.signers import registered_signer

logger = logging.getLogger("swarm.ledger")

DISTRUST_SECONDS = 60.0
"""Seconds that TLS may fail with all SNs: a certificate is being replaced somewhere, or trust has ended for good."""

CONFIRM_SECONDS = 20.0
"""A block that an SN has named is here by then, or the transaction is offered again."""
AGREE_SECONDS = 2.0
"""The time for the block at which an SN has refused a transaction to come here."""


class Author:
    """Signs for one node incarnation; counts its sequence numbers."""

    def __init__(self, signers: Signers, uid: str, incarnation: int, sequence: int = 0) -> None:
        """`sequence` is the highest number that this incarnation has used already."""
        self._signers = signers
        self._sequence = sequence
        self.uid = uid
        self.incarnation = incarnation

    def write(self, chain: Chain, contract: str, body: Body, on_behalf_of: str = "") -> SignedTransaction:
        """A new transaction anchored at the head of `chain`; it names no person under rules that know none."""
        self._sequence += 1
        content = chain.compose(self.uid, self.incarnation, self._sequence, contract, body, on_behalf_of)
        if isinstance(body, Renew):
            return sign(content, self._signers.by(thumbprint(load_leaf(body.certificate))))
        return sign(content, registered_signer(self._signers, chain.world, self.uid))


class Sender:
    """Sends an author's transactions to whichever SN accepts them."""

    def __init__(
        self,
        author: Author,
        follower: Follower,
        on_unavailable: Callable[[str], None],
        distrust_seconds: float = DISTRUST_SECONDS,
    ) -> None:
        self._distrust_seconds = distrust_seconds
        self.author = author
        self._follower = follower
        self._on_unavailable = on_unavailable

    async def send(self, contract: str, body: Body, chain: Chain | None = None, on_behalf_of: str = "") -> int:
        """Height at which the transaction stands, once this node has verified that block. Raises `Refusal`.

        `chain`: what the transaction follows from, so that the ledger can refuse it where it no longer does, and it is
        not signed again when it expires; None: it holds whatever the chain is. `on_behalf_of`: the person for whom an
        operator sends it.

        While no SN accepts it the same bytes are offered again, to one SN after the other: at most one of the offers
        takes effect. No SN is believed: what it has accepted is on the chain, and what it refuses this node refuses
        too, or every SN does, however long the others do not answer. One over a quota is offered again later. Raises
        `Unavailable` when TLS has failed with all of them for some time, since that does not pass by itself.
        """
        signed = self.author.write(chain or self._follower.chain, contract, body, on_behalf_of)
        failing, refusing, again = dict[str, float](), set[str](), False
        async for _ in Backoff(longest=1.0):
            client = self._follower.client
            try:
                height = await self._offer(client, signed.raw, again)
                if await self._reaches(height, CONFIRM_SECONDS) and self._is_on_chain(signed):
                    return height
                self._on_unavailable(
                    f"SN {client.address} has accepted a transaction that this node does not find in block {height} "
                    "(do both run the same version?); offering it again"
                )
            except Unavailable as error:
                again = True
                self._on_unavailable(str(error))
                if error.final:
                    failing.setdefault(client.address, time.monotonic())
                    if self._is_lasting(failing):
                        raise
            except Refusal as refusal:
                if refusal.code == Code.QUOTA:  # it passes by itself
                    self._on_unavailable(f"a transaction waits: {refusal.detail}")
                    if not self._is_over_quota(signed):
                        self._follower.leave(client)
                    continue
                refusing.add(client.address)
                await self._reaches(refusal.height, AGREE_SECONDS)
                if self._is_on_chain(signed):  # by an offer of which no answer came
                    return self._follower.chain.height
                if refusal.code == Code.EXPIRED and chain is None:
                    signed = self.author.write(self._follower.chain, contract, body, on_behalf_of)
                elif refusing.issuperset(self._follower.addresses):
                    raise
                else:
                    self._require_disagreement(client, signed, refusal)
            self._follower.leave(client)
        raise AssertionError("unreachable")

    def _is_on_chain(self, signed: SignedTransaction) -> bool:
        content, world = signed.content, self._follower.chain.world
        return network.is_used(world, content.sender, content.incarnation, content.sequence)

    def _is_over_quota(self, signed: SignedTransaction) -> bool:
        """True if by the verified chain, too, it is: then every SN would refuse it."""
        rejection = self._follower.chain.refusal(signed)
        return rejection is not None and rejection.code == Code.QUOTA

    def _require_disagreement(self, client: SnClient, signed: SignedTransaction, refusal: Refusal) -> None:
        """Raises `Refusal` if this node, by the chain that it has verified, refuses the transaction too."""
        chain = self._follower.chain
        try:
            chain.rules.parse(signed.raw)
        except MalformedError:
            raise refusal from None
        if rejection := chain.refusal(signed):
            raise Refusal(rejection.code, rejection.detail, chain.height) from refusal
        self._on_unavailable(
            f"SN {client.address} refuses a transaction that this node's own copy of the chain accepts: {refusal}; "
            "offering it to another SN"
        )

    async def _reaches(self, height: int, seconds: float) -> bool:
        """True if the verified chain is so high within this time."""
        try:
            async with asyncio.timeout(seconds):
                await self._follower.reached(height)
        except TimeoutError:
            return False
        return True

    def _is_lasting(self, failing: Mapping[str, float]) -> bool:
        """True if TLS has failed with every known SN, with each for long enough."""
        until = time.monotonic() - self._distrust_seconds
        return all(failing.get(address, math.inf) <= until for address in self._follower.addresses)

    async def _offer(self, client: SnClient, raw: str, again: bool) -> int:
        """One offer to the SN in use, over a new connection if the one before was not answered. Raises `Unavailable`
        also when that SN is left meanwhile: it may be frozen."""
        offer = asyncio.ensure_future(_submit_anew(client, raw) if again else client.submit(raw))
        turned = asyncio.ensure_future(self._follower.turned())
        try:
            await asyncio.wait((offer, turned), return_when=asyncio.FIRST_COMPLETED)
            if not offer.done():
                raise Unavailable("switched to another SN before this one answered")
            return offer.result()
        finally:
            for task in (offer, turned):
                task.cancel()
            await asyncio.gather(offer, turned, return_exceptions=True)


async def _submit_anew(client: SnClient, raw: str) -> int:
    async with client.anew() as fresh:
        return await fresh.submit(raw)
