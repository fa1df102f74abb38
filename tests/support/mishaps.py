"""Random trainings with mishaps, all from one seed: who takes part and how, and what happens to them meanwhile.

Every mishap heals: who is cut off is heard again, an ML process that died is started again, a fetch that failed works
the next time, and of each model that is dropped somebody else has a copy. So every such training must end.
"""

import random
from functools import partial
from typing import Literal, get_args

from support.roundsim import Plan, Site, Swarm

Kind = Literal["ml-dies", "restart", "cut", "drop", "fetch"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FREQUENCY = 0.03
"""Mishaps a step."""


class Mishaps:
    """At most `count` mishaps of these kinds happen to a swarm, once training has begun."""

    def __init__(self, swarm: Swarm, seed: int, kinds: tuple[Kind, ...] = KINDS, count: int = 6) -> None:
        self._swarm = swarm
        self._random = random.Random(seed)
        self._kinds = kinds
        self._left = count
        self._failing = 0
        swarm.mishap = self._perhaps
        swarm.unreachable = self._unreachable

    def _perhaps(self) -> None:
        if self._left and self._swarm.state.round and self._random.random() < FREQUENCY:
            self._left -= 1
            self._happen(self._random.choice(list(self._swarm.sites.values())), self._random.choice(self._kinds))

    def _happen(self, site: Site, kind: Kind) -> None:
        swarm, uid = self._swarm, site.uid
        match kind:
            case "ml-dies":
                swarm.lose_ml(uid)
                swarm.timers.append(lambda: swarm.start_ml(uid))
            case "restart" if site.life:
                swarm.restart(uid)
            case "cut":
                swarm.cut(uid)
                swarm.timers.append(lambda: swarm.heal(uid))
            case "drop":
                others = [other.store for other in swarm.sites.values() if other is not site]
                copied = [digest for digest in sorted(site.store) if any(digest in store for store in others)]
                merged = [digest for digest in copied if digest not in swarm.made_from]
                if merged:
                    swarm.drop(uid, self._random.choice(merged))
            case "fetch":
                self._failing += 3

    def _unreachable(self, reader: str, holder: str, digest: str) -> bool:
        fails = self._failing > 0 and self._random.random() < 0.5
        self._failing -= fails
        return fails


def random_swarm(seed: int) -> Swarm:
    """Two to five sites with plans of their own, some of them latecomers; `sl-1` may always lead."""
    dice = random.Random(seed)
    count = dice.choice((2, 3, 3, 4, 5))
    plans = {f"sl-{index}": _random_plan(dice) for index in range(2, count + 1)}
    min_peers = dice.randint(max(1, count - 2), count)
    swarm = Swarm({"sl-1": Plan(), **plans}, min_peers, seed, haste=dice.choice((0.0, 0.02, 0.2)))
    for index, uid in enumerate(swarm.sites):
        pile = swarm.timers if index >= min_peers and dice.random() < 0.3 else swarm.bag
        pile.append(partial(swarm.start, uid))
    return swarm


def _random_plan(dice: random.Random) -> Plan:
    return Plan(
        rounds=dice.randint(1, 3),
        checkin=dice.choice(("snapshot", "active", "inactive")),
        adaptive=dice.random() < 0.4,
        weightage=dice.choice((1, 1, 5)),
        may_lead=dice.random() < 0.8,
    )
