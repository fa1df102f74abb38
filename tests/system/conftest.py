"""Every test of this folder runs real processes; they end with it."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from support.processes import Processes
from support.sns import Network
from support.swarm import Gate, Swarm

LINES = 40
"""So much of each log is shown with a failed test: the end, where nodes report what they wait for."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test's report contains what its nodes have logged: the machine it ran on may be gone."""
    report = yield
    running = getattr(item, "funcargs", {}).get("processes")
    if report.when == "call" and report.failed and isinstance(running, Processes):
        for process in sorted(running.started, key=lambda process: not process.has_failed):  # reports may be cut off
            report.sections.append((f"log of {process.name}", "\n".join(process.output.splitlines()[-LINES:])))
    return report


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as running:
        yield running


@pytest.fixture
def swarm(processes: Processes, tmp_path: Path) -> Swarm:
    return Swarm(processes, tmp_path)


@pytest.fixture
def net(processes: Processes, tmp_path: Path) -> Iterator[Network]:
    made = Network(processes, tmp_path)
    yield made
    made.kill_sns()  # etcd members that all stop in good order at once take seconds


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path / "gate")
    yield made
    made.close()
