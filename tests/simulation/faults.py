"""A random swarm and what goes wrong in it, all from one seed.

Most faults heal: a process is started again, a partition ends, a disk works again. Some sites are gone for good, mostly
so few that the others can finish; where they cannot, they have to say for whom they wait.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from simulation.site import Plan, Site
from swarmlearning.ledger.contracts.training import Training
from swarmlearning.rounds.settings import RoundSettings

if TYPE_CHECKING:
    from simulation.swarm import Swarm

MOMENTS = ("collecting", "merging", "publishing", "distributing")
JAM_SECONDS = 800.0
"""How long a site may be alive and yet do nothing: longer than a round may take, which the others must close."""
FIRST_FAULTS = 60.0
"""Seconds in which faults begin."""
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
        self.latency = dice.choice((0.002, 0.01, 0.1, 0.5))
        self.faults = 0 if dice.random() < 0.1 else dice.randint(1, 3 if large else 8)
        self.initial = "one" if dice.random() < 0.2 else "merged"
        self.grace = dice.choice((0.0, 2.0, 30.0))
        self.base = dice.choice((5.0, 600.0, 600.0))
        self.rounds = dice.randint(1, 2 if large else 4)
        self.jam: Fault | None = dice.choice(JAMS) if dice.random() < 0.15 else None

    def plan(self, index: int) -> Plan:
        """How site number `index` trains; the first may always lead."""
        dice = self.dice
        slow = dice.choice((1, 1, 1, 1, 1, 20))
        return Plan(
            rounds=max(1, self.rounds + dice.choice((-1, 0, 0, 1))),
            train=dice.uniform(1.0, 3.0) * slow,
            work=dice.choice((0.01, 0.1, 1.0, 40.0 if dice.random() < 0.2 else 0.1)),
            transfer=dice.choice((0.01, 0.05, 0.5, 20.0 if dice.random() < 0.2 else 0.05)),
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


def schedule(swarm: "Swarm", scenario: Scenario) -> None:
    """Lets the scenario's faults happen: at a time, or to the leader at a moment of a round."""
    dice = scenario.dice
    gone = 0
    if scenario.jam is not None:
        gone += 1
        moment, number = dice.choice(MOMENTS), dice.randint(0, scenario.rounds)
        swarm.on(moment, number, partial(jam, swarm, scenario.jam))
    for _ in range(scenario.faults):
        fault, lasts = dice.choice(FAULTS), dice.choice((0.5, 3.0, 10.0, 45.0)) * dice.uniform(0.5, 1.5)
        if fault is die:
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


Fault = Callable[["Swarm", Site | None, float], None]


def strike_at(swarm: "Swarm", delay: float, fault: Fault, site: Site | None, lasts: float) -> None:
    swarm.until_healed(delay + lasts)
    swarm.clock.after(delay, lambda: fault(swarm, site, lasts))


def strike_leader(swarm: "Swarm", delay: float, fault: Fault, lasts: float, site: Site) -> None:
    strike_at(swarm, delay, fault, site, lasts)


# --- faults ---------------------------------------------------------------------------------------------------------


def crash(swarm: "Swarm", site: Site | None, lasts: float) -> None:
    """The SL is killed and started again."""
    assert site is not None
    if site.alive and not site.finished:
        site.crash()
        swarm.clock.after(lasts, lambda: None if site.dead or site.alive else site.start())


def die(swarm: "Swarm", site: Site | None, lasts: float) -> None:
    """The site is gone for good."""
    assert site is not None
    if site.alive and not site.finished:
        site.dead = True
        site.crash()


def freeze(swarm: "Swarm", site: Site | None, lasts: float) -> None:
    assert site is not None
    if site.alive and not site.frozen:
        site.freeze()
        life = site.life
        swarm.clock.after(lasts, lambda: site.thaw() if site.life == life else None)


def lose_ml(swarm: "Swarm", site: Site | None, lasts: float) -> None:
    assert site is not None
    if site.alive and not site.finished:
        site.script.lose()
        swarm.clock.after(lasts, lambda: None if site.finished else site.script.start())


def hang_ml(swarm: "Swarm", site: Site | None, lasts: float) -> None:
    assert site is not None
    swarm.note(site.uid, "its ML process hangs")
    site.script.hang(True)
    swarm.clock.after(lasts, lambda: site.script.hang(False))


