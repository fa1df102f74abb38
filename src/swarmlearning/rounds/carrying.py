"""What the ML process handed over: which round has taken it, and carrying it over where none has (a straggler's)."""

from collections.abc import Iterator
from dataclasses import dataclass

from swarmlearning.rounds.events import Action, Carried, Carry
from swarmlearning.rounds.results import NO_MODEL, NOTHING, ModelRef
from swarmlearning.rounds.work import RoundFacts


@dataclass(frozen=True)
class Handed:
    """A model in the store that the ML process handed over."""

    digest: str
    size: int


class Carrying:
    """Follows the model that was handed over last."""

    def __init__(self, work: RoundFacts) -> None:
        self._work = work
        self._rounds: set[int] = set()
        self._digests: set[str] = set()
        self._without = NO_MODEL
        self._merged_in = NOTHING
        self._carried: tuple[str, Handed | None] | None = None

    # --- what happens -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The ML process has handed over another model."""
        self._rounds, self._digests, self._without, self._merged_in = set(), set(), NO_MODEL, NOTHING
        self._carried = None

    def submitted(self, number: int, digest: str) -> None:
        """The model, or what was carried over of it, goes to the round of this number."""
        self._rounds.add(number)
        self._digests.add(digest)

    def carried(self, done: Carried) -> None:
        """What was asked for is in the store, or cannot be made."""
        task = self._work.carrying(done.digest, done.onto)
        if task is not None:
            self._work.ended(task)
            self._carried = (done.onto, Handed(done.result, done.size) if done.result else None)
            if done.result:
                self._work.held.add(done.result)

    def update_merge_status(self, latest: ModelRef) -> None:
        """Which round has merged it. One whose result was not seen may have; so may one whose result without it was
        void afterwards, as is known when the next one builds on another."""
        number, result = latest.round, self._work.training.result
        if number < self._merged_in:
            self._merged_in = NOTHING  # its result is void
        parts = result.receipt.contributions if result else ()
        if any(part.uid == self._work.uid and part.digest in self._digests for part in parts):
            self._merged_in = number
        elif result:
            if self._without == (number - 1, result.closed.base):
                self._rounds.discard(number - 1)
            if number in self._rounds:
                self._without = latest
        self._merged_in = max([self._merged_in, *(earlier for earlier in self._rounds if earlier < number)])

    # --- decisions --------------------------------------------------------------------------------------------------

    @property
    def model(self) -> Handed | None:
        """What was carried over last."""
        return self._carried[1] if self._carried else None

    def model_onto(self, base: str) -> Handed | None:
        """What was carried over to this result."""
        return self.model if self._carried and self._carried[0] == base else None

    def is_worth_it(self, has: ModelRef, latest: ModelRef) -> bool:
        """Whether it was trained from an earlier result, and no round has taken it yet but one still may."""
        result = self._work.training.result
        if result is None or not has.digest or has.digest not in self._work.held:
            return False
        if has.round >= latest.round or self._merged_in > NOTHING:
            return False
        unusable = any(part.uid == self._work.uid for part in result.receipt.exclusions)
        return not unusable and self._carried != (latest.digest, None)

    def carry(self, waiting: Handed, has: ModelRef, latest: ModelRef) -> Iterator[Action]:
        """Wants it carried over to the latest result, for each result anew."""
        if self._carried is None or self._carried[0] != latest.digest:
            yield from self._work.want(Carry(waiting.digest, has.digest, latest.digest, latest.round - has.round))
