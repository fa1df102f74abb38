"""A leader that would publish before its round's slices are held is refused: no honest leader tries. It is tried with
the contract alone, and ordered nowhere."""

import random
from typing import TYPE_CHECKING, Final

from simulation.models import name
from simulation.violation import require
from swarmlearning.ledger.bodies import Contribution, Exclusion, Publish, Receipt
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.training import publishing as contract
from swarmlearning.ledger.contracts.training.assigning import mergers
from swarmlearning.ledger.contracts.training.recipes import recipe_of
from swarmlearning.ledger.contracts.training.slices import Slicing
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.contracts.training.submissions import kept_back

if TYPE_CHECKING:
    from simulation.swarm import Swarm

TRIED: Final = 0.1
"""The probability that a result is stated too early with a block after which slices are lacking."""


class EarlyResults:
    """States results of rounds in slices before they may be; chance is drawn from dice of its own."""

    def __init__(self, swarm: "Swarm") -> None:
        self._swarm = swarm
        self._dice = random.Random(f"early results {swarm.seed}")

    def advanced(self, state: Training) -> None:
        """Lets the leader publish, with some blocks after which it may not."""
        current = state.round
        found = slicing_of(state, current.number) if current else None
        if current is None or found is None or current.phase != "frozen" or not current.leader or self._swarm.outer:
            return
        if not (lacking := _lacking(state, found, current.leader)) or self._dice.random() >= TRIED:
            return
        self._swarm.struck["result that is published too early"] += 1
        try:
            contract.publish(state, _result(state, current, found), current.leader, self._swarm.log.head.time_ms)
        except Rejection:
            return
        require(False, f"{current.leader} may publish round {current.number}: slices {lacking} are held by nobody else")


def _lacking(state: Training, found: Slicing, leader: str) -> list[int]:
    """The slices that nobody has stated, or no other live member holds from which others can fetch, if there is any; a
    leader that was deposed before does not wait for copies."""
    assert state.round is not None
    others = set(mergers(state, found)) - {leader} if leader not in state.round.deposed else set()
    return [
        index
        for index, each in enumerate(found.slices)
        if not each.root or (others and others.isdisjoint(each.holders))
    ]


def _result(state: Training, current: Round, found: Slicing) -> Publish:
    """A result that lacks nothing but its slices."""
    shares = {one.uid: one.coefficient for one in recipe_of(state, current, found).contributors}
    kept = kept_back(current.submissions, current.base)
    left_out = {each.uid: each for each in found.excluded} | {uid: Exclusion(uid, "kept-back", "") for uid in kept}
    parts = [
        Contribution(uid, entry.digest, entry.weight, shares.get(uid, 0))
        for uid, entry in sorted(current.submissions.items())
        if uid not in left_out
    ]
    receipt = Receipt(state.terms.merge_method if state.terms else "mean", tuple(parts), tuple(left_out.values()))
    return Publish(current.number, current.term, name("too early", found.recipe), 1, receipt)
