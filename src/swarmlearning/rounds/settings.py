"""An operator's settings of one SL's part in rounds, and the times that follow from them."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from swarmlearning.ledger.bodies import InitialSync, Origin
from swarmlearning.ledger.contracts.training.state import Round

QUIET_SECONDS = 30.0
"""Seconds that a leader at work may be quiet at first, where the operator's setting is not shorter."""
REPORTS_PER_PATIENCE = 3
"""Number of reports of a leader at work within the time that the others have patience."""
MOST_UNANSWERED = 2 * REPORTS_PER_PATIENCE
"""Reports of a leader under way at a time: one that gets no answer for twice the others' patience is cut off."""
DOUBLINGS = 10

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
"""Seconds until what has failed is tried again: doubled with each failure."""
LONGEST_WORK_PAUSE = 60.0
"""The same for a leader's work, each failure of which may be reported to the ledger."""

TOO_SLOW = 3
"""Factor by which a contributor's model may be slower than the others', and a leader than leaders before it; and by
which a result that comes too slowly may exceed the time it has before it is given up."""
RESULT_TOO_SLOW = 10
"""Factor by which a result may be slower than results before it until it is tried elsewhere, or reported missing."""
SLOW_RATE = 64 * 1024
"""Bytes per second that a site is assumed to move at least, until it is known how long a round lasts here."""
REMEMBERED = 9
"""Number of past rounds whose times are remembered."""
LEAST_SECONDS = 10.0
"""Seconds within which nobody is too slow."""

OnNonFinite: TypeAlias = Literal["exclude", "fail"]
"""Policy for a contribution with NaN or infinity: continue without that model, or end the training at this site."""


@dataclass(frozen=True)
class RoundSettings:
    """The original's settings that concern rounds (see `node/settings.py`), `initial` and `non_finite`; `origin`:
    the task for which a SWOP has started this SL; `merges_slices`: it merges slices of rounds, if it can;
    `verifies`: it checks its part of each result that was merged in slices."""

    make_me_admin: bool
    full_quorum_seconds: float
    leader_failure_seconds: float
    initial: InitialSync
    non_finite: OnNonFinite = "exclude"
    origin: Origin | None = None
    merges_slices: bool = True
    verifies: bool = False

    def patience(self, current: Round) -> float:
        """Seconds that a leader may be quiet while its round is due; doubled as leaders are deposed, so that even a
        merge whose progress cannot be seen comes to its end under some leader."""
        return min(QUIET_SECONDS, self.leader_failure_seconds) * _doubled(current)

    def merge_delay(self, current: Round) -> float:
        """Seconds after which a leader merges again whose last result nobody could fetch: half of the patience with it,
        doubled with each result of the round that was void. It is not doubled as the leader is deposed: false reports
        would keep it from merging for hours (seed 91010019)."""
        return min(QUIET_SECONDS, self.leader_failure_seconds) / 2 * 2.0 ** min(current.voids, DOUBLINGS)

    def report_seconds(self, current: Round) -> float:
        """Seconds between two `Progress` of a leader at work."""
        return self.patience(current) / REPORTS_PER_PATIENCE

    def result_seconds(self, size: int, usual: float, voids: int) -> float:
        """Seconds that a result of `size` bytes may need, where those before it needed the `usual` ones (0: unknown);
        doubled with each result of its round that was void, so that even a slow network gets it in the end.

        What comes more slowly than `SLOW_RATE` is not usual: it does not make the next ones be waited for longer.
        """
        slowest = size / SLOW_RATE
        expected = RESULT_TOO_SLOW * min(usual, max(QUIET_SECONDS, slowest)) or slowest
        return max(QUIET_SECONDS, expected) * 2.0 ** min(voids, DOUBLINGS)

    def settle_seconds(self, size: int, usual: float) -> float:
        """Seconds that a final result may need to reach all others, arguments as above: twice as long as those need who
        give it up by themselves, and so long that one that stands still has come back.

        That is at most half an hour for a small model, where the operator's setting is not longer, and for a large one
        sixty times as long as it needs at `SLOW_RATE`.
        """
        return max(self.leader_failure_seconds, 2 * TOO_SLOW * self.result_seconds(size, usual, voids=0))

    def term_seconds(self, current: Round, usual: float) -> float:
        """Seconds that a leader may need for a round that is due, where leaders before it needed the `usual` ones.

        The more leaders were deposed in this round, the longer: it may be the round that needs so much, and with many
        members it would be very long until each has had its second turn (seed 90008600, where leaders need a minute for
        a tiny model, and wait for nobody).
        """
        longer = max(_doubled(current), 1.0 + len(set(current.deposed)))
        return self.patience(current) + TOO_SLOW * max(LEAST_SECONDS, self.full_quorum_seconds + usual) * longer


def _doubled(current: Round) -> float:
    return 2.0 ** min(current.doublings, DOUBLINGS)
