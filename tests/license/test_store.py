"""The file of leases: what was answered is there after any crash, and a file that cannot be used is named."""

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from support.licensedesk import rights_for
from swarmlearning.license.features import Feature, LicenseError
from swarmlearning.license.leases import Holder, Key, Lease
from swarmlearning.license.office import Office
from swarmlearning.license.store import LeaseStore

CAPACITY = 3
KILLS = 3
SEED = 15

LENDING = """
import asyncio, json, random, sys
from pathlib import Path
from support.licensedesk import rights_for
from swarmlearning.license.features import Feature
from swarmlearning.license.leases import Holder
from swarmlearning.license.office import Office, RefusalError
from swarmlearning.license.store import LeaseStore

async def lend(path, seed):
    rights = rights_for({Feature.SL: int(sys.argv[3])})
    office = Office(LeaseStore(Path(path)), lambda: rights, 3600)
    choice = random.Random(seed)
    while True:
        uid, act = str(choice.randrange(8)), choice.choice(["acquire", "release"])
        try:
            await getattr(office, act)(Feature.SL, Holder("x", "", uid))
        except RefusalError:
            continue
        print(json.dumps([act, uid]), flush=True)

asyncio.run(lend(sys.argv[1], int(sys.argv[2])))
"""


def test_what_was_answered_is_there_after_kill_9_at_any_moment(tmp_path: Path) -> None:
    path, choice = tmp_path / "leases.sqlite", random.Random(SEED)
    held = set[str]()
    for number in range(KILLS):
        reader, writer = os.pipe()
        command = [sys.executable, "-c", LENDING, str(path), str(number), str(CAPACITY)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(command, stdout=writer, env=environment)
        os.close(writer)
        with os.fdopen(reader) as answers:
            for _ in range(choice.randrange(1, 40)):
                _apply(held, answers.readline())
            process.send_signal(signal.SIGKILL)
            for line in answers.read().splitlines(keepends=True):
                _apply(held, line)
        process.wait()
        stored = _holding(path)
        assert len(stored ^ held) <= 1, "the one request that was not answered may have been done or not"
        assert len(stored) <= CAPACITY
        held = stored


def _apply(held: set[str], line: str) -> None:
    if line.endswith("\n"):  # else it was cut by the kill
        act, uid = json.loads(line)
        (held.add if act == "acquire" else held.discard)(uid)


def _holding(path: Path) -> set[str]:
    store = LeaseStore(path)
    try:
        return {lease.uid for lease in store.load() if not lease.released}
    finally:
        store.close()


async def test_leases_are_read_as_they_were_written(tmp_path: Path) -> None:
    store = LeaseStore(tmp_path / "leases.sqlite")
    kept = Lease(Feature.SL, "x", "CN=SL-1", "a", 1, 2, 3, released=True)
    gone = Lease(Feature.SN, "x", "CN=SN-1", "b", 1, 2, 3)
    await store.save([kept, gone])
    await store.save([], [gone.key])
    store.close()
    again = LeaseStore(tmp_path / "leases.sqlite")
    assert again.load() == [kept]
    again.close()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "leases.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(LicenseError, match=r"leases\.sqlite: cannot open the file of leases \(file is not a database"):
        LeaseStore(path)
    path.unlink()
    store = LeaseStore(path)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO leases VALUES (7, 'x', '', 'a', 1, 2, 3, 0)")
    connection.close()
    with pytest.raises(LicenseError, match=r"leases\.sqlite: the file of leases cannot be read"):
        store.load()
    store.close()


async def test_a_full_disk_lends_nothing_and_what_follows_is_lent_once_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "leases.sqlite"
    store = LeaseStore(path)
    rights = rights_for({Feature.SL: 2})
    office = Office(store, lambda: rights, 3600)
    blocked = sqlite3.connect(path, isolation_level=None)
    blocked.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LicenseError, match="cannot write"):
        await office.acquire(Feature.SL, Holder("x", "", "a"))
    blocked.execute("ROLLBACK")
    blocked.close()
    assert (await office.acquire(Feature.SL, Holder("x", "", "a"))).seconds == 3600
    store.close()
    assert _holding(path) == {"a"}


async def test_a_disk_that_refuses_does_not_end_the_server(caplog: pytest.LogCaptureFixture) -> None:
    class Full(LeaseStore):
        def __init__(self) -> None:
            self.tried = asyncio.Event()

        def load(self) -> list[Lease]:
            return [Lease(Feature.SL, "x", "", "a", 1, 2, 3)]

        async def save(self, changed: Iterable[Lease], forgotten: Iterable[Key] = ()) -> None:
            self.tried.set()
            raise LicenseError("the disk is full")

    store = Full()
    rights = rights_for({Feature.SL: 1})
    sweeping = asyncio.create_task(Office(store, lambda: rights).sweep())
    await store.tried.wait()
    await asyncio.sleep(0)  # the turn in which it meets the error
    assert caplog.messages == ["the disk is full"]
    assert not sweeping.done()
    sweeping.cancel()
