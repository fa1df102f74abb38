"""A host that answers slowly, or never, keeps nobody: each transfer ends, and ends at once when it is cancelled."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from swarmlearning.ui.hosts import ssh
from swarmlearning.ui.hosts.machine import MachineError
from swarmlearning.ui.hosts.sftp import Sftp
from swarmlearning.ui.hosts.ssh import SshMachine

STALL = 0.3
SIZE = 1_000_000
GUARD = 120.0
"""Seconds after which a test that hangs is given up."""


class Hostile(asyncssh.SFTPServer):
    """Answers whatever is not overridden as it should; `asked` is set once it has been asked for something else."""

    asked: asyncio.Event
    opened: list[Any]

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        self.opened.append(super().open(path, pflags, attrs))
        return self.opened[-1]

    async def never(self) -> None:
        self.asked.set()
        await asyncio.Event().wait()


class Trickling(Hostile):
    """Gives a byte where many were asked for."""

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        return b"x"


class Silent(Hostile):
    """Neither reads, nor writes, nor closes."""

    async def read(self, file_obj: object, offset: int, size: int) -> bytes:
        await self.never()
        return b""

    async def write(self, file_obj: object, offset: int, data: bytes) -> int:
        await self.never()
        return 0

    async def close(self, file_obj: object) -> None:
        await self.never()


class Unclosing(Hostile):
    """Does all but the last."""

    async def close(self, file_obj: object) -> None:
        await self.never()


class Deaf(asyncssh.SSHServer):
    """Lets anybody in, and then never opens a session."""

    def begin_auth(self, username: str) -> bool:
        return False

    def session_requested(self) -> Awaitable[bool]:
        return asyncio.get_running_loop().create_future()


class Open(asyncssh.SSHServer):
    """Lets anybody in."""

    def begin_auth(self, username: str) -> bool:
        return False


@asynccontextmanager
async def host(of: type[Hostile] | None, slowest: int = 1) -> AsyncIterator[tuple[Sftp, asyncio.Event]]:
    """Transfers with such a host, and the event of its being asked for what it does not do."""
    asked, opened = asyncio.Event(), list[Any]()

    def files(channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        assert of is not None
        made = of(channel)
        made.asked, made.opened = asked, opened
        return made

    async def command(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.stdout.write(b"4711\n")
        asked.set()
        await asyncio.Event().wait()

    key = asyncssh.generate_private_key("ssh-ed25519")
    kind: dict[str, Any] = {"sftp_factory": files, "process_factory": command, "encoding": None} if of else {}
    async with (
        asyncssh.create_server(Open if of else Deaf, "127.0.0.1", 0, server_host_keys=[key], **kind) as server,
        asyncssh.connect(
            "127.0.0.1",
            server.get_port(),
            known_hosts=None,
            config=None,
            username="x",
            client_keys=None,
            agent_path=None,
        ) as connection,
    ):
        yield Sftp("host", connection, STALL, slowest), asked
        connection.abort()
    for each in opened:
        each.close()


def sends(files: Sftp, folder: Path) -> Awaitable[None]:
    return files.send(folder / "here", str(folder / "there"), 0o600, lambda _: None)


def receives(files: Sftp, folder: Path) -> Awaitable[None]:
    return files.receive(str(folder / "here"), folder / "fetched", SIZE, lambda _done, _size: None)


def puts(files: Sftp, folder: Path) -> Awaitable[None]:
    return files.put(b"small", str(folder / "there"), 0o600)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "here").write_bytes(bytes(SIZE))
    return tmp_path


@pytest.mark.parametrize("of", [None, Silent, Unclosing])
@pytest.mark.parametrize("acts", [sends, receives, puts])
async def test_a_host_that_does_not_answer_is_given_up(
    of: type[Hostile] | None, acts: Callable[[Sftp, Path], Awaitable[None]], folder: Path
) -> None:
    async with asyncio.timeout(GUARD), host(of) as (files, _):
        with pytest.raises(MachineError, match=r"host: .*: nothing has arrived for 0 s"):
            await acts(files, folder)


@pytest.mark.parametrize("acts", [sends, receives, puts])
async def test_a_transfer_is_cancelled_at_once_whatever_the_host_does(
    acts: Callable[[Sftp, Path], Awaitable[None]], folder: Path
) -> None:
    async with asyncio.timeout(GUARD), host(Silent) as (files, asked):
        files._stall = GUARD * 10
        task = asyncio.ensure_future(acts(files, folder))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("of", [None, Silent])
async def test_a_command_that_a_host_does_not_end_is_given_up(
    of: type[Hostile] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one opens no session, the other says that it runs, and ends neither that nor what would end it."""
    monkeypatch.setattr(ssh, "KILL_SECONDS", STALL)
    async with asyncio.timeout(GUARD), host(of) as (files, asked):
        machine = SshMachine("host", files._connection)
        with pytest.raises(MachineError, match="not done after 0 s"):
            await machine.run("true", seconds=STALL)
        asked.clear()
        task = asyncio.create_task(machine.run("true"))
        await (asked.wait() if of else asyncio.sleep(0))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_host_that_gives_a_byte_at_a_time_is_given_up_by_its_rate(folder: Path) -> None:
    done: list[int] = []
    async with asyncio.timeout(GUARD), host(Trickling, slowest=10**9) as (files, _):
        with pytest.raises(MachineError, match=r"here: nothing has arrived for 0 s, or less than \d+ KiB/s"):
            await files.receive(str(folder / "here"), folder / "fetched", SIZE, lambda so_far, _: done.append(so_far))
