"""What the ledger shows of a training's curves, as a stream: the points for experiment trackers, and the best round.

Looks at each state of one contract; nothing is asked of anybody. States may be skipped, and the last report of each
site is in all of them, so little is lost even by a restart.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.tracking.tracker import Point
from swarmlearning.views.curves import Measure, Reported, RoundMean, best_round, round_means

KEPT_ROUNDS: Final = 8
"""Rounds of which single reports are remembered: one that comes later changes no mean any more."""
LONGEST_NAME: Final = 64
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")


class Curves:
    """The curves of one run. `own`: the UID of this site; `names`: those of all sites by UID, as people know them."""

    def __init__(self, own: str, measure: Measure | None = None) -> None:
        self._own = own
        self._measure = measure
        self._reports: dict[tuple[int, str], Reported] = {}
        self._reporting: set[str] = set()
        self._means: dict[int, RoundMean] = {}
        self._settled = -1

    @property
    def best(self) -> RoundMean | None:
        """The best round of those whose means are known."""
        return best_round(self._means.values(), len(self._reporting), self._measure)

    def known(self, mean: RoundMean) -> None:
        """The best round that an earlier process of this node knew."""
        self._means[mean.round] = mean

    def new(self, state: Training, names: Mapping[str, str], time_ms: int) -> list[Point]:
        """The points that this state adds to what was seen before."""
        points = [*self._new_reports(state, names, time_ms), *self._new_means(state, time_ms)]
        for key in [key for key in self._reports if key[0] < self._settled - KEPT_ROUNDS]:
            del self._reports[key]
        return points

    def _new_reports(self, state: Training, names: Mapping[str, str], time_ms: int) -> Iterator[Point]:
        for uid, member in sorted(state.members.items()):
            found = member.performance
            if found is None:
                continue
            report = Reported(found.round, uid, found.loss, found.metric)
            if self._reports.get((found.round, uid)) == report:
                continue
            self._reports[found.round, uid] = report
            if found.loss is None and found.metric is None:
                continue
            self._reporting.add(uid)
            head = "site" if uid == self._own else f"sites/{tag_of(names.get(uid, uid))}"
            yield from _points(head, found.round, found.loss, found.metric, time_ms)
            if uid == self._own and found.total_epochs:
                yield Point("site/epochs", found.round, float(found.epochs), time_ms)

    def _new_means(self, state: Training, time_ms: int) -> Iterator[Point]:
        """A round's means are final with the next result: a site that reports later has been overtaken."""
        last = state.rounds - 1 if state.settled else state.rounds - 2
        means = {mean.round: mean for mean in round_means(self._reports.values())}
        for number in sorted(each for each in means if self._settled < each <= last):
            mean = self._means[number] = means[number]
            yield from _points("swarm", number, mean.loss, mean.metric, time_ms)
            yield Point("swarm/sites", number, float(mean.sites), time_ms)
        self._settled = max(self._settled, last)


def tag_of(name: str) -> str:
    """A site's name as part of a tag that every tracker takes; it comes from another organisation."""
    return _UNSAFE.sub("_", name[:LONGEST_NAME]) or "_"


def _points(head: str, step: int, loss: float | None, metric: float | None, time_ms: int) -> Iterator[Point]:
    for tag, value in (("loss", loss), ("metric", metric)):
        if value is not None:
            yield Point(f"{head}/{tag}", step, value, time_ms)
