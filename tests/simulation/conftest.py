"""Says at the end how fast the simulation was."""

from collections import Counter
from collections.abc import Iterator

import pytest

TIMES = pytest.StashKey[Counter[str]]()


@pytest.fixture(scope="session")
def seeds_per_second(pytestconfig: pytest.Config) -> Iterator[Counter[str]]:
    """Counts seeds and milliseconds of CPU time."""
    times: Counter[str] = Counter()
    yield times
    pytestconfig.stash[TIMES] = times


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    times = config.stash.get(TIMES, Counter())
    if times["seeds"]:
        rate = 1000 * times["seeds"] / max(1, times["cpu_ms"])
        terminalreporter.write_line(f"simulation: {times['seeds']} seeds, {rate:.0f} a second of CPU time")
