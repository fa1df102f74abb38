"""Small swarms in a hurry: messages, training, merges and transfers all take about as long as each other, and much goes
wrong at once. So their events come in every order, and a leader that stands still has no excuse.
"""

import random
from dataclasses import replace
from functools import partial

from simulation.chance import strike_at, strike_leader
from simulation.faults import BRIEF, OF_NO_SITE
from simulation.moments import MOMENTS
from simulation.outersteps import is_stepped
from simulation.scenario import Scenario
from simulation.site import SETTINGS, Plan, Site
from simulation.swarm import Swarm, Trace

FAULTS_SECONDS = 15.0
"""Seconds within which faults begin, where messages take long."""


def hectic_swarm(seed: int, trace: Trace | None = None, *, sliced: bool = False) -> Swarm:
    """Builds the hectic swarm of this seed and schedules its faults."""
    dice = random.Random(f"hectic {seed}")
    count = dice.choice((2, 3, 3, 4, 5))
    min_peers = dice.randint(max(1, count - 2), count)
    plans = tuple(_plan(dice, index, may_come_late=index >= min_peers) for index in range(count))
    latency, pace = dice.choice(((0.05, 0.2), (0.5, 1.0)))
    scenario = Scenario(plans, min_peers, latency=latency, doubling=0.2, prompt=True)
    swarm = Swarm(scenario, seed, trace, sliced=sliced, stepped=is_stepped(seed))
    kinds = (dice.choice(BRIEF),) if dice.random() < 0.5 else BRIEF
    for _ in range(dice.randint(2, 10)):
        fault, lasts = dice.choice(kinds), dice.choice((0.1, 1.0, 5.0))
        if dice.random() < 0.5:
            site: Site | None = None if fault in OF_NO_SITE else dice.choice(list(swarm.sites.values()))
            strike_at(swarm, dice.uniform(0.0, pace * FAULTS_SECONDS), fault, site, lasts)
        else:
            strike = partial(strike_leader, swarm, dice.choice((0.0, latency)), fault, lasts)
            swarm.moments.on(dice.choice(MOMENTS), dice.randint(0, 3), strike)
    return swarm


def _plan(dice: random.Random, index: int, *, may_come_late: bool) -> Plan:
    return Plan(
        rounds=dice.randint(1, 3),
        train=dice.choice((0.1, 0.5, 2.0)),
        begins=dice.choice((0.1, 2.0)),
        work=dice.choice((0.1, 2.0)),
        transfer=dice.choice((0.1, 0.5)),
        checkin=dice.choice(("snapshot", "active", "inactive")),
        adaptive=dice.random() < 0.4,
        weightage=dice.choice((1, 1, 5)),
        settings=replace(SETTINGS, make_me_admin=index == 0 or dice.random() < 0.8),
        joins=dice.uniform(0.0, FAULTS_SECONDS) if may_come_late and dice.random() < 0.3 else 0.0,
    )
