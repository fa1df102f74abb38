"""The short soak runs real processes; they end with the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes import Processes


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as running:
        yield running
