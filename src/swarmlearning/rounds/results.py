"""The standing result at one node: having it, getting it from others, and reporting it to the ledger."""

from collections import deque
from dataclasses import dataclass, field
from statistics import median_high
from typing import Literal

from swarmlearning.ledger.bodies import Missing, ReportPerformance, Settle
from swarmlearning.ledger.contracts.training.losing import misses
from swarmlearning.ledger.contracts.training.state import Member, alive, enough
from swarmlearning.ledger.contracts.training.steps import companions
from swarmlearning.rounds.events import Timer, Verify
from swarmlearning.rounds.facts import RoundFacts
from swarmlearning.rounds.linking import seconds_of
from swarmlearning.rounds.settings import QUIET_SECONDS, REMEMBERED, TOO_SLOW, RoundSettings
from swarmlearning.rounds.timers import NEVER


@dataclass
class Attempts:
    """The attempts to get one model. `order`: the holders that were tried, the next one to try first. `since`: when
    those were tried first who were added last; `begun`: when the latest fetch began. `slow`: the holders that were the
    first to be tried in a fetch that needed far too long, or moved nothing. `failed`: none could provide it in the
    latest fetch."""

    order: tuple[str, ...] = ()
    since: float = 0.0
    begun: float = 0.0
    slow: set[str] = field(default_factory=set)
    failed: bool = False


