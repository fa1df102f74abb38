"""How the members watch the leader of a round that is due.

Whoever has not heard of it for its patience reports that (`Depose`); two such reports depose it. A leader that moves on
but takes three times as long as leaders have taken before is reported as overdue.
"""

from collections import deque
from collections.abc import Iterator
from typing import Literal

from swarmlearning.ledger.bodies import Depose
from swarmlearning.ledger.contracts.training.state import Round
from swarmlearning.rounds.events import Action, Key, Timer
from swarmlearning.rounds.settings import RoundSettings
from swarmlearning.rounds.work import NEVER, RoundFacts

REMEMBERED = 9
"""Rounds whose leaders' times are remembered."""


class Watching:
    """Decides about the leader of the round in progress."""

    def __init__(self, work: RoundFacts, settings: RoundSettings) -> None:
        self._work = work
        self._settings = settings
        self._due: tuple[Key, float] = (NEVER, 0.0)
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)

    def decide(self) -> Iterator[Action]:
        """Returns what is to be reported about the leader now."""
        current = self._due_round()
        self._note(current)
        if current is not None and current.leader != self._work.uid:
            yield from self._watch(current)
            yield from self._judge(current)

    def _due_round(self) -> Round | None:
        current, terms = self._work.training.round, self._work.training.terms
        if current is None or terms is None or not current.leader:
            return None
        return current if current.phase == "frozen" or current.usable >= terms.min_peers else None

    def _note(self, current: Round | None) -> None:
        """Remembers since when the present leader's round is due, and how long those took that are published."""
        key, since = self._due
        result = self._work.training.result
        present = self._work.key_of(current) if current else NEVER
        if key == present:
            return
        if key != NEVER and result and (result.closed.number, result.closed.term) == key[1:]:
            self._seconds.append(self._work.now - since)
        self._due = (present, self._work.now)

    def _watch(self, current: Round) -> Iterator[Action]:
        """Reports a leader that has been quiet for too long, once for each time that it reported."""
        work = self._work
        patience = Timer("patience", work.key_of(current), str(work.leader_height))
        over = yield from work.elapsed(patience, self._settings.patience(current))
        if over and work.uid not in current.no_progress:
            yield from self._report(current, work.leader_height, "progress")

    def _judge(self, current: Round) -> Iterator[Action]:
        """Reports a leader that takes too long; one that merges only where it is known how long that takes."""
        work = self._work
        if not self._seconds and current.phase == "frozen":
            return
        usual = sorted(self._seconds)[len(self._seconds) // 2] if self._seconds else 0.0
        timer = Timer("overdue", work.key_of(current), current.phase)
        over = yield from work.elapsed(timer, self._settings.term_seconds(current, usual))
        if over and work.uid not in current.overdue:
            yield from self._report(current, work.height, "overdue")

    def _report(self, current: Round, seen_height: int, cause: Literal["progress", "overdue"]) -> Iterator[Action]:
        leader = self._work.training.members[current.leader]
        yield from self._work.send(Depose(current.number, current.term, leader.incarnation, seen_height, cause))
