"""Which of a node's signers is the right one: that of the certificate which the ledger has for the node."""

from swarmlearning.identity.signing import Signer, Signers
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.world import World


def registered_signer(signers: Signers, world: World, uid: str) -> Signer:
    """The signer of a node's registered certificate; the newest one where that has another certificate, or none."""
    known = network.node(world, uid)
    return signers.by(known.certificate if known is not None else "")
