"""This node's part in checking results that were merged in slices.

Where the operator wants it, of one result or by the setting of all, the node says so on the ledger, merges its part
again once it holds the result and may read the contributions, and states what it has found. What fails is tried again
while contributions are kept.
"""

from swarmlearning.ledger.bodies import Check, Checked
from swarmlearning.ledger.contracts.training.checking import is_open
from swarmlearning.ledger.contracts.training.checks import Checks
from swarmlearning.rounds.checks import CheckEvent, CheckWanted, Piece, Recheck, Rechecked, Uncheckable
from swarmlearning.rounds.facts import RoundFacts
from swarmlearning.rounds.settings import LONGEST_WORK_PAUSE, RoundSettings


class Checking:
    """Decides about checks. Of the last result that was checked: which it was, and the slices found `wrong`."""

    def __init__(self, facts: RoundFacts, settings: RoundSettings) -> None:
        self._facts = facts
        self._settings = settings
        self._wanted = ""
        self._done: tuple[str, tuple[int, ...]] = ("", ())

    def receive(self, event: CheckEvent) -> None:
        """Notes what the operator wants, or how a check has ended."""
        match event:
            case CheckWanted(result):
                self._wanted = result
                self._facts.timers.resume(_subject(result))
            case Rechecked(result, wrong):
                if self._end(result):
                    self._done = (result, wrong)
                    self._facts.timers.succeeded(_subject(result))
            case Uncheckable(result):
                if self._end(result):
                    self._facts.timers.pause(_subject(result), LONGEST_WORK_PAUSE)

    def decide(self) -> None:
        """Says that this node checks, checks, or states what it has found."""
        facts, checks = self._facts, self._facts.training.checks
        if checks is None or not checks.parts_of(facts.uid) or facts.uid in checks.found:
            return
        if facts.uid not in checks.begun:
            if is_open(facts.training) and (self._settings.verifies or self._wanted == checks.result):
                facts.send(Check(checks.round, checks.result))
        elif self._done[0] == checks.result:
            facts.send(Checked(checks.round, checks.result, self._done[1]))
        elif checks.result in facts.held and self._may_begin(checks):
            step = facts.training.steps.get(checks.result)
            parts, merged = pieces(checks, facts.uid), step.merged if step else ""
            work = Recheck(checks.result, checks.recipe, parts, self._seconds(checks), merged)
            facts.work.want(work, facts.now)

    def _may_begin(self, checks: Checks) -> bool:
        """True if contributions are kept; what has begun before goes on with what it has fetched."""
        subject, under_way = _subject(checks.result), self._facts.work.rechecking(checks.result)
        return under_way or (is_open(self._facts.training) and not self._facts.timers.pausing(subject))

    def _seconds(self, checks: Checks) -> float:
        result = self._facts.training.result
        size = self._facts.model_size(result.closed) if result else 0
        return self._settings.result_seconds(size, usual=0.0, voids=0)

    def _end(self, result: str) -> bool:
        return self._facts.work.end_all(lambda work: isinstance(work, Recheck) and work.result == result)


def pieces(checks: Checks, uid: str) -> tuple[Piece, ...]:
    """The part of this member, cut where slices begin and end."""
    return tuple(
        Piece(index, max(part.start, each.start), min(part.stop, each.stop))
        for part in checks.parts_of(uid)
        for index, each in enumerate(checks.slices)
        if part.start < each.stop and each.start < part.stop
    )


def _subject(result: str) -> str:
    """Of pauses."""
    return f"{result}/check"
