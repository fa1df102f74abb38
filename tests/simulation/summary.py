"""Plugin of pytest: reports at the end what was simulated, and how fast, in whichever processes."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

PROPERTY = "simulated"


@pytest.fixture
def simulated(record_property: Callable[[str, Any], None]) -> Callable[[Counter[str], float], None]:
    """Keeps the outcomes of a test's swarms and the CPU time that they took."""
    return lambda outcomes, cpu_seconds: record_property(PROPERTY, (dict(outcomes), cpu_seconds))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    outcomes: Counter[str] = Counter()
    cpu_seconds = 0.0
    for report in terminalreporter.stats.get("passed", []):
        found, seconds = dict(report.user_properties).get(PROPERTY, ({}, 0.0))
        outcomes += Counter(found)
        cpu_seconds += seconds
    if outcomes:
        terminalreporter.write_line(f"simulation: {summary(outcomes, cpu_seconds)}")


def summary(outcomes: Counter[str], cpu_seconds: float) -> str:
    """Returns how many swarms ended in which way, and how many were simulated a second."""
    ends = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    return f"{outcomes.total()} seeds, {outcomes.total() / cpu_seconds:.0f} a second of CPU time: {ends}"
