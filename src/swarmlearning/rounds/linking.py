"""Links: stating this node's own, and how long others may need by what they state of theirs."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import median_high
from typing import Final, Literal

from swarmlearning.ledger.bodies import StateLink
from swarmlearning.ledger.contracts.training.slices import Link, Slicing, expected_bytes, stated
from swarmlearning.ledger.contracts.training.state import Round, Training
from swarmlearning.rounds.events import Timer
from swarmlearning.rounds.facts import RoundFacts
from swarmlearning.rounds.settings import LEAST_SECONDS, LONGEST_WORK_PAUSE, SLOW_RATE, TOO_SLOW
from swarmlearning.rounds.slices import LinkMeasured
from swarmlearning.rounds.timers import NEVER

CHANGED: Final = 1.2
"""Factor by which a link has to differ from what is stated to be stated anew."""

BY_ITS_WORD: Final = 10
"""Times as long as others a contributor or merger has that states a slow link: whoever lies about it holds up no round
for ever (seed 139 with slices)."""


UNABLE = Timer("slice", NEVER, "unable")
"""Runs while this node believes that it cannot merge: its disk may have space by now, and the others may hang."""


class Linking:
    """This node's link, and the others'. `able`: it can merge, as far as it knows; believed again after a while."""

    def __init__(self, facts: RoundFacts) -> None:
        self.able = True
        self._facts = facts
        self._link: LinkMeasured | None = None

    def measured(self, link: LinkMeasured) -> None:
        """What this node knows of its link."""
        self._link = link

    def failed(self) -> None:
        """This node could not merge."""
        self.able = False
        self._facts.timers.forget(UNABLE)

    def decide(self) -> None:
        """States the link where it differs from what is stated."""
        link, facts = self._link, self._facts
        if link is None:
            return
        if not self.able and facts.timers.expired(UNABLE, LONGEST_WORK_PAUSE):
            facts.timers.forget(UNABLE)
            self.able = True
        before = facts.once("own link", lambda: stated(facts.training.links, facts.uid))
        merges = link.merges and self.able
        up, down = link.limits
        changed = _differs(before.up, link.up, up) or _differs(before.down, link.down, down)
        if changed or before.merges != merges:
            facts.send(StateLink(_now(before.up, link.up, up), _now(before.down, link.down, down), merges))

    def seconds(self, current: Round, slicing: Slicing, merger: str) -> float:
        """Seconds within which a merger should have merged its slices: a multiple of what it needs by its link, and the
        slowest contributor by that, as they state them. A link that nobody knows is like the others, and one that is
        far slower by its own word counts as a tenth of what sites of most organisations state."""
        key = "seconds", slicing.recipe, merger  # each slice asks
        return self._facts.once(key, lambda: self._count(current, slicing, merger))

    def _count(self, current: Round, slicing: Slicing, merger: str) -> float:
        size = self._facts.model_size(current)
        sites = [uid for uid, entry in current.submissions.items() if entry.weight > 0]
        links = {each.uid: each for each in self._facts.training.links}
        known = [(self._facts.training.members[uid].organisation, links[uid]) for uid in sites if uid in links]
        usual_up = _usual((of, each.up) for of, each in known)
        usual_down = _usual((of, each.down) for of, each in known)
        others = [links.get(uid, Link(uid)).up or usual_up for uid in sites if uid != merger]
        up = max(SLOW_RATE, usual_up // BY_ITS_WORD, min(others, default=0))
        down = max(SLOW_RATE, usual_down // BY_ITS_WORD, links.get(merger, Link(merger)).down or usual_down)
        expected = max(size / up, expected_bytes(slicing, merger, size, len(sites)) / down)
        return max(LEAST_SECONDS, TOO_SLOW * expected)


def _usual(speeds: Iterable[tuple[str, int]]) -> int:
    """The middle one of what organisations state, each by the middle one of its sites; 0 where nothing is known."""
    known = defaultdict[str, list[int]](list)
    for organisation, speed in speeds:
        if speed:
            known[organisation].append(speed)
    return median_high(map(median_high, known.values())) if known else 0


def seconds_of(training: Training, uid: str, direction: Literal["up", "down"], size: int) -> float:
    """Seconds that a member needs to move so many bytes by its link as it states it; 0 where it states none. None is
    believed to be slower than any is assumed to be."""
    speed: int = getattr(stated(training.links, uid), direction)
    return size / max(SLOW_RATE, speed) if speed else 0.0


def _now(was: int, now: int, limit: int | None) -> int:
    """What to state of one direction: what is known, or else what was stated, unless that was a limit's."""
    return _rounded(now) if now or limit is not None else was


def _differs(was: int, now: int, limit: int | None) -> bool:
    """True if a speed is to be stated anew. Where limits change it is never above the present one, and unknown again
    where there is none now and what was measured under another says nothing."""
    if limit is not None and (was > _rounded(limit) if limit else was and not now):
        return True
    return now > 0 and not 1 / CHANGED <= was / now <= CHANGED


def _rounded(speed: int) -> int:
    """Two significant digits: what is stated stays the same while a link does."""
    digits = len(str(speed))
    return speed if digits <= 2 else round(speed, 2 - digits)
