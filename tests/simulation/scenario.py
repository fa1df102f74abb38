"""The description of a simulated swarm: its sites, its network, and how messages travel."""

from dataclasses import dataclass

from simulation.site import Plan

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


def is_deposed_at_work(plan: Plan) -> bool:
    """Returns whether others lose patience with this site as leader before its merge, which they cannot see, ends."""
    return plan.silent and plan.work > plan.settings.leader_failure_seconds


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
