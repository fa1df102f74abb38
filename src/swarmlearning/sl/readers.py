"""The nodes and people that may fetch a model from this node, identified by their certificates.

A result is for the members of its training, and for people of the organisations that may read it: by default operators
of those that the contract names. What one site has contributed is for the leader of the round in progress alone, and
for whoever takes over from it: nobody else sees the model of a single site. Where a round is merged in slices it is for
nobody as a whole: each merger reads its slices, and the leader no more than others.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from swarmlearning.ledger.access import Peer, registered_peer
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.training.charter import may_read_result
from swarmlearning.ledger.contracts.training.serving import readable_slices, rounds_of
from swarmlearning.ledger.contracts.training.slices import UNITS, Slice, change_name
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.contracts.training.steps import made_by_steps
from swarmlearning.ledger.world import World
from swarmlearning.tensors.digest import Layout

_Enough: TypeAlias = Callable[[Sequence[Slice]], bool]


def may_read(chain: Chain, uid: str, thumbprint: str, digest: str) -> bool:
    """True if the holder of a registered certificate may have a model that the node `uid` holds.

    What no training names is for nobody. What this node has contributed to one training is that there, whatever others
    call by the same digest: whoever leads another could otherwise publish it as a result.
    """
    return _may_read(chain, uid, thumbprint, digest, _holds_everything)


def may_read_range(
    chain: Chain, uid: str, thumbprint: str, digest: str, start_chunk: int, stop_chunk: int, chunk_count: int
) -> bool:
    """The same for the chunks from `start_chunk` to before `stop_chunk`, of a model with `chunk_count` of them.

    No chunks at all are what every reader of some needs: the model's header, and the digests of its chunks.
    """
    wanted = range(start_chunk, stop_chunk)
    if not 0 <= start_chunk <= stop_chunk <= chunk_count:
        return False

    def holds(slices: Sequence[Slice]) -> bool:
        known = {chunk for each in slices for chunk in each.chunks_of(chunk_count)}
        return known.issuperset(wanted) if wanted else bool(slices)

    return _may_read(chain, uid, thumbprint, digest, holds)


def may_read_chunks(chain: Chain, uid: str, thumbprint: str, digest: str, chunks: range, layout: Layout | None) -> bool:
    """The same for chunks of a model's file as its layout numbers them; None: it is not here as a whole. The header is
    a chunk of its own, which whoever reads others may have. No chunks are what the layout does not matter for."""
    if layout is None or layout.header is None:
        return may_read(chain, uid, thumbprint, digest) if chunks else _may_read(chain, uid, thumbprint, digest, bool)
    start = max(0, chunks.start - 1)
    return may_read_range(chain, uid, thumbprint, digest, start, max(start, chunks.stop - 1), layout.count - 1)


def _holds_everything(slices: Sequence[Slice]) -> bool:
    return len({unit for each in slices for unit in range(each.start, each.stop)}) == UNITS


def _may_read(
    chain: Chain, uid: str, thumbprint: str, digest: str, are_enough: Callable[[Sequence[Slice]], bool]
) -> bool:
    """`are_enough`: whether these slices are, of a model that is not to be read as a whole."""
    reader = registered_peer(chain.world, thumbprint, chain.time_ms)
    if reader is None:
        return False
    own = [state for state in chain.world.area("training/", Training) if uid in state.members]
    contributed = [state for state in own if any(_has_contributed(each, uid, digest) for each in rounds_of(state))]
    return any(_may_read_in(chain.world, state, uid, reader, digest, are_enough) for state in contributed or own)


def _has_contributed(current: Round, uid: str, digest: str) -> bool:
    """True if this model is in the round from this member, or came late."""
    both = (current.submissions, current.late)
    return any(uid in models and models[uid].digest == digest for models in both)


def _may_read_in(world: World, state: Training, uid: str, reader: Peer, digest: str, are_enough: _Enough) -> bool:
    current, result, uids = state.round, state.result, {node.uid for node in reader.nodes}
    if any(digest in (each.recipe, change_name(each.recipe)) for each in state.slicings):
        return not uids.isdisjoint(state.members)
    slices = readable_slices(state, uid, digest, uids)
    if slices is not None:
        return are_enough(slices)
    if digest in (result and result.digest, result and result.closed.base, current and current.base):
        final = state.over and result is not None and digest == result.digest
        people = reader.role is not None and may_read_result(
            world, state, reader.organisation, reader.role, final=final
        )
        return people or not uids.isdisjoint(state.members)
    if digest in made_by_steps(state) | {state.change}:
        return not uids.isdisjoint(state.members)
    return current is not None and _reads_single(current, uids) and _has_contributed(current, uid, digest)


def _reads_single(current: Round, reader: set[str]) -> bool:
    """True if nodes of these UIDs may read what single sites have contributed to the round: the leader, to merge it.

    The seam for masks: under a contract that has them, nobody may.
    """
    return current.leader in reader
