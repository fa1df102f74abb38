"""An SN without a vote: its chain file is filled from two sides, by what it reads and by what it has ordered."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import cast

import pytest

from support.network import Ledger
from swarmlearning.api.client import SnClient
from swarmlearning.ordering.local import LocalLog
from swarmlearning.ordering.protocols import EMPTY, OrderingError
from swarmlearning.sn.remote import RemoteLog


class Voter:
    """Orders whatever it is asked to; shows its blocks once `shown` is set."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.asked = asyncio.Event()
        self.shown = asyncio.Event()

    async def append(self, height: int, block_hash: str, entry: bytes) -> tuple[int, str]:
        self.entries.append(entry)
        return height + 1, sha256(entry).hexdigest()

    async def blocks(self, start: int) -> AsyncIterator[bytes]:
        self.asked.set()
        await self.shown.wait()
        for entry in self.entries[start:]:
            yield entry
        await asyncio.Event().wait()


async def test_a_stream_behind_what_this_sn_has_ordered_itself_stores_nothing_twice(tmp_path: Path) -> None:
    file, voter = LocalLog(tmp_path / "chain.sqlite"), Voter()
    log = RemoteLog(file, lambda: [cast(SnClient, voter)])
    copying = asyncio.create_task(log.run())
    await voter.asked.wait()
    head = EMPTY
    for entry in (b"first", b"second"):
        head = await log.append(head, entry)
    voter.entries.append(b"third")
    voter.shown.set()
    await file.wait_for_append(head.height)
    assert await file.read(0, 10) == [b"first", b"second", b"third"]
    copying.cancel()
    await asyncio.gather(copying, return_exceptions=True)
    file.close()


class Liar(Voter):
    """Reports this head, whatever it is to order."""

    address = "liar:1"

    def __init__(self, height: int, block_hash: str) -> None:
        super().__init__()
        self._head = height, block_hash

    async def append(self, height: int, block_hash: str, entry: bytes) -> tuple[int, str]:
        return self._head


@pytest.mark.parametrize("head", [(0, "0" * 64), (2**53, sha256(b"entry").hexdigest()), (-1, "")])
async def test_a_head_that_is_not_the_block_to_order_is_not_believed(head: tuple[int, str], tmp_path: Path) -> None:
    file, liar, voter = LocalLog(tmp_path / "chain.sqlite"), Liar(*head), Voter()
    with pytest.raises(OrderingError, match="liar:1 reports another head"):
        await RemoteLog(file, lambda: [cast(SnClient, liar)]).append(EMPTY, b"entry")
    assert await file.head() == EMPTY
    found = await RemoteLog(file, lambda: [cast(SnClient, liar), cast(SnClient, voter)]).append(EMPTY, b"entry")
    assert found == await file.head() == (0, sha256(b"entry").hexdigest())
    file.close()


async def test_blocks_of_another_chain_are_not_stored(tmp_path: Path) -> None:
    file, ours, fork = LocalLog(tmp_path / "chain.sqlite"), Voter(), Voter()
    ledger = Ledger()
    await file.append(EMPTY, ledger.blocks[0])
    fork.entries = [*Ledger().blocks, Ledger().seal()]
    ours.entries = [*ledger.blocks, ledger.seal()]
    fork.shown.set()
    ours.shown.set()
    log = RemoteLog(file, lambda: [cast(SnClient, fork), cast(SnClient, ours)])
    copying = asyncio.create_task(log.run())
    await file.wait_for_append(0)
    assert await file.read(0, 10) == ours.entries
    copying.cancel()
    await asyncio.gather(copying, return_exceptions=True)
    file.close()
