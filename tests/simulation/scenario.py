"""A random swarm and what goes wrong in it, all from one seed.

Most faults heal: a process is started again, a partition ends, a disk works again. Some sites are gone for good, mostly
so few that the others can finish; where they cannot, they have to say for whom they wait.
"""

import random
from functools import partial
from typing import TYPE_CHECKING

from simulation.faults import FAULTS, FOR_GOOD, JAM_SECONDS, JAMS, OF_SNS, OF_THE_NETWORK, Fault
from simulation.site import Plan, Site
from swarmlearning.ledger.contracts.training import Training
from swarmlearning.rounds.settings import RoundSettings

if TYPE_CHECKING:
    from simulation.swarm import Swarm

MOMENTS = ("collecting", "merging", "publishing", "distributing")
OF_A_LEADER = " of a leader"
FIRST_FAULTS = 60.0
"""Seconds in which faults begin."""
SLOW_SECONDS = 20.0
"""What takes so long is slow: training, a merge, a model's transfer."""
LONG_GRACE = 30.0
"""Longer than any trains that is not slow."""
LARGE = 400
"""One swarm in so many is large."""


class Scenario:
    """What a seed means: sites, SNs and faults. `healed_at` grows as faults are scheduled to end."""

    def __init__(self, seed: int) -> None:
        self.dice = dice = random.Random(f"scenario {seed}")
        large = seed % LARGE == LARGE // 2
        self.count = dice.choice((16, 24, 32, 64)) if large else dice.choice((2, 3, 3, 4, 4, 4, 5, 5, 6, 8))
        self.sns = dice.choice((1, 1, 1, 3, 3, 5))
        self.min_peers = max(1, self.count - dice.choice((0, 1, 1, 2)) if not large else self.count * 3 // 4)
        self.loss = dice.choice((0.0, 0.0, 0.0, 0.02))
        self.doubling = dice.choice((0.0, 0.0, 0.1))
        self.lateness = dice.choice((0.0, 0.0, 0.0, 0.02))
        self.latency = dice.choice((0.002, 0.01, 0.1, 0.5))
        self.faults = 0 if dice.random() < 0.1 else dice.randint(1, 3 if large else 8)
        self.initial = "one" if dice.random() < 0.2 else "merged"
        self.grace = dice.choice((0.0, 2.0, LONG_GRACE))
        self.base = dice.choice((5.0, 600.0, 600.0))
        self.rounds = dice.randint(1, 2 if large else 4)
        self.silent = dice.random() < 0.05
        self.jam: Fault | None = dice.choice(JAMS) if dice.random() < 0.15 else None

    @property
    def calm(self) -> bool:
        """Nothing is going to happen, and nobody begins without the others or leaves one behind."""
        patient = self.grace == LONG_GRACE and self.min_peers == self.count
        return patient and not (self.faults or self.jam or self.loss or self.lateness)

    def plan(self, index: int) -> Plan:
        """How site number `index` trains; the first may always lead."""
        dice = self.dice
        slow = dice.choice((1, 1, 1, 1, 1, 20))
        return Plan(
            rounds=max(1, self.rounds + dice.choice((-1, 0, 0, 1))),
            train=dice.uniform(1.0, 3.0) * slow,
            work=40.0 if self.silent else dice.choice((0.01, 0.1, 1.0, 40.0 if dice.random() < 0.2 else 0.1)),
            silent=self.silent,
            transfer=dice.choice((0.01, 0.05, 0.5, 20.0 if dice.random() < 0.2 else 0.05)),
            lag=dice.choice((0.0, 0.0, 0.0, 0.0, 2.0 if dice.random() < 0.5 else 0.3)),
            checkin=dice.choice(("snapshot", "active", "inactive")),
            adaptive=dice.random() < 0.3,
            weightage=dice.choice((1, 1, 5)),
            settings=RoundSettings(
                make_me_admin=index == 0 or dice.random() < 0.85,
                full_quorum_seconds=self.grace,
                leader_failure_seconds=self.base,
                initial="one" if self.initial == "one" else "merged",
            ),
            joins=0.0 if index < self.min_peers or dice.random() < 0.7 else dice.uniform(5.0, 40.0),
        )


def traits(plan: Plan) -> list[str]:
    """What is lastingly wrong with a site, as the census counts it."""
    found = {
        "late joiner": plan.joins > 0,
        "slow link": plan.lag > 0,
        "slow disk": plan.work >= SLOW_SECONDS or plan.transfer >= SLOW_SECONDS,
        "silent merges": plan.silent,
        "slow training": plan.train >= SLOW_SECONDS,
    }
    return [trait for trait, there in found.items() if there]


def schedule(swarm: "Swarm", scenario: Scenario) -> None:
    """Lets the scenario's faults happen: at a time, or to the leader at a moment of a round."""
    dice = scenario.dice
    gone = 0
    if scenario.jam is not None:
        gone += 1
        swarm.on(dice.choice(MOMENTS), dice.randint(0, scenario.rounds), partial(jam, swarm, scenario.jam))
    for _ in range(scenario.faults):
        fault, lasts = dice.choice(FAULTS), dice.choice((0.5, 3.0, 10.0, 45.0)) * dice.uniform(0.5, 1.5)
        if fault in FOR_GOOD:
            gone += 1
            if gone > max(0, scenario.count - scenario.min_peers) and dice.random() < 0.9:
                continue
        if fault in OF_SNS:
            strike_at(swarm, dice.uniform(0.0, FIRST_FAULTS), fault, None, lasts)
        elif dice.random() < 0.5:
            site = dice.choice(list(swarm.sites.values()))
            strike_at(swarm, dice.uniform(0.0, FIRST_FAULTS), fault, site, lasts)
        else:
            moment, delay = dice.choice(MOMENTS), dice.choice((0.0, 0.05, 1.0))
            number = dice.choice((dice.randint(0, scenario.rounds), scenario.rounds + 1))  # the last one is special
            swarm.on(moment, number, partial(strike_leader, swarm, delay, fault, lasts))


def strike_at(swarm: "Swarm", delay: float, fault: Fault, site: Site | None, lasts: float) -> None:
    swarm.until_healed(delay + lasts)
    swarm.clock.after(delay, lambda: strike(swarm, fault, site, lasts))


def strike(swarm: "Swarm", fault: Fault, site: Site | None, lasts: float) -> None:
    """Counts it, if it strikes."""
    leads = site is not None and site.leads
    if fault(swarm, site, lasts):
        kind = fault.__name__.replace("_", " ")
        swarm.struck[kind] += 1
        swarm.struck[f"{kind}{OF_A_LEADER}"] += leads
        swarm.harmed |= {site.uid} if site and fault not in OF_THE_NETWORK else set(swarm.sites)


def jam(swarm: "Swarm", fault: Fault, site: Site) -> None:
    """The leader goes on living, but does not get on; everybody else has to."""
    swarm.note(site.uid, "is jammed")
    swarm.struck["jam"] += 1
    swarm.struck[f"jam{OF_A_LEADER}"] += 1
    swarm.harmed.add(site.uid)
    site.jammed = True
    fault(swarm, site, JAM_SECONDS)
    swarm.clock.after(JAM_SECONDS, lambda: swarm.unjam(site))


def strike_leader(swarm: "Swarm", delay: float, fault: Fault, lasts: float, site: Site) -> None:
    strike_at(swarm, delay, fault, site, lasts)


def in_moment(moment: str, training: Training) -> bool:
    """Whether this block's state is the beginning of such a moment."""
    current = training.round
    if moment == "collecting":
        return current is not None and len(current.submissions) == 1
    return moment == "distributing" and training.result is not None and len(training.result.holders) == 1
