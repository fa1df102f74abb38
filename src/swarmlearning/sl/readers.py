"""The nodes and people that may fetch a model from this node, identified by their certificates.

A result is for the members of its training, and for people of the organisations that may read it: by default operators
of those that the contract names. What one site has contributed is for the leader of the round in progress alone, and
for whoever takes over from it: nobody else sees the model of a single site.
"""

from swarmlearning.ledger.access import Peer, registered_peer
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.charter import may_read_result
from swarmlearning.ledger.contracts.training.serving import rounds_of
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.world import World


def may_read(chain: Chain, uid: str, thumbprint: str, digest: str) -> bool:
    """True if the holder of a registered certificate may have a model that the node `uid` holds.

    What no training names is for nobody. What this node has contributed to one training is that there, whatever others
    call by the same digest: whoever leads another could otherwise publish it as a result.
    """
    reader = registered_peer(chain.world, thumbprint, chain.time_ms)
    if reader is None:
        return False
    own = [state for state in chain.world.area("training/", Training) if uid in state.members]
    contributed = [state for state in own if any(_has_contributed(each, uid, digest) for each in rounds_of(state))]
    return any(_may_read_in(chain.world, state, uid, reader, digest) for state in contributed or own)


def _has_contributed(current: Round, uid: str, digest: str) -> bool:
    """True if this model is in the round from this member, or came late."""
    both = (current.submissions, current.late)
    return any(uid in models and models[uid].digest == digest for models in both)


def _may_read_in(world: World, state: Training, uid: str, reader: Peer, digest: str) -> bool:
    current, result, uids = state.round, state.result, {node.uid for node in reader.nodes}
    if digest in (result and result.digest, result and result.closed.base, current and current.base):
        final = state.over and result is not None and digest == result.digest
        people = reader.role is not None and may_read_result(
            world, state, reader.organisation, reader.role, final=final
        )
        return people or not uids.isdisjoint(state.members)
    return current is not None and _reads_single(current, uids) and _has_contributed(current, uid, digest)


def _reads_single(current: Round, reader: set[str]) -> bool:
    """True if nodes of these UIDs may read what single sites have contributed to the round: the leader, to merge it.

    The seam for masks: under a contract that has them, nobody may.
    """
    return current.leader in reader
