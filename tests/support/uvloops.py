"""For the conftest of a room whose tests run on uvloop, as the nodes do, and need certificates of one CA."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.certs import make_workspace
from swarmlearning.identity.identity import Identity
from swarmlearning.transport.loop import Loop, new_event_loop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Loop]]:
    """The hook of pytest-asyncio by which it gets its event loops."""
    return {"uvloop": new_event_loop}


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the certificates of `identities` and their CA."""
    return tmp_path_factory.mktemp("identities")


def identities_of(*nodes: str) -> Any:
    """Returns a fixture, to be called `identities`: the identities of these nodes by name, of the CA in `workspace`."""

    @pytest.fixture(scope="session", name="identities")
    def identities(workspace: Path) -> dict[str, Identity]:
        return make_workspace(workspace, nodes)

    return identities
