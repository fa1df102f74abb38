"""Timers of one node, and pauses before what has failed is tried again.

A timer belongs to a term (`Timer.key`), and means nothing in another one; those with the key `NEVER` belong to none.
"""

from collections.abc import Callable

from swarmlearning.rounds.events import Action, Key, SetTimer, Timer
from swarmlearning.rounds.settings import FIRST_PAUSE, LONGEST_PAUSE

NEVER: Key = (-1, -1, -1)
"""Key of timers that belong to no term."""


class Timers:
    """Timers that run or are over. Those that are started are appended to `out`."""

    def __init__(self, out: list[Action]) -> None:
        self._out = out
        self._over: dict[Timer, bool] = {}
        self._pauses: dict[str, float] = {}

    def expired(self, timer: Timer, seconds: float) -> bool:
        """Starts the timer unless it was started before; returns whether its time is over."""
        if timer not in self._over:
            self._over[timer] = False
            self._out.append(SetTimer(timer, seconds))
        return self._over[timer]

    def every(self, timer: Timer, seconds: float) -> bool:
        """Returns True once each time that so many seconds have passed: the timer is started again then."""
        if not self.expired(timer, seconds):
            return False
        del self._over[timer]
        self.expired(timer, seconds)
        return True

    def fired(self, timer: Timer) -> None:
        """Notes that its time is over; a timer that has been forgotten means nothing any more."""
        if timer.purpose == "retry":
            self._over.pop(timer, None)
        elif timer in self._over:
            self._over[timer] = True

    def forget(self, timer: Timer) -> None:
        """Forgets the timer."""
        self._over.pop(timer, None)

    def forget_all(self, matches: Callable[[Timer], bool]) -> None:
        """Forgets all such timers."""
        self._over = {timer: over for timer, over in self._over.items() if not matches(timer)}

    def keep(self, term: Key) -> None:
        """Forgets the timers of all terms but this one."""
        self._over = {timer: over for timer, over in self._over.items() if timer.key in (term, NEVER)}

    # --- pauses -----------------------------------------------------------------------------------------------------

    def pause(self, subject: str, longest: float = LONGEST_PAUSE) -> None:
        """Pauses before the next attempt, longer after each failure.

        `subject`: a fetch's digest, nothing for a merge, the kind of a transaction. `longest`: seconds.
        """
        seconds = self._pauses.get(subject, FIRST_PAUSE)
        self._pauses[subject] = min(2 * seconds, longest)
        self.expired(_retry(subject), seconds)

    def pausing(self, subject: str) -> bool:
        """Returns whether it is not yet time to try again."""
        return _retry(subject) in self._over

    def resume(self, subject: str) -> None:
        """Ends the pause: it is worth trying at once, and the next failure is a first one."""
        self._over.pop(_retry(subject), None)
        self.succeeded(subject)

    def succeeded(self, subject: str) -> None:
        """Notes that the next failure is a first one."""
        self._pauses.pop(subject, None)

    def forget_pauses(self, needed: set[str]) -> None:
        """Forgets the failures of models that nobody needs any more."""
        self._pauses = {subject: seconds for subject, seconds in self._pauses.items() if subject in needed | {""}}


def _retry(subject: str) -> Timer:
    return Timer("retry", NEVER, subject)
