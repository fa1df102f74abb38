"""Who may have a model of this node: the nodes that take part in its training, known by their certificates."""

from swarmlearning.ledger.access import registered_peer
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.state import Training


def may_read(chain: Chain, uid: str, thumbprint: str, digest: str) -> bool:
    """True if the holder of a registered certificate may have a model that the node `uid` holds.

    Its training is the one whose state names it. A model that no training of this node names (not yet, when this node
    is a block behind the one that asks) is any of theirs: the node serves one training at a time.
    """
    reader = registered_peer(chain.world, thumbprint, chain.time_ms)
    own = [state for state in chain.world.area("training/", Training) if uid in state.members]
    trainings = [state for state in own if digest in _named(state)] or own
    readers = {member for state in trainings for member in state.members}
    return reader is not None and any(node.uid in readers for node in reader.nodes)


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
