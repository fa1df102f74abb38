"""Every test of this folder runs real processes; they end with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes import Processes
from support.sns import Network
from support.swarm import Gate, Swarm


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
