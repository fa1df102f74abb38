import os
from collections.abc import Iterator

import pytest


@pytest.fixture
def private() -> Iterator[None]:
    """New files are their owner's alone, as systemd's unit of a SWOP demands it."""
    before = os.umask(0o077)
    yield
    os.umask(before)
