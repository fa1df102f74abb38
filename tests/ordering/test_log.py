"""The log on etcd where the chain file is filled from another side too: while the engine is changed."""

from pathlib import Path
from typing import cast

from swarmlearning.ordering.etcd.gateway import Gateway, KeyValue
from swarmlearning.ordering.etcd.log import EtcdLog
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