def cut(swarm: "Swarm", site: Site | None, lasts: float) -> None:
    """The site hears nobody, and nobody hears it; or only the SNs or the other SLs."""
    assert site is not None
    sns, sls = {sn.name for sn in swarm.sns}, set(swarm.sites)
    others = swarm.dice.choice((sns | sls, sns, sls)) - {site.uid}
    swarm.cut({site.uid}, others, lasts)


def split(swarm: "Swarm", site: Site | None, lasts: float) -> None:
    """The network falls into two parts."""
    names = [sn.name for sn in swarm.sns] + list(swarm.sites)
    part = set(swarm.dice.sample(names, len(names) // 2))
    swarm.cut(part, set(names) - part, lasts)


def stick(swarm: "Swarm", site: Site | None, lasts: float) -> None:
    """The site's disk and transfers stand still, though it is alive."""
    assert site is not None
    swarm.note(site.uid, "is stuck")
    site.store.stuck = True
    swarm.clock.after(lasts, site.store.unstick)


def fill(swarm: "Swarm", site: Site | None, lasts: float) -> None:
    """The site's disk is full."""
    assert site is not None
    swarm.note(site.uid, "has a full disk")
    site.store.full = True
    swarm.clock.after(lasts, lambda: setattr(site.store, "full", False))


def poison(swarm: "Swarm", site: Site | None, lasts: float) -> None:
    """What the ML process trains is not finite, until somebody notices and starts it again."""
    assert site is not None
    swarm.note(site.uid, "trains a model that is not finite")
    site.script.poisoned = True

    def cure() -> None:
        site.script.poisoned = False
        if site.alive and not site.finished:
            site.script.lose()
            site.at(1.0, site.script.start)

    swarm.until_healed(lasts + 1.0)
    swarm.clock.after(lasts, cure)


def lose_file(swarm: "Swarm", site: Site | None, lasts: float) -> None:
    """A file of the site is gone, or has other bytes; of a merged model somebody else has a copy, or it can be void."""
    assert site is not None
    merged = sorted(digest for digest in site.store.held if digest not in swarm.witness.handed)
    if merged:
        digest = swarm.dice.choice(merged)
        swarm.note(site.uid, f"model {digest[:6]} is lost or damaged")
        if swarm.dice.random() < 0.5:
            site.store.held.discard(digest)
        else:
            site.store.corrupt.add(digest)


def crash_sn(swarm: "Swarm", site: Site | None, lasts: float) -> None:
    sn = swarm.dice.choice(swarm.sns)
    if sn.alive:
        swarm.crash_sn(sn)
        swarm.clock.after(lasts, lambda: swarm.restart_sn(sn))


def freeze_sn(swarm: "Swarm", site: Site | None, lasts: float) -> None:
    sn = swarm.dice.choice(swarm.sns)
    if sn.works:
        swarm.freeze_sn(sn)
        swarm.clock.after(lasts, lambda: swarm.thaw_sn(sn))


def isolate_sn(swarm: "Swarm", site: Site | None, lasts: float) -> None:
    """The other SNs do not hear it."""
    sn = swarm.dice.choice(swarm.sns)
    if len(swarm.sns) > 1 and not sn.isolated:
        swarm.note(sn.name, "is isolated")
        sn.isolated = True
        swarm.clock.after(lasts, lambda: swarm.join_sn(sn))


def jam(swarm: "Swarm", fault: Fault, site: Site) -> None:
    """The leader goes on living, but does not get on; everybody else has to."""
    swarm.note(site.uid, "is jammed")
    site.jammed = True
    fault(swarm, site, JAM_SECONDS)
    swarm.clock.after(JAM_SECONDS, lambda: swarm.unjam(site))


JAMS: tuple[Fault, ...] = (stick, stick, fill, hang_ml)
OF_SNS: tuple[Fault, ...] = (crash_sn, freeze_sn, isolate_sn)
FAULTS: tuple[Fault, ...] = (
    crash, crash, crash, die, freeze, freeze, lose_ml, lose_ml, hang_ml, cut, cut, split, stick, stick, fill, lose_file,
    poison,
    *OF_SNS,
)  # fmt: skip


def in_moment(moment: str, training: Training) -> bool:
    """Whether this block's state is the beginning of such a moment."""
    current = training.round
    if moment == "collecting":
        return current is not None and len(current.submissions) == 1
    return moment == "distributing" and training.result is not None and len(training.result.holders) == 1
