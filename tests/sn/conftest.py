"""Tests on uvloop, the identities of nodes, an SN and a registered SL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from support.local_sn import Member, member, running_sn
from support.uvloops import identities_of, pytest_asyncio_loop_factories, workspace
from swarmlearning.identity.identity import Identity

__all__ = ["pytest_asyncio_loop_factories", "workspace"]

identities = identities_of("SN-1", "SL-1", "SL-2", "SWCI-1")


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
