"""The log of the `local` engine: one SQLite file."""

import asyncio
import os
import resource
import select
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import pytest_asyncio

from swarmlearning.ordering.local import LocalLog, open_chain_file, read_chain_file
from swarmlearning.ordering.protocols import EMPTY, ConflictError, Head, OrderingError

ENTRIES = [b"genesis", b"one", b"two"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chain.sqlite"


@pytest_asyncio.fixture
async def log(path: Path) -> AsyncIterator[LocalLog]:
    opened = LocalLog(path)
    yield opened
    opened.close()


async def append_all(log: LocalLog, entries: list[bytes]) -> Head:
    head = await log.head()
    for entry in entries:
        head = await log.append(head, entry)
    return head


async def test_a_log_returns_entries_in_order_and_its_head_names_the_last(log: LocalLog) -> None:
    assert await log.head() == EMPTY
    head = await append_all(log, ENTRIES)
    assert head == Head(2, sha256(b"two").hexdigest()) == await log.head()
    assert await log.read(0, 10) == ENTRIES
    assert await log.read(1, 1) == [b"one"]
    assert await log.read(3, 10) == []


@pytest.mark.parametrize(
    "expected",
    [EMPTY, Head(1, sha256(b"one").hexdigest()), Head(2, sha256(b"another").hexdigest()), Head(3, "")],
    ids=["empty", "behind", "another block", "ahead"],
)
async def test_an_append_to_another_head_is_a_conflict_and_changes_nothing(log: LocalLog, expected: Head) -> None:
    head = await append_all(log, ENTRIES)
    with pytest.raises(ConflictError, match=f"the head is 2 {head.hash[:12]}, not {expected.height}"):
        await log.append(expected, b"mine")
    assert await log.read(0, 10) == ENTRIES
    await log.append(head, b"three")


async def test_exactly_one_of_many_concurrent_appends_succeeds(log: LocalLog) -> None:
    outcomes = await asyncio.gather(*(log.append(EMPTY, b"%d" % n) for n in range(20)), return_exceptions=True)
    assert sum(isinstance(outcome, Head) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, ConflictError) for outcome in outcomes) == 19
    assert len(await log.read(0, 10)) == 1


async def test_two_logs_on_one_file_conflict_too(log: LocalLog, path: Path) -> None:
    other = LocalLog(path)
    await append_all(log, ENTRIES)
    with pytest.raises(ConflictError):
        await other.append(EMPTY, b"mine")
    assert await other.read(0, 10) == ENTRIES
    other.close()


async def test_a_log_continues_after_a_restart(path: Path) -> None:
    first = LocalLog(path)
    head = await append_all(first, ENTRIES)
    first.close()
    second = LocalLog(path)
    assert await second.head() == head
    await second.append(head, b"three")
    second.close()
    assert read_chain_file(path) == [*ENTRIES, b"three"]


class HeldCommits:
    """Commits of a log stop at `begun` until `go_on` is set, and then succeed or not."""

    def __init__(self, log: LocalLog, *, succeed: bool) -> None:
        self.begun, self.go_on = asyncio.Event(), threading.Event()
        self._succeed = succeed
        self._loop = asyncio.get_running_loop()
        log._connection.set_authorizer(self._authorize)

    def _authorize(self, action: int, operation: str | None, *_: object) -> int:
        if action == sqlite3.SQLITE_TRANSACTION and operation == "COMMIT":
            self._loop.call_soon_threadsafe(self.begun.set)
            assert self.go_on.wait(60)
            return sqlite3.SQLITE_OK if self._succeed else sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK


async def test_closing_a_log_waits_for_the_commit_in_progress(path: Path) -> None:
    log = LocalLog(path)
    commits = HeldCommits(log, succeed=True)
    appending = asyncio.create_task(log.append(EMPTY, b"genesis"))
    await commits.begun.wait()
    appending.cancel()
    closing = asyncio.create_task(asyncio.to_thread(log.close))
    commits.go_on.set()
    await closing
    assert read_chain_file(path) == [b"genesis"]


async def test_waiting_for_an_append_returns_with_the_next_entry_and_not_before(log: LocalLog) -> None:
    head = await append_all(log, ENTRIES)
    await log.wait_for_append(1)
    waiting = asyncio.create_task(log.wait_for_append(head.height))
    await log.head()  # a round trip in which it could have returned
    assert not waiting.done()
    await log.append(head, b"three")
    await waiting


async def test_waiting_for_an_append_knows_the_height_of_an_existing_file(path: Path) -> None:
    first = LocalLog(path)
    await append_all(first, ENTRIES)
    first.close()
    second = LocalLog(path)
    await second.wait_for_append(1)
    second.close()


async def test_a_reader_of_a_log_never_sees_a_block_before_its_commit(log: LocalLog, path: Path) -> None:
    """The commit is held, then it fails: nobody must have seen the block meanwhile."""
    commits = HeldCommits(log, succeed=False)
    appending = asyncio.create_task(log.append(EMPTY, b"genesis"))
    await commits.begun.wait()
    reading, head = asyncio.create_task(log.read(0, 10)), asyncio.create_task(log.head())
    assert read_chain_file(path) == []
    commits.go_on.set()
    with pytest.raises(OrderingError, match="cannot write block 0"):
        await appending
    assert await reading == []
    assert await head == EMPTY
    log._connection.set_authorizer(None)
    await log.append(EMPTY, b"genesis")


def test_commits_are_on_the_disk_before_they_are_acknowledged(path: Path) -> None:
    connection = open_chain_file(path)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: fsync of the WAL at each commit
    connection.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from swarmlearning.ordering.local import LocalLog

