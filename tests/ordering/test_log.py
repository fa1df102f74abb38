"""The log on etcd beside the chain file: while the engine is changed, and after a founding that was cut short."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import msgspec

from swarmlearning.ordering.etcd.gateway import Gateway, KeyValue, value_is
from swarmlearning.ordering.etcd.log import HEAD_KEY, EtcdLog
from swarmlearning.ordering.local import LocalLog
from swarmlearning.ordering.protocols import EMPTY


async def no_archive(start: int, limit: int) -> list[bytes]:
    raise AssertionError(f"block {start} should be in etcd")


class Meanwhile:
    """A gateway to an etcd with two blocks; before it answers, the first is stored in the chain file."""

    def __init__(self, file: LocalLog) -> None:
        self._file = file

    async def range(self, start: bytes, end: bytes | None, limit: int) -> list[KeyValue]:
        await self._file.append(EMPTY, b"first")
        return [KeyValue(b"/block/%016d" % height, entry, 0) for height, entry in enumerate((b"first", b"second"))]


async def test_a_block_that_another_engine_stores_while_it_is_read_is_no_fault(tmp_path: Path) -> None:
    file = LocalLog(tmp_path / "chain.sqlite")
    log = EtcdLog(cast(Gateway, Meanwhile(file)), file, no_archive)
    assert await log.read(0, 10) == [b"first"]
    assert await file.read(0, 10) == [b"first"]
    file.close()


class Headless:
    """A gateway to an etcd without a head, as one that was founded and killed before it had one."""

    def __init__(self) -> None:
        self.written: asyncio.Future[list[dict[str, Any]]] = asyncio.get_running_loop().create_future()

    async def watch(self, start: bytes, end: bytes) -> AsyncIterator[list[KeyValue]]:
        yield []
        await asyncio.Event().wait()

    async def get(self, key: bytes) -> None:
        return None

    async def transact(self, compare: list[dict[str, Any]], then: list[dict[str, Any]]) -> bool:
        assert compare == [value_is(HEAD_KEY, None)]
        self.written.set_result(then)
        return True


async def test_a_cluster_that_was_founded_and_has_no_head_gets_that_of_the_chain_file(tmp_path: Path) -> None:
    file, gateway = LocalLog(tmp_path / "chain.sqlite"), Headless()
    head = await file.append(EMPTY, b"first")
    watching = asyncio.create_task(EtcdLog(cast(Gateway, gateway), file, no_archive).run())
    async with asyncio.timeout(60):
        (written,) = await gateway.written
    assert msgspec.json.decode(b64decode(written["requestPut"]["value"])) == {"height": 0, "hash": head.hash}
    watching.cancel()
    await asyncio.wait((watching,))
    file.close()
