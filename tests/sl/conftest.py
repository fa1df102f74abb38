"""The nodes run on uvloop, so their tests do."""

import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import uvloop

from support.certs import make_workspace
from swarmlearning.identity.identity import Identity


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], uvloop.Loop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    return make_workspace(Path(tmp_path_factory.mktemp("identities")), ["SL-1", "SL-2", "SL-3"])


@pytest.fixture
def largest_file() -> Callable[[int], AbstractContextManager[None]]:
    """Makes the kernel refuse to let a file grow beyond so many bytes, as on a full disk."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
