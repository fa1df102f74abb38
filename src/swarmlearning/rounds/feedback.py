"""Which change's residual is added to the next one: what coding has left out of a change goes with a later one.

Each change that this site gives leaves a residual of its own, which has in it what was left out before. The residual
that counts follows from the results that stand: after one that names a change of this site, that of this change; after
one that does not (excluded, late, refused, merged without it), the one that counted before. So it is with a result in
the place of one that is void: what counted at the round's base counts again.

Nothing else decides, so a site that is restarted comes to the same, from what it has given before. Where it cannot know
(results have come and gone meanwhile) no residual counts: one is rather lost than added twice.
"""

from collections.abc import Iterable
from typing import Final

from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.rounds.events import Released

REMEMBERED: Final = 8
"""Results of which it is known what counts after them."""


class Feedback:
    """Follows the results of one training, run by run."""

    def __init__(self, uid: str, training: Training, released: Iterable[Released] = ()) -> None:
        """`released`: what this site has given before it was started, the newest last."""
        self._uid = uid
        self._run = training.run
        self._given: dict[str, None] = {}
        self._after: dict[str, str] = {}
        for done in released:
            self.given(done)

    def given(self, done: Released) -> None:
        """The site has made this change: to the residual that counted at its base."""
        if done.release.run == self._run and done.release.transfer != "float32" and done.result:
            self._given[done.result] = None
            self._after.setdefault(done.release.base, done.release.residual or "")
            _forget_old(self._given)
            _forget_old(self._after)

    def follow(self, training: Training) -> None:
        """Looks at the standing result."""
        if training.run != self._run:
            self._run, self._given, self._after = training.run, {}, {}
        result = training.result
        if result is None or result.digest in self._after or result.digest == result.closed.base:
            return
        own = (part.digest for part in result.receipt.contributions if part.uid == self._uid)
        named = next((digest for digest in own if digest in self._given), None)
        self._after[result.digest] = self._after.get(result.closed.base, "") if named is None else named
        _forget_old(self._after)

    def residual_at(self, base: str) -> str:
        """The change whose residual is added to one of this base; empty: none."""
        return self._after.get(base, "")


def _forget_old(known: dict[str, None] | dict[str, str]) -> None:
    while len(known) > REMEMBERED:
        del known[next(iter(known))]
