"""More troubles for some seeds, from a random stream of their own: all other seeds mean what they meant before.

Seeds that end with 1 or 6 have clocks that differ, and mostly a site whose certificate is revoked; those that end with
3 or 8 a site whose contributions never come to an end, and those that end with 2 or 7 one that serves results so.
"""

import random

from simulation.faults import drip, revoke, strike, trickle
from simulation.swarm import Swarm

DAY = 24 * 3600
LONGEST_OFFSET = 30 * DAY
"""Seconds by which a clock is ahead or behind, far more than certificates allow for."""
DRIFT = 0.01
REVOKED = 0.7
"""The probability that a certificate is revoked where clocks differ."""
TROUBLE_SECONDS = 40.0
"""Seconds within which these troubles begin."""


def add_troubles(swarm: Swarm, seed: int) -> None:
    """Adds the troubles of this seed to the faults of its scenario."""
    dice = random.Random(f"troubles {seed}")
    site, begins = dice.choice(list(swarm.sites.values())), dice.uniform(0.0, TROUBLE_SECONDS)
    if seed % 5 == 1:
        set_clocks(swarm, dice)
        if dice.random() < REVOKED:
            site.papers = "SL-2"
            swarm.until_healed(begins)
            swarm.clock.after(begins, lambda: strike(swarm, revoke, site, 0.0))
    elif seed % 5 == 3:
        swarm.until_healed(begins)
        swarm.clock.after(begins, lambda: strike(swarm, drip, site, 0.0))
    elif seed % 5 == 2:
        swarm.until_healed(begins)
        swarm.clock.after(begins, lambda: strike(swarm, trickle, site, 0.0))


def set_clocks(swarm: Swarm, dice: random.Random) -> None:
    """Makes every node's clock wrong by a time of its own, and too fast or too slow."""
    for node in (*swarm.sns, *swarm.sites.values()):
        node.offset = dice.uniform(-LONGEST_OFFSET, LONGEST_OFFSET)
        node.rate = dice.uniform(1 - DRIFT, 1 + DRIFT)
        swarm.struck["clock that differs"] += 1
