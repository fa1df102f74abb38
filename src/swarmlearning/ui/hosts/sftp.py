"""Files to and from a machine over SSH. A host is not believed to answer: every wait has an end, and a transfer that
goes on has a lowest rate, so that nobody keeps a job for days by a byte a minute."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, cast

import asyncssh

from swarmlearning.ui.hosts.machine import MachineError, Received, Told, part_of
from swarmlearning.views.names import displayed

STALL_SECONDS: Final = 60.0
"""A transfer of which nothing arrives for so long is given up, and so is any other question."""
SLOWEST: Final = 64 * 1024
"""Bytes in a second of a transfer on average, beyond its first 60 seconds: half a megabit, less than any line that a
model could be trained over."""
_PIECE: Final = 2 * 2**20


class Pace:
    """The deadlines of a transfer that begins now."""

    def __init__(self, stall: float, slowest: int) -> None:
        self._now = asyncio.get_running_loop().time
        self._begun, self._stall, self._slowest = self._now(), stall, slowest

    def after(self, done: int) -> asyncio.Timeout:
        """For the next piece, where so many bytes have been transferred."""
        return asyncio.timeout_at(min(self._now(), self._begun + done / self._slowest) + self._stall)


class Sftp:
    """Transfers over one connection; `name` is that of the machine in messages. Methods as those of `Machine`."""

    def __init__(
        self, name: str, connection: asyncssh.SSHClientConnection, stall: float = STALL_SECONDS, slowest: int = SLOWEST
    ) -> None:
        self._name = name
        self._connection = connection
        self._stall, self._slowest = stall, slowest
        self._client: asyncssh.SFTPClient | None = None

    async def send(self, source: Path, target: str, mode: int, told: Told) -> None:
        """See `Machine`."""
        part = part_of(target)
        async with self._told_of(f"{target} cannot be written", target):
            async with asyncio.timeout(self._stall):
                files = await self._opened()
                begun = await files.getsize(part) or 0 if await files.isfile(part) else 0
                opening = files.open(part, "r+b" if begun else "wb")
            async with self._file(opening) as file:
                await self._write(file, source, begun, told)
            await self._place(part, target, mode)

    async def receive(self, source: str, target: Path, most: int, told: Received) -> None:
        """See `Machine`."""
        async with self._told_of(f"{source} cannot be read", source, mine=(asyncssh.Error,)):
            async with asyncio.timeout(self._stall):
                files = await self._opened()
                size = await files.getsize(source) or 0
            if size > most:
                raise MachineError(f"{self._name}: {source} has {size} bytes; {most} are the most")
            async with self._file(files.open(source, "rb")) as file:
                await self._read(file, target, size, told)

    async def put(self, data: bytes, target: str, mode: int) -> None:
        """See `Machine`."""
        part = part_of(target)
        async with self._told_of(f"{target} cannot be written", target):
            async with asyncio.timeout(self._stall):
                files = await self._opened()
                with suppress(asyncssh.SFTPNoSuchFile):
                    await files.remove(part)
            opening = files.open(part, "xb", asyncssh.SFTPAttrs(permissions=mode))
            async with self._file(opening) as file, Pace(self._stall, self._slowest).after(len(data)):
                await file.write(data)
            await self._place(part, target, mode)

    async def _opened(self) -> asyncssh.SFTPClient:
        if self._client is None:
            self._client = await self._connection.start_sftp_client()
        return self._client

    async def _place(self, part: str, target: str, mode: int) -> None:
        async with asyncio.timeout(self._stall):
            files = await self._opened()
            await files.chmod(part, mode)
            await files.posix_rename(part, target)

    @asynccontextmanager
    async def _file(self, opening: Awaitable[asyncssh.SFTPClientFile]) -> AsyncIterator[asyncssh.SFTPClientFile]:
        """An open file. After an error or a cancellation the host is asked for nothing more, so that this ends whatever
        the host does; it closes the file when the connection ends."""
        async with asyncio.timeout(self._stall):
            file = await opening
        yield file
        async with asyncio.timeout(self._stall):
            await file.close()

    @asynccontextmanager
    async def _told_of(
        self, what: str, path: str, mine: tuple[type[Exception], ...] = (OSError, asyncssh.Error)
    ) -> AsyncIterator[None]:
        """Tells of errors of these kinds, and of a host that is too slow, as `MachineError`."""
        try:
            yield
        except TimeoutError:
            raise MachineError(
                f"{self._name}: {path}: nothing has arrived for {self._stall:.0f} s, or less than "
                f"{self._slowest // 1024} KiB/s: look at the host and the line to it, and try again"
            ) from None
        except mine as error:
            raise MachineError(f"{self._name}: {what}: {said(error)}") from None

    async def _write(self, file: asyncssh.SFTPClientFile, source: Path, begun: int, told: Told) -> None:
        """Sends the file from `begun` on, piece by piece."""
        pace, done = Pace(self._stall, self._slowest), begun
        with await asyncio.to_thread(source.open, "rb") as read:
            read.seek(begun)
            told(done)
            while piece := await asyncio.to_thread(read.read, _PIECE):
                async with pace.after(done - begun):
                    await file.write(piece, done)
                done += len(piece)
                told(done)

    async def _read(self, file: asyncssh.SFTPClientFile, target: Path, size: int, told: Received) -> None:
        """Receives so many bytes, piece by piece."""
        pace, done = Pace(self._stall, self._slowest), 0
        with await asyncio.to_thread(target.open, "wb") as written:
            while done < size:
                async with pace.after(done):
                    piece = cast(bytes, await file.read(min(_PIECE, size - done), done))
                if not piece:
                    return
                await asyncio.to_thread(written.write, piece)
                done += len(piece)
                told(done, size)


def said(error: BaseException) -> str:
    """A few words on an error; what a server has said in it is cut."""
    return displayed(str(error) or type(error).__name__, 200)
