"""The description of a simulated swarm: its sites, its network, and how messages travel."""

from dataclasses import dataclass

from simulation.site import Plan
from swarmlearning.rounds.settings import QUIET_SECONDS

SLOW_SECONDS = 20.0
"""Seconds from which a training, a merge or a transfer counts as slow."""

SLOW_LATENCY = 0.5


@dataclass(frozen=True)
class Scenario:
    """A swarm. `latency` is a message's mean delay in seconds. The others are probabilities: that a message is lost,
    comes twice, or late by seconds, and that a process does something before its time (`haste`).

    `calm`: nothing is going to happen, and nobody begins without the others or leaves one behind. `prompt`: whoever
    works gets on, so no leader has to be deposed because it does not.
    """

    plans: tuple[Plan, ...]
    min_peers: int
    sns: int = 1
    latency: float = 0.1
    loss: float = 0.0
    doubling: float = 0.0
    lateness: float = 0.0
    haste: float = 0.0
    calm: bool = False
    prompt: bool = False

    @property
    def leaves_behind(self) -> bool:
        """True if some sites may begin, and even end, before others have joined, without any fault."""
        slow = self.latency >= SLOW_LATENCY and self.min_peers < len(self.plans)
        return slow or max(self.loss, self.lateness, self.haste) > 0


def is_deposed_at_work(plan: Plan, slowest: float) -> bool:
    """Returns whether others lose patience with this site as leader, though it is doubled already, before its merge
    ends, which they cannot see. `slowest`: the seconds that the slowest site needs to provide a model."""
    patience = min(QUIET_SECONDS, plan.settings.leader_failure_seconds)
    return plan.silent and slowest + plan.work >= 2 * patience


def traits(plan: Plan) -> list[str]:
    """Returns the lasting handicaps of a site, as the census counts them."""
    found = {
        "late joiner": plan.joins > 0,
        "slow link": plan.lag > 0,
        "slow disk": plan.work >= SLOW_SECONDS or plan.transfer >= SLOW_SECONDS,
        "silent merges": plan.silent,
        "slow training": plan.train >= SLOW_SECONDS,
    }
    return [trait for trait, there in found.items() if there]
