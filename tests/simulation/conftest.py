"""Says at the end what was simulated, and how fast."""

from collections.abc import Iterator

import pytest

from simulation.__main__ import Findings

FOUND = pytest.StashKey[list[Findings]]()


@pytest.fixture(scope="session")
def simulated(pytestconfig: pytest.Config) -> Iterator[list[Findings]]:
    """What every test has found."""
    found: list[Findings] = []
    yield found
    pytestconfig.stash[FOUND] = found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if found := config.stash.get(FOUND, []):
        first, *others = found
        terminalreporter.write_line(f"simulation: {sum(others, first)}")
