"""The standing result at one node: having it, getting it from others, and saying so on the ledger."""

from collections.abc import Iterator
from typing import NamedTuple

from swarmlearning.ledger.bodies import Missing, ReportPerformance
from swarmlearning.ledger.contracts.training.state import Member, Result
from swarmlearning.rounds.events import Action, Timer, Verify
from swarmlearning.rounds.settings import QUIET_SECONDS
from swarmlearning.rounds.work import NEVER, RoundFacts

NOTHING = -1
"""Round number of "no result yet"."""


class ModelRef(NamedTuple):
    """A merged model: the round it is the result of, and its digest; a round may have several, when one got lost."""

    round: int
    digest: str


NO_MODEL = ModelRef(NOTHING, "")


class Results:
    """What is to be done about the standing result, whatever the ML process does."""

    def __init__(self, work: RoundFacts) -> None:
        self._work = work
        self._tried: dict[str, frozenset[str]] = {}
        self._moved_then = 0
        self._moved_missing: int | None = None
        self._doubted: tuple[str, tuple[str, ...]] | None = None

    # --- which it is ------------------------------------------------------------------------------------------------

    def latest(self) -> ModelRef:
        """The merged model to train on from: the standing result; when that is void, the one before."""
        result, current = self._work.training.result, self._work.training.round
        if result:
            return ModelRef(result.closed.number, result.digest)
        return ModelRef(current.number - 1, current.base) if current else NO_MODEL

    def ended_elsewhere(self) -> bool:
        """Whether the others have ended with the final model, and nobody is there who could give it."""
        training, result = self._work.training, self._work.training.result
        if result is None or result.digest in self._work.held or not training.settled:
            return False
        return not any(training.members[uid].attendance in ("present", "ml-lost") for uid in result.holders)

    # --- having it --------------------------------------------------------------------------------------------------

    def check(self) -> Iterator[Action]:
        """Where others can get the result from nobody although it is here, the copy here may be damaged: looks at it
        with each that says so, and now and then as long as any does."""
        result = self._work.training.result
        others = tuple(uid for uid in result.missing if uid != self._work.uid) if result else ()
        if result and others and result.digest in self._work.held:
            doubt, timer = (result.digest, others), Timer("check", NEVER, result.digest)
            if again := (yield from self._work.elapsed(timer, QUIET_SECONDS)):
                self._work.again(timer)
                yield from self._work.elapsed(timer, QUIET_SECONDS)
            if again or doubt != self._doubted:
                self._doubted = doubt
                yield Verify(result.digest)

    def dropped(self, digest: str) -> None:
        """The model is not here any more: everybody may be asked again."""
        self._tried.pop(digest, None)

    def keep(self, needed: set[str]) -> None:
        """Other models are of no interest any more."""
        self._tried = {digest: asked for digest, asked in self._tried.items() if digest in needed}

    # --- getting it -------------------------------------------------------------------------------------------------

    def fetch(self) -> Iterator[Action]:
        """States `Missing` once all who have the result were asked in vain, and goes on asking: they may come back.

        Who has the model before a void result is not recorded: everybody is asked.
        """
        work, result, digest = self._work, self._work.training.result, self.latest().digest
        holders = frozenset(result.holders if result else work.training.members) - {work.uid}
        if digest in work.fetching:
            yield from self._watch(digest, result)
        else:
            if holders <= self._tried.get(digest, frozenset()):
                yield from self._report_missing(result)
            if not holders or work.pausing(digest):
                return
            self._tried[digest] = holders
        likeliest = sorted(holders, key=lambda uid: (result is None or uid != result.leader, uid))
        yield from work.fetch(digest, tuple(likeliest))

    def _watch(self, digest: str, result: Result | None) -> Iterator[Action]:
        """A fetch that hangs here is as good as none: the others must not wait for this node's report."""
        work, timer = self._work, Timer("fetch", NEVER, digest)
        if (yield from work.elapsed(timer, QUIET_SECONDS)):
            work.again(timer)
            yield from work.elapsed(timer, QUIET_SECONDS)
            if work.moved == self._moved_then:
                yield from self._report_missing(result)
            self._moved_then = work.moved

    def _report_missing(self, result: Result | None) -> Iterator[Action]:
        """Reports that nobody provides the result, and again when no byte has come for long; or a void one's base."""
        work, current = self._work, self._work.training.round
        if result is None:
            if current and current.base and work.uid not in current.base_missing:
                yield from work.send(Missing(current.number - 1))
        elif work.uid not in result.missing:
            self._moved_missing = None
            yield from work.send(Missing(result.closed.number))
        elif work.uid not in result.given_up and not (self._moved_missing is None and work.pausing(result.digest)):
            if self._moved_missing is None:
                self._moved_missing = work.moved  # counted anew as the pause after the first failure ended
            timer = Timer("missing", NEVER, result.digest)
            if (yield from work.elapsed(timer, QUIET_SECONDS)):
                work.again(timer)
                yield from work.elapsed(timer, QUIET_SECONDS)
                if work.moved == self._moved_missing:
                    yield from work.send(Missing(result.closed.number, lasting=True))
                self._moved_missing = work.moved

    # --- saying so --------------------------------------------------------------------------------------------------

    def say_held(self, me: Member, epochs: tuple[int, int], *, fresh: bool) -> Iterator[Action]:
        """Reports that the result is in the store, where the ML process will not soon do so with its loss.

        `fresh`: the ML process has no older result.
        """
        work, result = self._work, self._work.training.result
        if result is None or me.attendance not in ("present", "ml-lost"):
            return
        number = result.closed.number
        if any(isinstance(body, ReportPerformance) and body.round == number for body in work.sent):
            return
        if work.uid in result.holders and me.performance and me.performance.round == number:
            return
        yield from work.send(ReportPerformance(number, None, None, *epochs, loaded=fresh))
