"""What an operator says about one SL's part in rounds, and the times that follow from it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from swarmlearning.ledger.bodies import InitialSync

QUIET_SECONDS = 30.0
"""How long a leader at work may be quiet in term 0, where the operator does not want it shorter."""
REPORTS_PER_PATIENCE = 3
"""How often a leader at work says so within the time that the others have patience."""
DOUBLINGS = 10

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
"""Seconds until what has failed is tried again: doubled with each failure."""

OnNonFinite: TypeAlias = Literal["exclude", "fail"]
"""When somebody's model has NaN or infinity: training goes on without that model, or it ends at this site."""


@dataclass(frozen=True)
class RoundSettings:
    """The original's settings that concern rounds (see `node/settings.py`), `initial` and `non_finite`."""

    make_me_admin: bool
    full_quorum_seconds: float
    leader_failure_seconds: float
    initial: InitialSync
    non_finite: OnNonFinite = "exclude"

    def patience(self, term: int) -> float:
        """Seconds that a leader may be quiet while its round is due: doubled with each term, so that even a merge
        whose progress cannot be seen comes to its end under some leader."""
        return min(QUIET_SECONDS, self.leader_failure_seconds) * 2.0 ** min(term, DOUBLINGS)

    def report_seconds(self, term: int) -> float:
        """Seconds between two `Progress` of a leader at work."""
        return self.patience(term) / REPORTS_PER_PATIENCE
