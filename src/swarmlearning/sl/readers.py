"""The nodes that may fetch a model from this one, identified by their certificates.

A result is for the members of its training. What one site has contributed is for the leader of the round in progress
alone, and for whoever takes over from it: nobody else sees the model of a single site.
"""

from swarmlearning.ledger.access import registered_peer
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.state import Training


def may_read(chain: Chain, uid: str, thumbprint: str, digest: str) -> bool:
    """True if the holder of a registered certificate may have a model that the node `uid` holds.

    What no training names is for nobody.
    """
    reader = registered_peer(chain.world, thumbprint, chain.time_ms)
    if reader is None:
        return False
    own = (state for state in chain.world.area("training/", Training) if uid in state.members)
    readers = {member for state in own for member in _readers(state, digest)}
    return any(node.uid in readers for node in reader.nodes)


def _readers(state: Training, digest: str) -> set[str]:
    """The members that may have this model now."""
    current, result = state.round, state.result
    if digest in (result and result.digest, result and result.closed.base, current and current.base):
        return set(state.members)
    if current is None:
        return set()
    contributed = (*current.submissions.values(), *current.late.values())
    return {current.leader} if any(entry.digest == digest for entry in contributed) else set()
