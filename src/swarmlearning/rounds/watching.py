"""Watches the leader of a round that is due, as each member does.

Whoever has not heard of it for its patience reports that (`Depose`); two such reports depose it. A leader that moves on
but needs three times as long as leaders before it is reported as overdue.
"""

from collections import deque
from statistics import median_high
from typing import Literal

from swarmlearning.ledger.bodies import Depose
from swarmlearning.ledger.contracts.training.barring import is_believed
from swarmlearning.ledger.contracts.training.sizes import size_of_all
from swarmlearning.ledger.contracts.training.slicing import slicing_of
from swarmlearning.ledger.contracts.training.state import Round, Training, enough
from swarmlearning.rounds.events import Key, Timer
from swarmlearning.rounds.facts import RoundFacts
from swarmlearning.rounds.settings import REMEMBERED, SLOW_RATE, RoundSettings
from swarmlearning.rounds.timers import NEVER


class Watching:
    """Decides about the leader of the round in progress."""

    def __init__(self, facts: RoundFacts, settings: RoundSettings) -> None:
        self._facts = facts
        self._settings = settings
        self._due: tuple[Key, float] = (NEVER, 0.0)
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)

    def decide(self) -> None:
        """Reports about the leader what is to be reported now."""
        current = self._facts.once("due round", self._due_round)
        self._note(current)
        if current is not None and current.leader != self._facts.uid:
            self._watch(current)
            self._judge(current)

    def _due_round(self) -> Round | None:
        state = self._facts.training
        current = state.round
        if current is None or not current.leader:
            return None
        due = current.counted_with(()) | _left_out_by_leader(state, current)
        if current.phase == "frozen" or enough(state, due):
            return current
        return None

    def _note(self, current: Round | None) -> None:
        """Remembers since when the present leader's round is due, and how long those took that are published."""
        key, since = self._due
        result = self._facts.training.result
        present = self._facts.key_of(current) if current else NEVER
        if key == present:
            return
        if key != NEVER and result and (result.closed.number, result.closed.term) == key[1:]:
            self._seconds.append(self._facts.now - since)
        self._due = (present, self._facts.now)

    def _watch(self, current: Round) -> None:
        """Reports a leader that has been quiet for too long, once for each time that it reported."""
        facts = self._facts
        statements = facts.once("statements", lambda: _statements(facts.training, current))
        said = f"{facts.leader_height}/{statements}"
        patience = Timer("patience", facts.key_of(current), said)
        over = facts.timers.expired(patience, self._settings.patience(current))
        if over and facts.uid not in current.no_progress:
            self._report(current, facts.leader_height, "progress")

    def _judge(self, current: Round) -> None:
        """Reports a leader that is too slow, whatever progress it reports: nobody can see whether that is true."""
        facts = self._facts
        if self._seconds:
            usual = median_high(self._seconds)
        else:
            size = size_of_all(current, self._facts.model_size(current))
            usual = size / SLOW_RATE if current.phase == "frozen" else 0.0
        timer = Timer("overdue", facts.key_of(current), current.phase)
        over = facts.timers.expired(timer, self._settings.term_seconds(current, usual))
        if over and facts.uid not in current.overdue:
            self._report(current, facts.height, "overdue")

    def _report(self, current: Round, seen_height: int, cause: Literal["progress", "overdue"]) -> None:
        leader = self._facts.training.members[current.leader]
        self._facts.send(Depose(current.number, current.term, leader.incarnation, seen_height, cause))


def _left_out_by_leader(state: Training, current: Round) -> set[str]:
    """Returns the members that the present leader alone keeps out: it found their models unusable, others may not."""
    by_leader = {uid: bar for uid, bar in current.barred.items() if current.leader in bar.leaders}
    return {uid for uid, bar in by_leader.items() if not is_believed(state, uid, bar)}


def _statements(state: Training, current: Round) -> str:
    """Returns what changes with each statement of members about slices of this round, by which it moves on."""
    slicing = slicing_of(state, current.number)
    if slicing is None:
        return ""
    stated = sum(
        len(each.statistics) + len(each.roots) + sum(map(len, each.copies.values())) for each in slicing.slices
    )
    return f"{slicing.recipe}/{stated + len(slicing.faults)}"
