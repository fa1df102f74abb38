"""The nodes that may fetch a model from this one: those in its training, identified by their certificates."""

from collections.abc import Mapping
from types import MappingProxyType

from swarmlearning.ledger.access import registered_peer
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.state import Training

NOTHING_OFFERED: Mapping[str, str] = MappingProxyType({})


def may_read(
    chain: Chain, uid: str, thumbprint: str, digest: str, offered: Mapping[str, str] = NOTHING_OFFERED
) -> bool:
    """True if the holder of a registered certificate may have a model that the node `uid` holds.

    So may the members of the training that names it. `offered`, digest to contract, are models that this node has just
    named in a transaction: others may see it on the chain before this node does. What no training names is for nobody.
    """
    reader = registered_peer(chain.world, thumbprint, chain.time_ms)
    if reader is None:
        return False
    own = (state for state in chain.world.area("training/", Training) if uid in state.members)
    naming = (state for state in own if digest in _named(state) or offered.get(digest) == state.name)
    members = {member for state in naming for member in state.members}
    return any(node.uid in members for node in reader.nodes)


def _named(state: Training) -> set[str]:
    """The models that a training names at present."""
    rounds = [state.round] if state.round else []
    named = set()
    if state.result:
        rounds.append(state.result.closed)
        named.add(state.result.digest)
    for one in rounds:
        named |= {one.base, *(entry.digest for entry in (*one.submissions.values(), *one.late.values()))}
    return named
