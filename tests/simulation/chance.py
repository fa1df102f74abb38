"""A swarm of any kind and what goes wrong in it, all from one seed.

Most faults heal: a process is started again, a partition ends, a disk works again. Some sites are gone for good, mostly
so few that the others can finish; where they cannot, they have to say for whom they wait.
"""

import random
from functools import partial

from simulation.faults import FAULTS, FOR_GOOD, JAM_SECONDS, JAMS, OF_A_LEADER, OF_NO_SITE, Fault, strike
from simulation.moments import MOMENTS
from simulation.outersteps import is_stepped
from simulation.scenario import Scenario, traits
from simulation.site import Plan, Site
from simulation.swarm import Swarm, Trace
from swarmlearning.rounds.settings import RoundSettings

FIRST_FAULTS = 60.0
"""Seconds in which faults begin."""
LONG_GRACE = 30.0
"""Longer than any site that is not slow trains."""
LARGE = 400
"""One swarm in this many is large."""


def varied_swarm(seed: int, trace: Trace | None = None, *, sliced: bool = False) -> Swarm:
    """Builds the swarm of this seed and schedules its faults."""
    chance = Chance(seed)
    swarm = Swarm(chance.scenario(), seed, trace, sliced=sliced, stepped=is_stepped(seed))
    chance.schedule(swarm)
    return swarm


class Chance:
    """The random choices of a seed: sites, SNs and faults."""

    def __init__(self, seed: int) -> None:
        self._dice = dice = random.Random(f"scenario {seed}")
        large = seed % LARGE == LARGE // 2
        self._count = dice.choice((16, 24, 32, 64)) if large else dice.choice((2, 3, 3, 4, 4, 4, 5, 5, 6, 8))
        self._sns = dice.choice((1, 1, 1, 3, 3, 5))
        self._min_peers = max(1, self._count - dice.choice((0, 1, 1, 2)) if not large else self._count * 3 // 4)
        self._faults = 0 if dice.random() < 0.1 else dice.randint(1, 3 if large else 8)
        self._initial = "one" if dice.random() < 0.2 else "merged"
        self._grace = dice.choice((0.0, 2.0, LONG_GRACE))
        self._base = dice.choice((5.0, 600.0, 600.0))
        self._rounds = dice.randint(1, 2 if large else 4)
        self._silent = dice.random() < 0.05
        if large and self._silent:
            self._base = 600.0  # with less patience than a merge takes many leaders are deposed before one may go on
        self._jam: Fault | None = dice.choice(JAMS) if dice.random() < 0.15 else None

    def scenario(self) -> Scenario:
        """Draws the sites, the SNs and the network."""
        dice = self._dice
        plans = tuple(self._plan(index) for index in range(self._count))
        loss, lateness, haste = (dice.choice((0.0, 0.0, 0.0, found)) for found in (0.02, 0.02, 0.2))
        patient = self._grace == LONG_GRACE and self._min_peers == self._count
        eventful = self._faults or self._jam or loss or lateness or haste or any(traits(plan) for plan in plans)
        return Scenario(
            plans,
            self._min_peers,
            self._sns,
            latency=dice.choice((0.002, 0.01, 0.1, 0.5)),
            loss=loss,
            doubling=dice.choice((0.0, 0.0, 0.1)),
            lateness=lateness,
            haste=haste,
            calm=patient and not eventful,
        )

    def _plan(self, index: int) -> Plan:
        """Draws the plan of site number `index`; the first site may always lead."""
        dice = self._dice
        slow = dice.choice((1, 1, 1, 1, 1, 20))
        return Plan(
            rounds=max(1, self._rounds + dice.choice((-1, 0, 0, 1))),
            train=dice.uniform(1.0, 3.0) * slow,
            work=40.0 if self._silent else dice.choice((0.01, 0.1, 1.0, 40.0 if dice.random() < 0.2 else 0.1)),
            silent=self._silent,
            transfer=dice.choice((0.01, 0.05, 0.5, 20.0 if dice.random() < 0.2 else 0.05)),
            lag=dice.choice((0.0, 0.0, 0.0, 0.0, 2.0 if dice.random() < 0.5 else 0.3)),
            checkin=dice.choice(("snapshot", "active", "inactive")),
            adaptive=dice.random() < 0.3,
            weightage=dice.choice((1, 1, 5)),
            settings=RoundSettings(
                make_me_admin=index == 0 or dice.random() < 0.85,
                full_quorum_seconds=self._grace,
                leader_failure_seconds=self._base,
                initial="one" if self._initial == "one" else "merged",
            ),
            joins=0.0 if index < self._min_peers or dice.random() < 0.7 else dice.uniform(5.0, 40.0),
        )

    def schedule(self, swarm: Swarm) -> None:
        """Schedules the faults: at a time, or for the leader at a moment of a round."""
        dice = self._dice
        gone = 0
        if self._jam is not None:
            gone += 1
            swarm.moments.on(dice.choice(MOMENTS), dice.randint(0, self._rounds), partial(jam, swarm, self._jam))
        for _ in range(self._faults):
            fault, lasts = dice.choice(FAULTS), dice.choice((0.5, 3.0, 10.0, 45.0)) * dice.uniform(0.5, 1.5)
            if fault in FOR_GOOD:
                gone += 1
                if gone > max(0, self._count - self._min_peers) and dice.random() < 0.9:
                    continue
            if fault in OF_NO_SITE:
                strike_at(swarm, dice.uniform(0.0, FIRST_FAULTS), fault, None, lasts)
            elif dice.random() < 0.5:
                site = dice.choice(list(swarm.sites.values()))
                strike_at(swarm, dice.uniform(0.0, FIRST_FAULTS), fault, site, lasts)
            else:
                moment, delay = dice.choice(MOMENTS), dice.choice((0.0, 0.05, 1.0))
                number = dice.choice((dice.randint(0, self._rounds), self._rounds + 1))  # the last one is special
                swarm.moments.on(moment, number, partial(strike_leader, swarm, delay, fault, lasts))


def strike_at(swarm: Swarm, delay: float, fault: Fault, site: Site | None, lasts: float) -> None:
    swarm.until_healed(delay + lasts)
    swarm.clock.after(delay, lambda: strike(swarm, fault, site, lasts))


def strike_leader(swarm: Swarm, delay: float, fault: Fault, lasts: float, site: Site) -> None:
    strike_at(swarm, delay, fault, site, lasts)


def jam(swarm: Swarm, fault: Fault, site: Site) -> None:
    """Makes leaders stall while they stay alive; everybody else has to go on."""
    swarm.note(site.uid, "is jammed")
    swarm.struck["jam"] += 1
    swarm.struck[f"jam{OF_A_LEADER}"] += 1
    swarm.harmed.add(site.uid)
    site.jammed = True
    fault(swarm, site, JAM_SECONDS)
    swarm.clock.after(JAM_SECONDS, lambda: swarm.unjam(site))
