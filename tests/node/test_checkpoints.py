"""The checkpoint of a data directory: written while the chain grows, whole whatever ends the process."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from support.network import Ledger
from swarmlearning.ledger.bodies import Announce
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.checkpoint import encode
from swarmlearning.ledger.contracts import network
from swarmlearning.node.checkpoints import EVERY, Checkpoints

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    made = Ledger()
    made.join("sl-1")
    return made


class Growing:
    """A chain that a test lets grow."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._grown = asyncio.Condition()
        self.awaited = asyncio.Queue[int]()
        self.chain = ledger.chain

    async def grow(self, blocks: int) -> None:
        for _ in range(blocks):
            self._ledger.send("sl-1", Announce({"fs": "here:1"}), network.CONTRACT)
        async with self._grown:
            self.chain = self._ledger.chain
            self._grown.notify_all()

    async def reached(self, height: int) -> Chain:
        self.awaited.put_nowait(height)
        async with self._grown:
            await self._grown.wait_for(lambda: self.chain.height >= height)
        return self.chain


async def stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_a_checkpoint_is_read_again_at_the_next_start(tmp_path: Path, ledger: Ledger) -> None:
    Checkpoints(tmp_path).write(ledger.chain)
    found = Checkpoints(tmp_path).read(ledger.chain.network_id)
    assert found is not None
    assert encode(found) == encode(ledger.chain)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[: len(data) // 2], lambda data: b""])
def test_a_truncated_checkpoint_counts_as_none(
    tmp_path: Path, ledger: Ledger, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(ledger.chain)
    checkpoints.path.write_bytes(damage(checkpoints.path.read_bytes()))
    assert checkpoints.read(ledger.chain.network_id) is None
    assert "replayed from block 0" in caplog.text


def test_a_checkpoint_of_another_network_is_not_used(
    tmp_path: Path, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    Checkpoints(tmp_path).write(Ledger().chain)
    assert Checkpoints(tmp_path).read(ledger.chain.network_id) is None
    assert "another network" in caplog.text


def test_a_checkpoint_that_cannot_be_read_counts_as_none(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "checkpoint").mkdir()
    assert Checkpoints(tmp_path).read(ledger.chain.network_id) is None


def test_a_node_goes_on_when_its_disk_refuses_a_checkpoint(
    tmp_path: Path, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "checkpoint").mkdir()
    Checkpoints(tmp_path).write(ledger.chain)
    assert "cannot be written" in caplog.text


def test_no_checkpoint_is_written_at_a_void_slot_or_before_block_0(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.void()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(ledger.chain)
    checkpoints.write(Chain())
    assert not checkpoints.path.exists()


async def test_a_checkpoint_is_written_every_so_many_blocks_and_when_the_node_stops(tmp_path: Path) -> None:
    ledger = Ledger()
    ledger.join("sl-1")
    growing = Growing(ledger)
    checkpoints = Checkpoints(tmp_path)
    keeping = asyncio.create_task(checkpoints.keep(growing))
    await growing.awaited.get()
    await growing.grow(EVERY)
    async with asyncio.timeout(60):
        assert await growing.awaited.get() == growing.chain.height + EVERY
    found = Checkpoints(tmp_path).read(growing.chain.network_id)
    assert found is not None
    assert found.height == growing.chain.height
    await growing.grow(2)
    await stop(keeping)
    found = Checkpoints(tmp_path).read(growing.chain.network_id)
    assert found is not None
    assert found.height == growing.chain.height


async def test_a_discarded_checkpoint_is_not_written_again_when_the_node_stops(tmp_path: Path, ledger: Ledger) -> None:
    growing, checkpoints = Growing(ledger), Checkpoints(tmp_path)
    checkpoints.write(ledger.chain)
    keeping = asyncio.create_task(checkpoints.keep(growing))
    await asyncio.sleep(0)
    checkpoints.discard()
    await growing.grow(1)
    await stop(keeping)
    assert not checkpoints.path.exists()


WRITING_FOR_EVER = """
import sys
from pathlib import Path
from swarmlearning.ledger.checkpoint import decode
from swarmlearning.node.checkpoints import Checkpoints
checkpoints = Checkpoints(Path(sys.argv[1]))
chain = decode(checkpoints.path.read_bytes())
for number in range(10**9):
    checkpoints.write(chain)
    if number == 20:
        print("writing", flush=True)
"""


@pytest.mark.parametrize("attempt", range(3))
def test_a_process_killed_while_it_writes_leaves_a_whole_checkpoint(
    tmp_path: Path, ledger: Ledger, attempt: int
) -> None:
    Checkpoints(tmp_path).write(ledger.chain)
    command = [sys.executable, "-c", WRITING_FOR_EVER, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    found = Checkpoints(tmp_path).read(ledger.chain.network_id)
    assert found is not None
    assert encode(found) == encode(ledger.chain)
