"""A running node takes over another identity: it stays the same node, and no connection or round is lost.

A new identity is judged by the node's own copy of the ledger first, as every SN would judge it. What that refuses is
named in the log, and the node goes on with the identity that it has; it judges again later, since an authority may be
admitted by then. What it permits is used for new connections at once, and put on the ledger by `Renew`, without a new
incarnation. Which key signs follows from the ledger alone (`signers.py`), so no moment has to be agreed on.

One `Renew` is on its way at a time, and never given up: of two, the older one might take effect last.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from swarmlearning.api.client import Refusal, Unavailable
from swarmlearning.identity.certificates import CertificateError
from swarmlearning.identity.identity import Identity, IdentityError
from swarmlearning.identity.keyring import Keyring
from swarmlearning.identity.source import IdentitySource
from swarmlearning.identity.tls import NodeTls
from swarmlearning.ledger.bodies import AddRoot, Renew
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Certificate
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.node.checkpoints import Source
from swarmlearning.node.sender import Author, Sender

logger = logging.getLogger("swarm.identity")

AGAIN_SECONDS: Final = 10.0
"""Until a refused identity is judged again."""

Send = Callable[[Renew], Awaitable[str]]
"""Puts this on the ledger, however long that takes; returns the reason where the ledger refuses it."""


class LiveIdentity:
    """The identity of a node that runs: `current`, its TLS contexts and its signers; `follow` keeps them up to date."""

    def __init__(self, source: IdentitySource) -> None:
        """Raises `IdentityError` where OpenSSL refuses the identity."""
        self.current: Identity = source.current
        self.tls = NodeTls(self.current)
        self.signers = Keyring(self.current.signer())
        self.source = source
        self._stated = self.current.chain
        self._taken = asyncio.Event()

    async def follow(self, author: Author, ledger: Source, send: Send) -> None:
        """Takes over each change of the source, for the node of this author, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._take_over(author, ledger))
            tasks.create_task(self._register(author, ledger, send))

    async def _take_over(self, author: Author, ledger: Source) -> None:
        refused = self.current
        told = ""
        while True:
            new = await self._changed(refused)
            if new == self.current:
                refused, told = new, ""
                continue
            try:
                require_permitted(ledger, author, new)
                self.tls.use(new)
                self.signers.add(new.signer())
            except (IdentityError, CertificateError) as error:
                if str(error) != told:
                    logger.warning("%s. This node goes on with the certificate that it has", error)
                refused, told = new, str(error)
                continue
            self.current = refused = new
            told = ""
            self._taken.set()
            logger.info("New connections use the certificate in %s", new.cert_path)

    async def _changed(self, refused: Identity) -> Identity:
        """The next identity of the source, or the one that was refused again after a while."""
        if refused == self.current:
            return await self.source.changed(refused)
        try:
            async with asyncio.timeout(AGAIN_SECONDS):
                return await self.source.changed(refused)
        except TimeoutError:
            return refused

    async def _register(self, author: Author, ledger: Source, send: Send) -> None:
        while True:
            await self._due()
            new = self.current
            if (known := _registered(ledger, author.uid)) is None or self._is_stated(known, new):
                continue
            if refusal := await send(Renew(new.bundle)):
                logger.warning("%s: the ledger does not take the certificate yet: %s", new.cert_path, refusal)
            elif (known := _registered(ledger, author.uid)) is not None and known.thumbprint == new.thumbprint:
                self._stated = new.chain
                self.signers.keep(known.thumbprint)
                logger.info("The ledger has the certificate in %s: this node signs with it", new.cert_path)

    def _is_stated(self, known: Certificate, new: Identity) -> bool:
        """True if the ledger has this certificate, and the path to it that this node has stated last.

        Of several nodes with one certificate another may have stated another path: none puts its own in the place of
        that, unless it gets a new one.
        """
        return known.pem == new.bundle or (known.thumbprint == new.thumbprint and self._stated == new.chain)

    async def _due(self) -> None:
        """Waits until the ledger may lack the identity: one has been taken over, or it is time to look."""
        try:
            async with asyncio.timeout(AGAIN_SECONDS):
                await self._taken.wait()
        except TimeoutError:
            return
        self._taken.clear()


async def send_own(sender: Sender, body: Renew | AddRoot) -> str:
    """Puts a record of its own identity on the ledger for a node that has a sender: `Send`."""
    try:
        await sender.send(network.CONTRACT, body)
    except Refusal as refusal:
        return refusal.detail
    except Unavailable as error:
        return str(error)
    return ""


def require_permitted(ledger: Source, author: Author, new: Identity) -> None:
    """Raises `IdentityError` if the ledger, as it stands, does not let the author's node go on with this identity.

    A node that is not registered yet may have any: nothing has to be renewed.
    """
    chain = ledger.chain
    known = _registered(ledger, author.uid)
    if known is None or known.pem == new.bundle:
        return
    sequence = network.last_sequence(chain.world, author.uid)
    trial = Author(new.signer(), author.uid, author.incarnation, sequence)
    signed = trial.write(chain, network.CONTRACT, Renew(new.bundle))
    try:
        chain.try_transaction(chain.world, signed, chain.next_time(time.time_ns() // 1_000_000))
    except Rejection as rejection:
        if rejection.code != Code.QUOTA:  # that passes by itself
            raise IdentityError(f"{new.cert_path}: the ledger refuses the certificate: {rejection.detail}") from None


def _registered(ledger: Source, uid: str) -> Certificate | None:
    """The certificate that the ledger has for a node; None for a node that it does not know."""
    known = network.node(ledger.chain.world, uid)
    return network.certificate(ledger.chain.world, known.certificate) if known is not None and not known.left else None
