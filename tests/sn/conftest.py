"""The nodes run on uvloop, so their tests do."""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
import uvloop

from support.certs import make_workspace
from support.local_sn import Member, member, running_sn
from swarmlearning.identity.identity import Identity


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], uvloop.Loop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the certificates of `identities` and their CA."""
    return tmp_path_factory.mktemp("identities")


@pytest.fixture(scope="session")
def identities(workspace: Path) -> dict[str, Identity]:
    return make_workspace(workspace, ["SN-1", "SL-1", "SL-2"])


@pytest_asyncio.fixture
async def sn(tmp_path: Path, identities: dict[str, Identity]) -> AsyncIterator[dict[str, str]]:
    async with running_sn(tmp_path / "sn", identities["SN-1"]) as facts:
        yield facts


@pytest_asyncio.fixture
async def sl(sn: dict[str, str], identities: dict[str, Identity]) -> AsyncIterator[Member]:
    """A registered SL."""
    async with member(sn["api"], identities["SL-1"]) as made:
        await made.register()
        yield made