class Results:
    """Decides about the standing result, whatever the ML process does."""

    def __init__(self, facts: RoundFacts, settings: RoundSettings) -> None:
        self._facts = facts
        self._settings = settings
        self._attempts: dict[str, Attempts] = {}
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)
        self._size = 0  # bytes of a model
        self._moved_then = 0
        self._moved_missing: int | None = None
        self._unstored = ""
        """The model that this node could not store when it tried last: others are not to blame."""
        self._doubted: tuple[str, tuple[str, ...]] | None = None

    def ended_elsewhere(self) -> bool:
        """Returns whether the others have ended with the final model, and nobody is there who could provide it."""
        training, result = self._facts.training, self._facts.training.result
        if result is None or result.digest in self._facts.held or not training.settled:
            return False
        return alive(training).isdisjoint(result.holders)

    def misses_the_end(self) -> bool:
        """Returns whether this node does not get the final model any more, with which the others have ended.

        Members that report to hold it and serve it to nobody are not waited for longer than the others wait.
        """
        training, digest = self._facts.training, self._facts.latest.digest
        if training.result is None or digest in self._facts.held or not training.settled:
            return False
        fetching = digest in self._facts.work.fetching
        return (not fetching and self.ended_elsewhere()) or self.others_had_time("missed")

    # --- having it --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Has the copy here checked where others report that nobody can give them the result, although it is here: with
        each that reports so, and now and then as long as any does."""
        facts, result = self._facts, self._facts.training.result
        others = tuple(uid for uid in result.missing if uid != facts.uid) if result else ()
        if result and others and result.digest in facts.held:
            doubt = result.digest, others
            again = facts.timers.every(Timer("check", NEVER, result.digest), QUIET_SECONDS)
            if again or doubt != self._doubted:
                self._doubted = doubt
                facts.out += [Verify(each) for each in (result.digest, *companions(facts.training, result.digest))]

    def fetched(self, digest: str) -> None:
        """The model is here: if it is a result, that shows how long one may need."""
        if attempts := self._attempts.pop(digest, None):
            # What was lost with holders that drip, or because this node could not store it, is not usual.
            delayed = attempts.slow or self._unstored == digest
            self._seconds.append(self._facts.now - (attempts.begun if delayed else attempts.since))
            self._facts.timers.forget(Timer("fetch", NEVER, digest))
        self._unstored = ""

    def dropped(self, digest: str) -> None:
        """The model is not here any more: all who have it may be tried again."""
        self._attempts.pop(digest, None)

    def fetch_failed(self, digest: str, *, here: bool) -> None:
        """The model did not come, because of others, or because of this node itself."""
        self._unstored = digest if here else ""
        if digest in self._attempts:
            self._attempts[digest].failed = True

    def keep(self, needed: set[str]) -> None:
        """Forgets who was tried for other models, and how fetches ended of those that are not to be fetched now."""
        self._attempts = {digest: attempts for digest, attempts in self._attempts.items() if digest in needed}
        for digest, attempts in self._attempts.items():
            attempts.failed = attempts.failed and digest == self._facts.latest.digest
        self._facts.postponed &= {self._facts.latest.digest}

    # --- getting it -------------------------------------------------------------------------------------------------

    def fetch(self) -> None:
        """Wants the result; reports `Missing` once all who have it were tried in vain, and goes on: they may return."""
        facts, result, digest = self._facts, self._facts.training.result, self._facts.latest.digest
        holders = self._holders()
        attempts, watch = self._attempts.get(digest, Attempts()), Timer("fetch", NEVER, digest)
        leader, untried = result.leader if result else "", holders.difference(attempts.order)
        order = (
            *sorted(untried, key=lambda uid: (uid != leader, uid)),
            *(uid for uid in attempts.order if uid in holders),
        )
        fetching = digest in facts.work.fetching  # perhaps as a contribution: a member may submit what nobody has
        if not holders or (attempts.failed and not untried and not fetching):
            self._report_missing()
        if fetching:
            if holders:  # perhaps it was a contribution when its fetch began: with initial sync `one` it may be both
                self._attempts.setdefault(digest, Attempts(order, facts.now, facts.now))
            if digest in self._attempts and facts.timers.every(watch, QUIET_SECONDS):
                self._watch(digest, untried=bool(untried))
        else:
            if not holders or facts.timers.pausing(digest):
                return
            goes_on = attempts.failed or digest in facts.postponed  # else another model was needed meanwhile
            since = attempts.since if goes_on and not untried else facts.now
            self._attempts[digest] = Attempts(order, since, facts.now, attempts.slow)
            facts.postponed.discard(digest)
            facts.timers.every(watch, QUIET_SECONDS)  # again, if it is over: no other event may come
        facts.fetch(digest, order)

    def _holders(self) -> frozenset[str]:
        """Returns who else may have it: anybody, where it is a base, since who has those is not recorded."""
        training = self._facts.training
        return frozenset(training.result.holders if training.result else training.members) - {self._facts.uid}

    def _watch(self, digest: str, *, untried: bool) -> None:
        """A fetch that hangs here, or needs far too long, is as good as none: the others must not wait for this node's
        report. Holders that are `untried` come first."""
        slowness = self._slowness(digest)
        if slowness >= 1:
            self._try_next(digest, untried=untried)
        elif self._facts.moved == self._moved_then:
            self._note_standstill(digest)
        self._moved_then = self._facts.moved

    def _note_standstill(self, digest: str) -> None:
        """Reports the model as missing; before this node gives it up, each holder has been the first to be tried."""
        attempts, missed = self._attempts[digest], misses(self._facts.training)
        attempts.slow.add(attempts.order[0])
        if missed is None or self._facts.uid not in missed.missing or self._has_tried_each():
            self._report_missing()
        else:
            self._turn(digest)

    def _try_next(self, digest: str, *, untried: bool) -> None:
        """Lets another holder come first where one that drips may keep this node from those that serve it, and reports
        the model as too slow where that has not helped either."""
        attempts, facts = self._attempts[digest], self._facts
        attempts.slow.add(attempts.order[0])
        alone = len(attempts.order) == 1
        if not untried and (alone or len(attempts.slow) > 1):
            self._report_slow(self._slowness(digest))
        if untried or (not alone and facts.now - attempts.begun >= self._limit()):
            self._turn(digest)

    def _has_tried_each(self) -> bool:
        """Returns whether each holder was the first one of a fetch in vain, or all have failed in one."""
        attempts = self._attempts.get(self._facts.latest.digest, Attempts())
        return attempts.failed or attempts.slow.issuperset(attempts.order)

    def _turn(self, digest: str) -> None:
        """Lets the next fetch try another holder first; what is not wanted meanwhile is cancelled."""
        attempts, facts = self._attempts[digest], self._facts
        attempts.order = (*attempts.order[1:], attempts.order[0])
        facts.postponed.add(digest)
        facts.timers.pause(digest)

    def _slowness(self, digest: str) -> float:
        """Returns how long the model has needed, in parts of the time in which it should have come: with more than 1 it
        needs far longer than results before it. A source that drips would stall all."""
        attempts = self._attempts.get(digest)
        return (self._facts.now - attempts.since) / self._limit() if attempts else 0.0

    def _limit(self) -> float:
        """Returns the seconds in which the model should have come."""
        return self._settings.result_seconds(*self._usual())

    def _usual(self) -> tuple[int, float, int]:
        """Returns the model's size, the seconds that those before it needed, and how many of its round were void.

        The size is that of a round before where nothing states it in this one. What is usual is never less than this
        node's link needs, as it states that: its operator may limit it at some hours.
        """
        training = self._facts.training
        closed = training.result.closed if training.result else training.round
        assert closed is not None
        self._size = self._facts.model_size(closed) or self._size
        if not self._seconds:
            return self._size, 0.0, closed.voids
        own = seconds_of(training, self._facts.uid, "down", self._size)
        return self._size, max(own, median_high(self._seconds)), closed.voids

    def _report_slow(self, slowness: float) -> None:
        """Reports that the model comes too slowly, and, after far longer still, that this node has given up."""
        missed, uid = misses(self._facts.training), self._facts.uid
        if missed is None or uid in missed.given_up:
            return
        if slowness >= TOO_SLOW and self._has_tried_each():
            self._facts.send(Missing(missed.number, lasting=True))
        elif uid not in missed.slow:
            self._facts.send(Missing(missed.number, slow=True))

    def _report_missing(self) -> None:
        """Reports that nobody provides the result, or a void one's base; and again when no byte has come for long."""
        facts, missed = self._facts, misses(self._facts.training)
        if missed is None:
            return
        if facts.uid not in missed.missing:
            self._moved_missing = None
            facts.send(Missing(missed.number))
        elif facts.uid not in missed.given_up:
            self._report_lasting(missed.number)

    def _report_lasting(self, number: int) -> None:
        """Reports that no byte of the result has come since it was reported missing, once that has lasted for long."""
        facts, digest = self._facts, self._facts.latest.digest
        if digest == self._unstored and not self._lets_others_end():
            return
        if self._moved_missing is None:
            if facts.timers.pausing(digest):
                return
            self._moved_missing = facts.moved  # counted anew as the pause after the first failure ended
        if facts.timers.every(Timer("missing", NEVER, digest), QUIET_SECONDS):
            # Where nobody has it, the bytes that move are of other models: a leader may fetch some for ever.
            if facts.moved == self._moved_missing or not self._holders():
                facts.send(Missing(number, lasting=True))
            elif (slowness := self._slowness(digest)) >= 1:
                self._report_slow(slowness)
            self._moved_missing = facts.moved

    def _lets_others_end(self) -> bool:
        """Returns whether the others can settle a final result without this node, so that it need not be made again."""
        training = self._facts.training
        if training.result is None or not training.over:
            return False
        return enough(training, alive(training).intersection(training.result.holders))

    # --- ending with it ---------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Reports that this node, which holds the final result, has waited long enough for those who do not."""
        training, result, facts = self._facts.training, self._facts.training.result, self._facts
        if not training.over or training.settled or result is None or facts.uid not in result.holders:
            return
        if self.others_had_time("settle") and facts.uid not in result.impatient:
            facts.send(Settle(result.closed.number))

    def others_had_time(self, purpose: Literal["settle", "finish", "missed"]) -> bool:
        """Returns whether whoever lacks the final result has had long enough for it, since this was first called."""
        timer = Timer(purpose, NEVER, self._facts.latest.digest)
        return self._facts.timers.expired(timer, self._settings.settle_seconds(*self._usual()[:2]))

    # --- reporting it -----------------------------------------------------------------------------------------------

    def report_held(self, me: Member, epochs: tuple[int, int], *, loaded: bool) -> None:
        """Reports that the result is in the store, where the ML process will not soon do so with its loss.

        `epochs`: done and in all. `loaded`: the ML process goes on from the result, or begins with it.
        """
        facts, result = self._facts, self._facts.training.result
        if result is None or not me.alive:
            return
        number = result.closed.number
        if me.performance and me.performance.round == number and facts.uid in result.holders:
            return
        if any(isinstance(body, ReportPerformance) and body.round == number for body in facts.sent):
            return
        facts.send(ReportPerformance(number, None, None, *epochs, loaded=loaded))
