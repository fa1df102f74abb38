"""What strikes leaders of rounds that are merged by the geometric median, at the moments that only these have."""

import random
from functools import partial
from typing import Final

from simulation.chance import strike_leader
from simulation.faults import BRIEF, OF_NO_SITE
from simulation.swarm import Swarm

OF_SURVEYS: Final = ("weighing", "weighed")
"""Moments of a leader: it has the statistics of all slices, and the coefficients that follow are on the ledger."""
STRUCK: Final = 0.7
"""The probability that something strikes then."""


def add_survey_troubles(swarm: Swarm, seed: int) -> None:
    """Lets the leader be struck at one or two such moments, where models are surveyed."""
    dice = random.Random(f"looks {seed}")  # as ever: another text would change what a seed does
    if swarm.method != "geomedian" or dice.random() >= STRUCK:
        return
    faults = [fault for fault in BRIEF if fault not in OF_NO_SITE]
    for _ in range(dice.choice((1, 1, 2))):
        strike = partial(strike_leader, swarm, dice.choice((0.0, 0.05)), dice.choice(faults), dice.choice((0.5, 5.0)))
        swarm.moments.on(dice.choice(OF_SURVEYS), dice.randint(0, 1), strike)