async def main():
    log = LocalLog(Path(sys.argv[1]))
    head = await log.head()
    while True:
        head = await log.append(head, b"block %d " % (head.height + 1) * 1000)
        print(head.height, flush=True)

asyncio.run(main())
"""


def test_an_acknowledged_entry_survives_kill_9(path: Path) -> None:
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            acknowledged = [int(_line(writer.stdout.fileno())) for _ in range(5)]
            os.kill(writer.pid, signal.SIGKILL)
        blocks = read_chain_file(path)
        assert len(blocks) > acknowledged[-1]
        assert blocks == [b"block %d " % height * 1000 for height in range(len(blocks))]


def _line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        assert select.select([descriptor], [], [], 60)[0], "the writer does not answer"
        byte = os.read(descriptor, 1)
        assert byte, "the writer has ended"
        line += byte
    return line


# --- a full disk ----------------------------------------------------------------------------------------------------


@contextmanager
def _file_limit(folder: Path) -> Iterator[Callable[[], None]]:
    """No file may grow beyond 200 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def make_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        yield make_room
    finally:
        make_room()


@contextmanager
def _small_disk(folder: Path) -> Iterator[Callable[[], None]]:
    """A file system of 1 MB, most of it taken by another file."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    other = folder / "other"
    other.write_bytes(bytes(700_000))
    try:
        yield other.unlink
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("fill", [_file_limit, _small_disk])
async def test_a_full_disk_is_one_clear_error_of_the_log_which_goes_on_later(
    fill: Callable[[Path], AbstractContextManager[Callable[[], None]]], tmp_path: Path
) -> None:
    with fill(tmp_path) as make_room:
        log = LocalLog(tmp_path / "chain.sqlite")
        head = await log.append(EMPTY, b"genesis")
        for _ in range(2):  # the second try neither succeeds nor finds a transaction left open
            with pytest.raises(OrderingError, match=r"chain\.sqlite: cannot write block 1 .*Make room") as raised:
                await log.append(head, bytes(600_000))
            assert not isinstance(raised.value, ConflictError)
        assert await log.head() == head
        assert await log.read(0, 10) == [b"genesis"]
        make_room()
        await log.append(head, bytes(600_000))
        log.close()
        assert read_chain_file(tmp_path / "chain.sqlite") == [b"genesis", bytes(600_000)]


# --- files that are not what they should be -------------------------------------------------------------------------


def damage(path: Path, change: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(change)
    connection.commit()
    connection.close()


async def test_the_size_of_a_log_has_all_that_is_committed_wherever_it_lies(path: Path) -> None:
    log = LocalLog(path)
    empty = log.size()
    await log.append(EMPTY, bytes(100_000))
    grown = log.size()
    log.close()
    assert grown >= 100_000 > empty
    assert grown == path.stat().st_size  # closing has moved all of it there
    again = LocalLog(path)
    assert again.size() == grown
    again.close()


async def test_a_log_names_a_damaged_block(path: Path) -> None:
    log = LocalLog(path)
    await append_all(log, ENTRIES)
    log.close()
    damage(path, "UPDATE blocks SET raw = x'00' WHERE height = 1")
    log = LocalLog(path)
    assert await log.read(0, 1) == [b"genesis"]
    with pytest.raises(OrderingError, match=r"block 1 has been altered since it was stored\. Stop this SN"):
        await log.read(0, 10)
    log.close()
    with pytest.raises(OrderingError, match="block 1 has been altered"):
        read_chain_file(path)


async def test_a_log_names_a_missing_block(path: Path) -> None:
    log = LocalLog(path)
    await append_all(log, ENTRIES)
    log.close()
    damage(path, "DELETE FROM blocks WHERE height = 1")
    log = LocalLog(path)
    with pytest.raises(OrderingError, match=r"block 1 is missing\. Stop this SN"):
        await log.read(0, 10)
    log.close()
    with pytest.raises(OrderingError, match="block 1 is missing"):
        read_chain_file(path)


def test_a_file_that_is_no_chain_is_refused(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"this is not a database, but it is long enough to be taken for one" * 100)
    with pytest.raises(OrderingError, match=r"chain\.sqlite: cannot open the chain file"):
        LocalLog(path)
    with pytest.raises(OrderingError, match=r"chain\.sqlite: the chain file cannot be read"):
        read_chain_file(path)
    with pytest.raises(OrderingError, match="no such chain file"):
        read_chain_file(tmp_path / "nothing")
    with pytest.raises(OrderingError, match="cannot open the chain file"):
        LocalLog(tmp_path / "no" / "such" / "folder")


def test_reading_a_log_offline_changes_nothing(path: Path) -> None:
    """The file of a running or killed SN, with its newest blocks still in the write-ahead log."""
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        height = int(_line(writer.stdout.fileno()))
        assert len(read_chain_file(path)) > height
        os.kill(writer.pid, signal.SIGKILL)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")}
    assert read_chain_file(path)
    after = {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")}
    assert before == after


async def test_an_entry_that_is_passed_over_is_gone_and_its_height_is_free(tmp_path: Path) -> None:
    log = LocalLog(tmp_path / "chain.sqlite")
    head = await log.append(EMPTY, b"genesis")
    await log.append(await log.append(head, b"junk"), b"more junk")
    await log.pass_over(1)
    assert (log.newest, await log.head()) == (head, head)
    await log.append(head, b"first")
    assert await log.read(0, 10) == [b"genesis", b"first"]
    log.close()
