"""What an operator should see now: one list for `swarm status`, monitors, metrics and the doctor. Pure.

A threshold is a constant, with its reason, in the module whose alerts it is for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from swarmlearning.views.alerts.alert import Alert, Facts, Heard, Ordering, Severity
from swarmlearning.views.alerts.checks import check_alerts
from swarmlearning.views.alerts.nodes import node_alerts
from swarmlearning.views.alerts.ordering import ordering_alerts
from swarmlearning.views.alerts.rounds import round_alerts
from swarmlearning.views.alerts.survival import survival_alerts

__all__ = ["Alert", "Facts", "Heard", "Ordering", "Severity", "Standing", "alerts", "worst"]

RANK: Final[Mapping[str, int]] = {"critical": 0, "warning": 1, "info": 2}


def alerts(facts: Facts) -> list[Alert]:
    """All alerts that follow from these facts, the worst first."""
    of_trainings = (*round_alerts(facts), *check_alerts(facts))
    found = [*ordering_alerts(facts), *of_trainings, *node_alerts(facts), *survival_alerts(facts)]
    return sorted(found, key=lambda each: RANK[each.severity])


def worst(found: Iterable[Alert]) -> Severity:
    """The severity of the worst of them; `info` without any."""
    return min((each.severity for each in found), key=lambda severity: RANK[severity], default="info")


class Standing:
    """Remembers since when each alert has stood that does not say it itself."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], int] = {}

    def dated(self, found: Sequence[Alert], now_ms: int) -> list[Alert]:
        """The same alerts with the time at which each was first in such a list, and in all since."""
        self._since = {
            (each.code, each.subject): self._since.get((each.code, each.subject), now_ms)
            if each.since_ms is None
            else each.since_ms
            for each in found
        }
        return [each.since(self._since[each.code, each.subject]) for each in found]
