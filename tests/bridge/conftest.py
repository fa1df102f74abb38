"""The folders of a bridge, and clients that leave when a test ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bridging import Stand


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    yield made
    for client in made.clients:
        client.leave()
