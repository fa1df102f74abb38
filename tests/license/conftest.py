"""Certificates of nodes and license servers, by one authority."""

import pytest

from support.certs import make_workspace
from swarmlearning.identity.identity import Identity

NAMES = ("SN-1", "SL-1", "SL-2", "SWCI-1", "SWOP-1", "LICENSE-1", "LICENSE-2", "OBSERVER-1")


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    return make_workspace(tmp_path_factory.mktemp("cert"), NAMES)
