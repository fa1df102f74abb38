"""A leader that would publish before its round's slices are held is refused, and so is one whose result has other
coefficients or contributors than the ledger says: no honest leader tries. It is tried with the contract alone, and
ordered nowhere."""

import random
from typing import TYPE_CHECKING, Final

import msgspec

from simulation.models import name
from simulation.occasions import refusal
from simulation.slicerules import lacking
from simulation.violation import require
from swarmlearning.ledger.bodies import Contribution, Exclusion, Publish, Receipt
from swarmlearning.ledger.contracts.training.recipes import recipe_of
from swarmlearning.ledger.contracts.training.slices import Slicing
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.ledger.contracts.training.submissions import kept_back

if TYPE_CHECKING:
    from simulation.swarm import Swarm

TRIED: Final = 0.1
"""The probability that a result is stated too early with a block after which slices are lacking."""
TRIED_WHOLE: Final = 0.3
"""The probability that a leader tries to state another result with a block after which none are."""


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
        if without := lacking(state, found, current.leader):
            if self._dice.random() < TRIED:
                result = _result(state, current, found)
                self._try(result, current.leader, f"too early: slices {without} are held by nobody else")
        elif self._dice.random() < TRIED_WHOLE:
            self._try_other(state, current.leader, _result(state, current, found))

    def _try_other(self, state: Training, leader: str, result: Publish) -> None:
        """States other results than this one, which may be stated."""
        parts, terms = result.receipt.contributions, state.terms
        if terms is None or len(parts) < max(terms.min_peers, self._swarm.min_peers):
            return  # some have left
        why = refusal(self._swarm, leader, result)
        require(why is None, f"{leader} may not publish round {result.round}: {why}")
        if terms.merge_method == "geomedian" and len(parts) > 1:
            self._try(_turned(result), leader, "with coefficients of its own")
        if len(parts) > terms.min_peers:
            self._try(_without_last(result), leader, f"without {parts[-1].uid}, whom nobody has accused")

    def _try(self, result: Publish, leader: str, how: str) -> None:
        self._swarm.struck["result that is published too early" if "early" in how else "result of its own"] += 1
        refused = refusal(self._swarm, leader, result) is not None
        require(refused, f"{leader} may publish round {result.round} {how}")


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


def _turned(result: Publish) -> Publish:
    """The same with each model's coefficient at the next one, and others than before."""
    parts = result.receipt.contributions
    shares = [one.coefficient for one in parts]
    shares = [*shares[1:], shares[0]] if len(set(shares)) > 1 else [shares[0] + 1, shares[1] - 1, *shares[2:]]
    turned = tuple(msgspec.structs.replace(one, coefficient=share) for one, share in zip(parts, shares, strict=True))
    return msgspec.structs.replace(result, receipt=msgspec.structs.replace(result.receipt, contributions=turned))


def _without_last(result: Publish) -> Publish:
    *parts, last = result.receipt.contributions
    out = (*result.receipt.exclusions, Exclusion(last.uid, "non-finite", ""))
    receipt = msgspec.structs.replace(result.receipt, contributions=tuple(parts), exclusions=out)
    return msgspec.structs.replace(result, receipt=receipt)
