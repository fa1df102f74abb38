"""A real SN of three organisations, on uvloop as nodes are."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from security.consortium import Consortium
from support.processes import Processes
from support.uvloops import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]


@pytest.fixture
def consortium(tmp_path: Path) -> Iterator[Consortium]:
    with Processes(tmp_path) as processes:
        yield Consortium(processes, tmp_path)
