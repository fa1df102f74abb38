"""The runs that a block ends: by a reset that takes effect at once, or by the signature that enacts a proposed one.

Pure. A reset that waits as a proposal ends nothing, so what counts is the state of the contract, not the transaction.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from swarmlearning.ledger.bodies import Reset, Sign
from swarmlearning.ledger.chain import Step
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.training.state import Training, state_of


class Ended(NamedTuple):
    """A run that the transaction at `place` of the block ends: `state` is that of the contract just before."""

    place: int
    state: Training


def ended_runs(step: Step) -> list[Ended]:
    """The runs that this block ends, in its order; none of a void block."""
    before, after = step.before.world, step.chain.world
    places = {
        index: contract
        for index, contract in _may_end(step)
        if state_of(before, contract).run != state_of(after, contract).run
    }
    if not places:  # nearly always: then the block is not applied once more
        return []
    found = []
    for index, (world, following) in enumerate(pairwise(step.worlds())):
        if (contract := places.get(index)) is not None:
            former = state_of(world, contract)
            if state_of(following, contract).run != former.run:
                found.append(Ended(index, former))
    return found


def _may_end(step: Step) -> Iterator[tuple[int, str]]:
    """The transactions that can end a run, by their places, each with the contract."""
    for index, signed in enumerate(step.block.transactions if step.void is None else ()):
        match signed.content.body:
            case Reset():
                yield index, signed.content.contract
            case Sign(proposal=number):
                proposed = network.proposal(step.chain.world, number)
                if proposed is not None:
                    yield index, proposed.contract
