"""Work under way at one node: fetches, merges, carrying over, what a privacy lock makes of a model.

It is level-triggered: every decision states by `want` all the work that it still needs. What is not under way is
started; what is under way and was not wanted again is cancelled.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from swarmlearning.rounds.checks import Recheck
from swarmlearning.rounds.events import Action, Cancel, Carry, Fetch, Merge, Work
from swarmlearning.rounds.slices import FetchSlice, MergeSlice

ANYBODY: Final = ("",)
"""In the place of the members of which a slice is asked though none of them states it."""


class WorkUnderWay:
    """Work that was started and has not ended. What is started is appended to `out`. Times are in seconds."""

    def __init__(self, out: list[Action]) -> None:
        self._out = out
        self._under_way: dict[Work, Work] = {}
        self._wanted: set[Work] = set()
        self._begun: dict[str, float] = {}
        self._seconds: dict[str, float] = {}

    def want(self, work: Work, now: float) -> None:
        """Starts the work unless it is under way; anew where a slice is asked for of nobody that may have it now."""
        purpose = _purpose(work)
        self._wanted.add(purpose)
        if (before := self._under_way.get(purpose)) is not None and _is_asked_elsewhere(before, work):
            self._out.append(Cancel(self._under_way.pop(purpose)))
        if purpose not in self._under_way:
            self._under_way[purpose] = work
            if isinstance(work, Fetch):
                self._begun[work.digest] = now
            self._out.append(work)

    def cancel_unwanted(self) -> list[Action]:
        """Returns cancellations of what is under way and has not been wanted since this was called last."""
        unwanted = [purpose for purpose in self._under_way if purpose not in self._wanted]
        self._wanted.clear()
        return [Cancel(self._under_way.pop(purpose)) for purpose in unwanted]

    def ended(self, work: Work) -> bool:
        """Notes that this work has ended. Returns False when it was not under way, so that its outcome is stale."""
        return self._under_way.pop(_purpose(work), None) is not None

    def end_all(self, matches: Callable[[Work], bool]) -> bool:
        """Notes that all such work has ended. Returns False when none was under way."""
        ended = [purpose for purpose, work in self._under_way.items() if matches(work)]
        for purpose in ended:
            del self._under_way[purpose]
        return bool(ended)

    def merging(self, number: int, term: int) -> Merge | None:
        """Returns the merge under way for this round and term."""
        merges = (work for work in self._under_way.values() if isinstance(work, Merge))
        return next((work for work in merges if (work.round, work.term) == (number, term)), None)

    def carrying(self, digest: str, onto: str) -> Carry | None:
        """Returns the work under way that carries this model over to that result."""
        carries = (work for work in self._under_way.values() if isinstance(work, Carry))
        return next((work for work in carries if (work.digest, work.onto) == (digest, onto)), None)

    def rechecking(self, result: str) -> bool:
        """Returns whether a part of this result is being merged again."""
        return any(isinstance(work, Recheck) and work.result == result for work in self._under_way.values())

    # --- fetches ----------------------------------------------------------------------------------------------------

    @property
    def fetching(self) -> set[str]:
        """The models that are being fetched."""
        return {work.digest for work in self._under_way.values() if isinstance(work, Fetch)}

    def fetched(self, digest: str, now: float) -> None:
        """Notes that the model is here, and how long it took where a fetch of it was under way."""
        if self.ended(Fetch(digest, ())):
            self._seconds[digest] = now - self._begun[digest]

    def fetching_since(self, digest: str) -> float:
        """Returns when the fetch of this model began that is under way."""
        return self._begun[digest]

    def fetched_in(self, digest: str) -> float:
        """Returns how long it took to fetch this model; 0 where it was here."""
        return self._seconds.get(digest, 0.0)

    def forget_times(self, needed: set[str]) -> None:
        """Forgets how long the fetches of models took that nobody needs any more."""
        self._begun = {digest: at for digest, at in self._begun.items() if digest in needed}
        self._seconds = {digest: seconds for digest, seconds in self._seconds.items() if digest in needed}


def _is_asked_elsewhere(before: Work, work: Work) -> bool:
    """True if no member that the one fetch asks is asked by the other one: many wait for their turn with a member that
    is lost by then."""
    if not isinstance(before, FetchSlice) or not isinstance(work, FetchSlice):
        return False
    return {*before.others, *before.holders}.isdisjoint((*work.others, *work.holders))


def _purpose(work: Work) -> Work:
    """The work itself, but for the members that something is fetched from, the coded change that it can be made of, and
    its time: a change of these starts nothing anew. Whether a slice is asked of anybody is more than such a change."""
    match work:
        case Fetch():
            return msgspec.structs.replace(work, holders=(), begun="")
        case FetchSlice():
            return msgspec.structs.replace(work, holders=(), others=ANYBODY if work.others else (), coded=None)
        case MergeSlice():
            return msgspec.structs.replace(work, seconds=0.0)
        case _:
            return work
