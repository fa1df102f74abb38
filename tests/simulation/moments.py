"""Actions on a swarm that happen once: at a moment of its leader, or as soon as the ledger is in some state."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from simulation.clock import Thunk
from simulation.site import Site
from swarmlearning.ledger.contracts.training.state import Training

MOMENTS = ("collecting", "merging", "publishing", "distributing")

Reached = Callable[[Training], bool]


class _OfALeader(NamedTuple):
    moment: str
    number: int
    strike: Callable[[Site], None]


class Moments:
    """The actions that are still to happen."""

    def __init__(self) -> None:
        self._on: list[_OfALeader] = []
        self._when: list[tuple[Reached, Thunk]] = []

    def on(self, moment: str, number: int, strike: Callable[[Site], None]) -> None:
        """Strikes the leader in this moment of round `number` or a later one."""
        self._on.append(_OfALeader(moment, number, strike))

    def when(self, reached: Reached, then: Thunk) -> None:
        """Does `then` right after the first block whose state is `reached`."""
        self._when.append((reached, then))

    def at(self, moment: str, rounds: int, site: Site) -> None:
        """Performs the actions that are due at this moment of this leader, after this many rounds."""
        for one in [one for one in self._on if one.moment == moment and one.number <= rounds]:
            self._on.remove(one)
            one.strike(site)

    def block(self, training: Training, sites: Mapping[str, Site]) -> None:
        """Performs the actions that are due in this newer state."""
        current, result = training.round, training.result
        if current is not None and len(current.submissions) == 1:
            self._of("collecting", training, current.leader or (result.leader if result else ""), sites)
        if result is not None and len(result.holders) == 1:
            self._of("distributing", training, result.leader, sites)
        due = [one for one in self._when if one[0](training)]
        self._when = [one for one in self._when if one not in due]
        for _, then in due:
            then()

    def _of(self, moment: str, training: Training, leader: str, sites: Mapping[str, Site]) -> None:
        if leader in sites:
            self.at(moment, training.rounds, sites[leader])
