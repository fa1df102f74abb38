"""SWOPs in virtual time: the real executor and the real taskrunner, killed at each step, reset and aborted in between,
with reports that are lost and states that come twice or not at all. A failing seed is printed, and fails again.
"""

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable

import pytest

from executor.ledger import Ledger
from executor.site import Site
from swarmlearning.choices import TaskType

SEEDS = 900
TROUBLED = 60.0
"""Seconds in which there are faults and operators change their minds."""
CALM = 120.0
"""Seconds in which everything must then be settled."""
LIMIT = 30.0


class Run:
    """One seed: a taskrunner, one to three SWOPs, an operator."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.ledger = Ledger(self.chance)
        faults = self.chance.choice([0.0, 0.02, 0.1])
        count = self.chance.randint(1, 3)
        self.sites = [
            Site(f"swop-{n}", self.chance.randint(0 if n else 1, 3), self.ledger, self.chance, self.later, faults)
            for n in range(count)
        ]
        for site in self.sites:
            site.now = lambda: self.now
        self.ledger.changed = self._show

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._numbers), act))

    def until(self, end: float) -> None:
        """Lets time pass."""
        while self._queue and self._queue[0][0] <= end:
            self.now, _, act = heapq.heappop(self._queue)
            act()
            for site in self.sites:
                site.check()
        self.now = end

    def _show(self) -> None:
        """Each SWOP sees the newest state some time later, so it skips those between."""
        for site in self.sites:
            self.later(self.chance.uniform(0, 0.3), site.look)

    def operate(self) -> None:
        """The operators' next act."""
        site = self.chance.choice(self.sites)
        act = self.chance.random()
        if act < 0.45 or self.ledger.runner.assignment is None:
            self.assign()
        elif act < 0.6:
            self.ledger.reset()
        elif act < 0.65:
            self.ledger.abort()
        elif act < 0.8:
            self.ledger.retry(site.uid)
        elif act < 0.9 and self.ledger.runner.assignment is not None:
            site.answer(self.ledger.runner.assignment.digest, approved=self.chance.random() < 0.8)
        else:
            site.crash()
        if self.now < TROUBLED:
            self.later(self.chance.expovariate(1 / 4), self.operate)

    def assign(self) -> None:
        kinds: list[TaskType] = ["RUN_SWARM", "RUN_SWARM", "MAKE_USER_CONTAINER", "PULL_IMAGE"]
        everybody = self.chance.random() < 0.2
        target = self.chance.choice(self.sites).uid if self.chance.random() < 0.2 else ""
        known = sum(peer.pairs for peer in self.ledger.runner.peers)
        if known:
            self.ledger.assign(
                self.chance.choice(kinds), self.chance.randint(1, known), everybody=everybody, target=target
            )


def run(seed: int) -> Counter[str]:
    """Runs a seed; returns its faults by kind."""
    world = Run(seed)
    for site in world.sites:
        site.begin()
    world.later(2.0, world.operate)
    world.until(TROUBLED)
    for site in world.sites:
        site.faults, site.asks, site.limit = 0.0, False, LIMIT
    world.until(world.now + CALM)
    world.ledger.reset()
    world.until(world.now + CALM)
    assert all(site.lives and not site.manager.left and not site.manager.pairs for site in world.sites), "left behind"
    assert all(site.disk is None for site in world.sites), "remembered what is over"

    pairs = sum(site.pairs for site in world.sites)
    assert world.ledger.assign("RUN_SWARM", pairs, everybody=True)
    world.until(world.now + CALM)
    assert world.ledger.runner.state in ("COMPLETE", "ERROR"), world.ledger.runner
    for site in world.sites:
        peer = world.ledger.peer(site.uid)
        assert peer is not None
        if peer.invited:
            assert peer.state in ("complete", "failed"), peer
            assert site.disk is not None
            assert peer.state == site.disk.outcome
        assert not any(pair.runs for pair in site.manager.pairs.values()), "something runs although all is over"
    return sum((Counter(site.counts) for site in world.sites), Counter())


@pytest.mark.parametrize("part", range(4))
def test_swops_end_with_nothing_that_runs_and_the_truth_on_the_ledger(part: int) -> None:
    faults = Counter[str]()
    for seed in range(part, SEEDS, 4):
        try:
            faults += run(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert set(faults) == {"crash", "journal lost", "report lost", "pair hangs"}, "a kind of fault did not happen"
