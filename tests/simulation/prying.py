"""Who may read what of the models that sites contribute to rounds in slices, whoever asks.

With every block somebody, a member or a stranger, tries to read a contribution: the parts that the contract opens to it
are compared with what it was given to merge, or has said that it checks, in the blocks so far.
"""

import random
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from simulation.moves import STRANGER
from simulation.violation import require
from swarmlearning.ledger.bodies import Check
from swarmlearning.ledger.contracts.training.checking import is_open
from swarmlearning.ledger.contracts.training.serving import readable_slices, rounds_of
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Round, Training

if TYPE_CHECKING:
    from simulation.swarm import Swarm


class ReadWitness:
    """Has seen every block: to whom it has given slices to merge, and who has said that it checks a result."""

    def __init__(self, swarm: "Swarm") -> None:
        self._given: defaultdict[tuple[int, int], set[tuple[str, int, int]]] = defaultdict(set)
        self._checking: set[tuple[str, str]] = set()
        self._dice = random.Random(f"who reads {swarm.seed}")

    def advanced(self, before: Training, after: Training, sender: str, body: object) -> None:
        """Checks what one of all may read of one of the contributions."""
        for slicing in after.slicings:
            if slicing is not slicing_of(before, slicing.round):
                given = ((each.merger, each.start, each.stop) for each in slicing.slices)
                self._given[after.run, slicing.round].update(given)
        if isinstance(body, Check):
            self._checking.add((sender, body.result))
        if after.slicings or after.checks:
            self._try(after)

    def _try(self, state: Training) -> None:
        dice, current = self._dice, self._dice.choice(rounds_of(state))
        models = {uid: entry.digest for uid, entry in (current.late | current.submissions).items()}
        if not models:
            return
        reader, holder = dice.choice([*state.members, STRANGER]), dice.choice(sorted(models))
        named = [each for each in rounds_of(state) if _is_of(each, holder, models[holder])]
        sliced = [each for each in named if slicing_of(state, each.number) is not None]
        found = readable_slices(state, holder, models[holder], {reader})
        if found is None and named:
            whole = len(sliced) < len(named)  # it is in another round, too, which one leader merges (seed 6)
            require(whole, f"all of the model of {holder} is open in a round that is merged in slices")
        if found is None:
            return
        may = {(start, stop) for uid, start, stop in self._given_in(state, sliced, holder) if uid == reader}
        checks = state.checks
        if checks is not None and (reader, checks.result) in self._checking and is_open(state):
            may |= {(part.start, part.stop) for part in checks.parts if part.uid == reader}
        more = sorted({(each.start, each.stop) for each in found} - may)
        require(not more, f"{reader} may read {more} of the model of {holder}, and neither merges nor checks them")

    def _given_in(self, state: Training, rounds: Iterable[Round], holder: str) -> Iterable[tuple[str, int, int]]:
        for each in rounds:
            slicing = slicing_of(state, each.number)
            if slicing and holder in each.submissions and all(holder != out.uid for out in slicing.excluded):
                yield from self._given[state.run, each.number]


def _is_of(current: Round, uid: str, digest: str) -> bool:
    """True if this member has contributed this model, and not the base, to the round."""
    entry = current.submissions.get(uid) or current.late.get(uid)
    return entry is not None and entry.digest == digest != current.base
