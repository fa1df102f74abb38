"""Tests on uvloop, and the identities of nodes."""

from pathlib import Path

import pytest

from support.certs import make_workspace
from support.uvloops import pytest_asyncio_loop_factories, workspace
from swarmlearning.identity.identity import Identity

__all__ = ["pytest_asyncio_loop_factories", "workspace"]


@pytest.fixture(scope="session")
def identities(workspace: Path) -> dict[str, Identity]:
    """SN-1 has the subject of the SN that founds a `Ledger`."""
    made = make_workspace(workspace, ["SN-sn-1", "SL-1", "SL-2"])
    return {**made, "SN-1": made["SN-sn-1"]}
