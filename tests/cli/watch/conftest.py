"""Identities of one network."""

from pathlib import Path

import pytest

from support.certs import make_workspace
from swarmlearning.identity.identity import Identity


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    folder: Path = tmp_path_factory.mktemp("cert")
    return make_workspace(folder, ["SN-1", "SL-1"])
