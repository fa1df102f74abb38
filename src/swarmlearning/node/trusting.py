"""TLS that follows the ledger: what an organisation's authority has issued is trusted from the block that admits it."""

from swarmlearning.identity.tls import NodeTls
from swarmlearning.ledger.contracts import network
from swarmlearning.node.checkpoints import Source


async def trust_authorities(tls: NodeTls, source: Source) -> None:
    """Adds the authorities on the ledger to the node's TLS contexts, those of later blocks too, until cancelled."""
    while True:
        chain = source.chain
        tls.trust(authority.pem for authority in network.authorities(chain.world))
        await source.reached(chain.height + 1)
