"""The hosts of a story."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.namespaces import Namespaces
from support.processes import Processes
from support.sns import Network


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    """SNs on this host."""
    with Processes(tmp_path) as processes:
        made = Network(processes, tmp_path)
        yield made
        made.kill_sns()


@pytest.fixture
def far_net(tmp_path: Path) -> Iterator[Network]:
    """SNs on three hosts, each with a network of its own."""
    with Namespaces(3) as hosts, Processes(tmp_path) as processes:
        made = Network(processes, tmp_path, hosts)
        yield made
        made.kill_sns()
