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
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the certificates of `identities` and their CA."""
    return tmp_path_factory.mktemp("identities")


@pytest.fixture(scope="session")
def identities(workspace: Path) -> dict[str, Identity]:
    """SN-1 has the subject of the SN that founds a `Ledger`."""
    made = make_workspace(workspace, ["SN-sn-1", "SL-1", "SL-2"])
    return {**made, "SN-1": made["SN-sn-1"]}
