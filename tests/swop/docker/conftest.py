"""An engine for all tests of a worker, and SWOPs on it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.containers import Podman, busybox_tree, podman
from support.tools import lacks
from swop.docker.stand import IMAGE, SL_SCRIPT, Stand


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """Has an image in which a shell script stands for the SL."""
    if reason := lacks("podman"):
        pytest.skip(reason)
    tree = busybox_tree(tmp_path_factory.mktemp("image"))
    (tree / "bin" / "swarm").write_text(SL_SCRIPT)
    (tree / "bin" / "swarm").chmod(0o755)
    with podman() as made:
        made.import_tree(tree, IMAGE)
        yield made


@pytest.fixture
async def stand(engine: Podman, tmp_path: Path) -> AsyncIterator[Stand]:
    async with Stand(engine, tmp_path).at_work() as made:
        yield made
