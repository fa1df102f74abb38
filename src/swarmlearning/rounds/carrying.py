"""Follows the model that was handed over: which round has merged it, and carrying it over where none has.

A straggler's model was trained from an earlier result than the standing one. What it has learned is added to each new
result in turn, until a round has merged it, or has found it unusable.

A site that was only away as its round was merged need not wait for another round: it *leaves* the model *behind*, and
trains on from the result that it has missed. What it has learned then is added to the model that it hands over next.
"""

from dataclasses import dataclass, field

from swarmlearning.ledger.contracts.training.state import Result
from swarmlearning.rounds.events import Carried, Carry
from swarmlearning.rounds.facts import NO_MODEL, NOTHING, Handed, ModelRef, RoundFacts


@dataclass
class Work:
    """What is known of a model that was handed over. `digests`: what has it in it; `rounds`: those to which it was
    submitted, and of which it is not known that their results are without it; `without`: the result that was seen
    without it; `merged_in`: the round that has merged it."""

    digests: set[str] = field(default_factory=set)
    rounds: set[int] = field(default_factory=set)
    without: ModelRef = NO_MODEL
    merged_in: int = NOTHING

    @property
    def merged(self) -> bool:
        """Whether a round has merged it."""
        return self.merged_in > NOTHING

    def submitted(self, number: int, digest: str) -> None:
        """It is in what was submitted to the round of this number under this digest."""
        self.rounds.add(number)
        self.digests.add(digest)

    def update(self, uid: str, latest: ModelRef, result: Result | None) -> None:
        """Notes which round has merged the model.

        The receipt of the standing result shows it for that round. An earlier round, whose result was not seen, counts
        as one that has: a model must not be merged twice. Unless the result that was seen without it is the one on
        which the standing result builds.

        Example: the model was submitted to round 4, and result 4 came without it. If result 5 builds on that result 4,
        round 4 has not merged the model. If it builds on another one, result 4 was void and made again, maybe with it.
        """
        if not self.digests:
            return
        number = latest.round
        if number < self.merged_in:
            self.merged_in = NOTHING  # its result is void
        if result and self._is_in(uid, result):
            self.merged_in = number
        elif result:
            if self.without == (number - 1, result.closed.base):
                self.rounds.discard(number - 1)
            if number in self.rounds:
                self.without = latest
        self.merged_in = max([self.merged_in, *(earlier for earlier in self.rounds if earlier < number)])

    def _is_in(self, uid: str, result: Result) -> bool:
        return any(part.digest in self.digests and part.uid == uid for part in result.receipt.contributions)


@dataclass
class Left:
    """A model that was left behind, trained from the result that the site `has`. `added`: the model handed over next,
    with what was learned here; None in it where that cannot be made."""

    model: Handed
    has: ModelRef
    work: Work
    added: tuple[Handed | None] | None = None


class Carrying:
    """Follows the model that was handed over last, and the one that was left behind before it."""

    def __init__(self, facts: RoundFacts) -> None:
        self._facts = facts
        self._work = Work()
        self._left: Left | None = None
        self._carried: tuple[str, Handed | None] | None = None

    # --- what happens -----------------------------------------------------------------------------------------------

    def begin(self, digest: str) -> None:
        """The ML process has handed over another model, perhaps one submitted before a restart of this node."""
        if self._left and self._left.work is not self._work:
            self._left = None  # it was added to the one before, or could not be
        self._work, self._carried = Work({digest}), None

    def known_as(self, digest: str, others: set[str]) -> None:
        """The model was submitted under these digests too, perhaps before a restart of this node."""
        if digest in self._work.digests:
            self._work.digests |= others

    def submitted(self, number: int, digest: str, model: Handed | None = None) -> None:
        """The model, or what it was carried over or added to, is submitted to the round of this number; where `model`
        is the one left behind, only that."""
        if self._left:
            self._left.work.submitted(number, digest)
        if self._left is None or model != self._left.model:
            self._work.submitted(number, digest)

    def carried(self, done: Carried) -> None:
        """The model that it is carried over into is in the store, or cannot be made."""
        work, left = self._facts.work, self._left
        task = work.carrying(done.digest, done.onto)
        if task is None:
            return
        work.ended(task)
        made = Handed(done.result, done.size) if done.result else None
        if left and (task.digest, task.base) == (left.model.digest, left.has.digest) and left.work is not self._work:
            left.added = (made,)
        else:
            self._carried = (done.onto, made)
        if done.result:
            self._facts.held.add(done.result)

    def leave(self, model: Handed, has: ModelRef) -> None:
        """The ML process, which waits with this model, trains on from a result without it."""
        self._left = Left(model, has, self._work)

    def forget_left(self) -> None:
        """Another ML process begins, or the same one anew: what was left behind is lost."""
        self._left = None

    def update_merge_status(self, latest: ModelRef) -> None:
        """Notes which round has merged what."""
        for work in (self._work, *([self._left.work] if self._left else ())):
            work.update(self._facts.uid, latest, self._facts.training.result)

    # --- decisions --------------------------------------------------------------------------------------------------

    @property
    def needed(self) -> set[str]:
        """The model with what was carried over last, and what is to be added to the next one."""
        models = {self._carried[1].digest} if self._carried and self._carried[1] else set()
        if self._left and not self._left.work.merged:
            models |= {self._left.model.digest, self._left.has.digest}
        if self._left and self._left.added and self._left.added[0]:
            models.add(self._left.added[0].digest)
        return models

    @property
    def has_left(self) -> bool:
        """Whether the site has left a model behind before it handed over the one that it waits with."""
        return self._left is not None and self._left.work is not self._work

    def left_of(self, base: str) -> Handed | None:
        """The model that was left behind, where it was trained from this result: its round is made again."""
        return self._left.model if self._left and self._left.has.digest == base else None

    def model_onto(self, base: str) -> Handed | None:
        """Returns the model with what was carried over to this result, None where nothing was."""
        return self._carried[1] if self._carried and self._carried[0] == base else None

    def whole(self, model: Handed, has: ModelRef) -> Handed | None:
        """Returns the model that was handed over, with what was left behind unless a round has merged that; None while
        that is being made."""
        left, facts = self._left, self._facts
        if left is None or not self.has_left or left.work.merged:
            return model
        if left.added is not None:
            return left.added[0] or model
        if not {left.model.digest, left.has.digest} <= facts.held:
            return model
        missed = max(1, has.round - left.has.round)
        facts.work.want(Carry(left.model.digest, left.has.digest, model.digest, missed), facts.now)
        return None

    def is_worth_it(self, has: ModelRef, latest: ModelRef, away: bool) -> bool:
        """Returns whether it was trained from an earlier result, and no round has merged it yet but one still may:
        nothing is wrong with one that nobody could fetch as this site was `away`."""
        result = self._facts.training.result
        if result is None or not has.digest or has.digest not in self._facts.held:
            return False
        if has.round >= latest.round or self._work.merged:
            return False
        faults = {part.reason for part in result.receipt.exclusions if part.uid == self._facts.uid}
        unusable = faults - {"unreachable"} if away else faults
        return not unusable and self._carried != (latest.digest, None)

    def carry(self, waiting: Handed, has: ModelRef, latest: ModelRef) -> None:
        """Wants it carried over to the latest result, for each result anew."""
        if self._carried is None or self._carried[0] != latest.digest:
            carry = Carry(waiting.digest, has.digest, latest.digest, latest.round - has.round)
            self._facts.work.want(carry, self._facts.now)
