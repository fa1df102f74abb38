"""The hosts of a story, and the names of its checks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from operate.report import HELD, MISSED
from operate.story import Check
from support.namespaces import Namespaces
from support.processes import Processes
from support.sns import Network


@pytest.fixture
def check(record_property: Callable[[str, object], None]) -> Check:
    @contextmanager
    def checking(sentence: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            record_property(MISSED, sentence)
            raise
        record_property(HELD, sentence)

    return checking


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
