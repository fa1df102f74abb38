"""SNs of adversarial organisations, fewer than half of the SNs that count: they order or not, date blocks as they like,
seal what is void, and report whatever their certificates allow (the moves of kind `watch`).

An SN cannot withhold a transaction for good, since its sender turns to another SN; nor forge one.
"""

import random
from typing import TYPE_CHECKING

from simulation.intruder import Intruder
from simulation.ledger import Answer, Sn
from simulation.moves import MOVES
from swarmlearning.ledger.contracts.network.watching import AHEAD_MS
from swarmlearning.ledger.transaction import SignedTransaction

if TYPE_CHECKING:
    from simulation.swarm import Swarm

SKEW_MS = 2_000
"""Milliseconds by which the clock of an honest SN differs at most: SNs date blocks by the median of their clocks."""
VOID_SECONDS = 60.0
"""Seconds within which an SN seals a void block, if it does."""
DATES = {"as they are": 0, "ahead": AHEAD_MS - SKEW_MS, "behind": -3_600_000}


class LyingSn(Sn):
    """Orders what it likes; what it reports comes from an `Intruder` of the same name."""

    honest = False

    def __init__(self, swarm: "Swarm", name: str, organisation: str, dice: random.Random) -> None:
        self._dates = dice.choice(list(DATES))
        super().__init__(swarm, name, DATES[self._dates], organisation)
        self._dice = dice
        self._orders = dice.choice((0.0, 0.5, 1.0, 1.0))
        if dice.random() < 0.2:
            swarm.clock.after(dice.uniform(0.0, VOID_SECONDS), self._seal_void)

    def take(self, entry: SignedTransaction, answer: Answer, until: float | None = None) -> None:
        """Orders a transaction, or never answers."""
        if self._dice.random() < self._orders:
            self.swarm.moves[f"SN: dates a block {self._dates}"] += 1
            super().take(entry, answer, until)
        else:
            self.swarm.moves["SN: orders nothing"] += 1

    def look(self, seconds: float = 0.01) -> None:
        """Concludes nothing from leases."""

    def _seal_void(self) -> None:
        self.swarm.moves["SN: seals a void block"] += 1
        self.swarm.seal_void(self)


def add_lying_sns(swarm: "Swarm", honest: tuple[str, ...], adversarial: tuple[str, ...], dice: random.Random) -> None:
    """Adds SNs to the adversarial organisations, and to so many honest ones that these stay the majority."""
    for sn in swarm.sns:
        sn.skew_ms = sn.skew_ms % (2 * SKEW_MS) - SKEW_MS
    alone = len(adversarial) == 1 and len(swarm.sns) > 2 and dice.random() < 0.5
    for organisation in () if alone else honest[: len(adversarial)]:
        sn = Sn(swarm, f"{organisation}-sn", dice.randint(-SKEW_MS, SKEW_MS), organisation)
        sn.register()
        swarm.sns.append(sn)
        sn.advance()
    for organisation in adversarial:
        for number in range(1, 2 if alone else dice.choice((2, 3))):
            _add(swarm, f"{organisation}-sn-{number}", organisation, dice)


def _add(swarm: "Swarm", uid: str, organisation: str, dice: random.Random) -> None:
    sn = LyingSn(swarm, uid, organisation, dice)
    sn.register()
    swarm.sns.append(sn)
    sn.advance()
    pace, seed = dice.choice((0.2, 1.0, 5.0)), dice.randrange(2**32)
    reporter = Intruder(swarm, uid, sn.paper, list(MOVES["watch"]), pace, "nothing", seed, sn.author)
    swarm.intruders[uid] = reporter
    reporter.arrive()
