"""Follows the model that was handed over: which round has merged it, and carrying it over where none has.

A straggler's model was trained from an earlier result than the standing one. What it has learned is added to each new
result in turn, until a round has merged it, or has found it unusable.
"""

from swarmlearning.ledger.contracts.training.state import Result
from swarmlearning.rounds.events import Carried, Carry
from swarmlearning.rounds.facts import NO_MODEL, NOTHING, Handed, ModelRef, RoundFacts


class Carrying:
    """Follows the model that was handed over last."""

    def __init__(self, facts: RoundFacts) -> None:
        self._facts = facts
        self._rounds: set[int] = set()
        self._digests: set[str] = set()
        self._without = NO_MODEL
        self._merged_in = NOTHING
        self._carried: tuple[str, Handed | None] | None = None

    # --- what happens -----------------------------------------------------------------------------------------------

    def begin(self, digest: str) -> None:
        """The ML process has handed over another model, perhaps one submitted before a restart of this node."""
        self._rounds, self._digests, self._without, self._merged_in = set(), {digest}, NO_MODEL, NOTHING
        self._carried = None

    def known_as(self, digest: str, others: set[str]) -> None:
        """The model was submitted under these digests too, perhaps before a restart of this node."""
        if digest in self._digests:
            self._digests |= others

    def submitted(self, number: int, digest: str) -> None:
        """The model, or the one it was carried over into, is submitted to the round of this number."""
        self._rounds.add(number)
        self._digests.add(digest)

    def carried(self, done: Carried) -> None:
        """The model that it is carried over into is in the store, or cannot be made."""
        work = self._facts.work
        task = work.carrying(done.digest, done.onto)
        if task is not None:
            work.ended(task)
            self._carried = (done.onto, Handed(done.result, done.size) if done.result else None)
            if done.result:
                self._facts.held.add(done.result)

    def update_merge_status(self, latest: ModelRef) -> None:
        """Notes which round has merged the model.

        The receipt of the standing result shows it for that round. An earlier round, whose result was not seen, counts
        as one that has: a model must not be merged twice. Unless the result that was seen without it is the one on
        which the standing result builds.

        Example: the model was submitted to round 4, and result 4 came without it. If result 5 builds on that result 4,
        round 4 has not merged the model. If it builds on another one, result 4 was void and made again, maybe with it.
        """
        if not self._digests:
            return
        number, result = latest.round, self._facts.training.result
        if number < self._merged_in:
            self._merged_in = NOTHING  # its result is void
        if result and self._is_in(result):
            self._merged_in = number
        elif result:
            if self._without == (number - 1, result.closed.base):
                self._rounds.discard(number - 1)
            if number in self._rounds:
                self._without = latest
        self._merged_in = max([self._merged_in, *(earlier for earlier in self._rounds if earlier < number)])

    def _is_in(self, result: Result) -> bool:
        parts = result.receipt.contributions
        return any(part.digest in self._digests and part.uid == self._facts.uid for part in parts)

    # --- decisions --------------------------------------------------------------------------------------------------

    @property
    def model(self) -> Handed | None:
        """The model with what was carried over last."""
        return self._carried[1] if self._carried else None

    def model_onto(self, base: str) -> Handed | None:
        """Returns the model with what was carried over to this result, None where nothing was."""
        return self.model if self._carried and self._carried[0] == base else None

    def is_worth_it(self, has: ModelRef, latest: ModelRef) -> bool:
        """Returns whether it was trained from an earlier result, and no round has merged it yet but one still may."""
        result = self._facts.training.result
        if result is None or not has.digest or has.digest not in self._facts.held:
            return False
        if has.round >= latest.round or self._merged_in > NOTHING:
            return False
        unusable = any(part.uid == self._facts.uid for part in result.receipt.exclusions)
        return not unusable and self._carried != (latest.digest, None)

    def carry(self, waiting: Handed, has: ModelRef, latest: ModelRef) -> None:
        """Wants it carried over to the latest result, for each result anew."""
        if self._carried is None or self._carried[0] != latest.digest:
            carry = Carry(waiting.digest, has.digest, latest.digest, latest.round - has.round)
            self._facts.work.want(carry, self._facts.now)
