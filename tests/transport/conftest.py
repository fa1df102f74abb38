"""The nodes run on uvloop, so their tests do."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from support.certs import make_workspace
from swarmlearning.identity.identity import Identity


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], uvloop.Loop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    return make_workspace(Path(tmp_path_factory.mktemp("identities")), ["SN-1", "SL-1", "SL-2"])
