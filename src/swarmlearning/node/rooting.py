"""Puts the roots of a node's own trust domain on the ledger, as its SPIFFE agent comes to know them.

An agent's server makes a new root long before it issues by it. The first node of the organisation that hears of the
root puts it on the ledger, and every other node trusts it from that block on, whether it has an agent or not.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from cryptography import x509

from swarmlearning.identity.certificates import expires_ms, thumbprint, to_pem, trust_domain_of
from swarmlearning.identity.identity import Identity
from swarmlearning.identity.source import IdentitySource
from swarmlearning.ledger.bodies import AddRoot
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.network import Authority
from swarmlearning.ledger.contracts.network.roots import followed
from swarmlearning.ledger.world import World
from swarmlearning.node.checkpoints import Source

logger = logging.getLogger("swarm.identity")

LOOK_SECONDS: Final = 10.0
"""Between two looks at the ledger, which may follow the trust domain by then."""

Send = Callable[[AddRoot], Awaitable[str]]
"""Puts this on the ledger, however long that takes; returns the reason where the ledger refuses it."""


async def add_roots(source: IdentitySource, uid: str, ledger: Source, send: Send) -> None:
    """Adds each new root of the trust domain of the node `uid`, where the ledger follows that, until cancelled."""
    refused: set[x509.Certificate] = set()
    while True:
        known = source.current
        for root in unknown_roots(ledger.chain.world, uid, known):
            if root in refused:
                continue
            refusal = await send(AddRoot(to_pem(root)))
            if refusal and root in unknown_roots(ledger.chain.world, uid, known):  # else another node was first
                logger.warning("The ledger refuses a new root of this node's trust domain: %s", refusal)
                refused.add(root)
            elif not refusal:
                logger.info("A new root of this node's trust domain is on the ledger: %s", thumbprint(root)[:16])
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await source.changed(known)
        except TimeoutError:
            continue


def unknown_roots(world: World, uid: str, identity: Identity) -> list[x509.Certificate]:
    """The valid roots of the node's own trust domain that the ledger, which follows it, has never had."""
    me, domain = network.node(world, uid), trust_domain_of(identity.certificate)
    if me is None or me.left or not followed(world, me.organisation, domain):
        return []
    had = {each.thumbprint for each in world.area("authority/", Authority) if each.organisation == me.organisation}
    now_ms = time.time_ns() // 1_000_000
    roots = (root for bundle in identity.bundles if bundle.trust_domain == domain for root in bundle.roots)
    return [root for root in roots if thumbprint(root) not in had and now_ms < expires_ms((root,))]
