"""A machine over SSH: its key is checked before a secret goes there, and everything has a time limit.

Nothing of the user's own settings is read (`~/.ssh`, an agent): who logs in is what was given, and nothing else.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, cast

import asyncssh

from swarmlearning.errors import first_cause
from swarmlearning.ui.hosts.addresses import Address
from swarmlearning.ui.hosts.hostkeys import ChangedHostKey, HostKey, HostKeys, UnknownHostKey, read_host_key
from swarmlearning.ui.hosts.logins import Login, LoginError
from swarmlearning.ui.hosts.machine import (
    MOST_OUTPUT,
    RUN_SECONDS,
    MachineError,
    Ran,
    Received,
    Told,
    part_of,
    shell_command,
    shell_input,
)
from swarmlearning.ui.hosts.output import Output, Stream, Tail, TooMuch
from swarmlearning.views.names import displayed

LOOK_SECONDS: Final = 15.0
LOGIN_SECONDS: Final = 30.0
STALL_SECONDS: Final = 60.0
"""A sending of which no piece arrives for so long is given up."""
_KEEPALIVE: Final = {"keepalive_interval": 15, "keepalive_count_max": 4}
_PIECE: Final = 2 * 2**20
_KILL: Final = 'kill -TERM "-$1" 2>/dev/null; sleep 1; kill -KILL "-$1" 2>/dev/null; true'


class Unreachable(MachineError):
    """A host with which no SSH connection comes about."""


async def look(address: Address, seconds: float = LOOK_SECONDS) -> HostKey:
    """The key that a host's SSH server shows; nothing is sent to it. Raises `Unreachable`."""
    _quiet()
    try:
        async with asyncio.timeout(seconds):
            found = await asyncssh.get_server_host_key(address.host, address.port, config=None)
    except TimeoutError:
        raise Unreachable(f"{address}: no SSH server has answered within {seconds:.0f} s; {HINT}") from None
    except (OSError, asyncssh.Error) as error:
        raise Unreachable(f"{address}: no SSH connection: {_said(error)}; {HINT}") from None
    if found is None:
        raise Unreachable(f"{address}: its SSH server shows no key")
    return read_host_key(found.export_public_key("openssh").decode())


HINT: Final = "is the address right, does sshd run there, and does a firewall let you through?"


@asynccontextmanager
async def connected(address: Address, login: Login, keys: HostKeys) -> AsyncIterator["SshMachine"]:
    """The machine while the connection is open.

    Raises `UnknownHostKey` or `ChangedHostKey` before anything of the login is sent, `LoginError` for a login that the
    host refuses or that cannot be used, and `Unreachable`.
    """
    pinned = await keys.pinned(address)
    if pinned is None:
        raise UnknownHostKey(address, await look(address))
    connection = await _connect(address, login, pinned)
    try:
        yield SshMachine(str(address), connection)
    finally:
        connection.close()
        with suppress(TimeoutError, OSError, asyncssh.Error):
            async with asyncio.timeout(3):
                await connection.wait_closed()
        connection.abort()


async def _connect(address: Address, login: Login, pinned: HostKey) -> asyncssh.SSHClientConnection:
    _quiet()
    key = await asyncio.to_thread(_private_key, login) if login.key else None  # bcrypt takes as long as the key says
    try:
        async with asyncio.timeout(LOGIN_SECONDS):
            return await asyncssh.connect(
                address.host,
                address.port,
                config=None,
                known_hosts=([asyncssh.import_public_key(pinned.line)], [], []),
                username=login.user,
                password=login.password.reveal() if login.password else None,
                client_keys=[key] if key else None,
                agent_path=None,
                gss_host=None,
                gss_kex=False,
                gss_auth=False,
                host_based_auth=False,
                login_timeout=LOGIN_SECONDS,
                **_KEEPALIVE,
            )
    except asyncssh.PermissionDenied:
        with_what = "private key" if key else "password"
        raise LoginError(
            f"{address} does not let {login.user} in with this {with_what}: check both, and what its sshd permits "
            f"({'PubkeyAuthentication, authorized_keys' if key else 'PasswordAuthentication'})"
        ) from None
    except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed):
        shown = await look(address)
        if shown == pinned:
            raise Unreachable(f"{address}: its SSH server agrees on no method with us; is it very old?") from None
        raise ChangedHostKey(address, pinned, shown) from None
    except TimeoutError:
        raise Unreachable(f"{address}: no login within {LOGIN_SECONDS:.0f} s; {HINT}") from None
    except (OSError, asyncssh.Error) as error:
        raise Unreachable(f"{address}: no SSH connection: {_said(error)}; {HINT}") from None


class SshMachine:
    """See `Machine`."""

    def __init__(self, name: str, connection: asyncssh.SSHClientConnection) -> None:
        self.name = name
        self._connection = connection
        self._files: asyncssh.SFTPClient | None = None

    async def run(
        self, script: str, *words: str, seconds: float = RUN_SECONDS, most: int = MOST_OUTPUT, secret: str = ""
    ) -> Ran:
        """See `Machine`."""
        output, errors = Output(most), Tail()
        done = False
        try:
            async with asyncio.timeout(seconds):
                status = await self._run(shell_command(words), shell_input(script, secret), output, errors)
            done = True
        except TimeoutError:
            raise MachineError(f"{self.name}: a command was not done after {seconds:.0f} s, and was ended") from None
        except TooMuch:
            raise MachineError(f"{self.name}: a command has written more than {most} bytes, and was ended") from None
        except (OSError, asyncssh.Error) as error:
            raise MachineError(f"{self.name}: the connection was lost: {_said(error)}") from None
        finally:
            if not done and output.process is not None:
                await asyncio.shield(self._kill(output.process))
        return Ran(status, output.rest, errors.text)

    async def _run(self, command: str, given: bytes, output: Output, errors: Tail) -> int:
        process = await self._connection.create_process(command, encoding=None)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(output.read(cast(Stream, process.stdout)))
                group.create_task(errors.read(cast(Stream, process.stderr)))
                process.stdin.write(given)
                with suppress(ConnectionError, asyncssh.Error):  # it has ended before it has read all
                    await process.stdin.drain()
                process.stdin.write_eof()
                await process.wait_closed()
        except ExceptionGroup as group:
            raise first_cause(group) from None
        finally:
            process.close()
        return process.returncode if process.returncode is not None else -1

    async def _kill(self, process: int) -> None:
        """Ends a command there: closing its channel would leave it running."""
        with suppress(TimeoutError, OSError, asyncssh.Error):
            async with asyncio.timeout(10):
                await self._run(shell_command((str(process),)), shell_input(_KILL), Output(1000), Tail())

    async def send(self, source: Path, target: str, mode: int, told: Told) -> None:
        """See `Machine`."""
        part = part_of(target)
        try:
            files = await self._sftp()
            async with asyncio.timeout(STALL_SECONDS):
                begun = await files.getsize(part) or 0 if await files.isfile(part) else 0
                file = await files.open(part, "r+b" if begun else "wb")
            async with file:
                await _write(file, source, begun, told)
            await self._place(part, target, mode)
        except TimeoutError:
            raise MachineError(f"{self.name}: {target}: nothing has arrived for {STALL_SECONDS:.0f} s") from None
        except (OSError, asyncssh.Error) as error:
            raise MachineError(f"{self.name}: {target} cannot be written: {_said(error)}") from None

    async def receive(self, source: str, target: Path, most: int, told: Received) -> None:
        """See `Machine`."""
        try:
            async with asyncio.timeout(STALL_SECONDS):
                files = await self._sftp()
                size = await files.getsize(source) or 0
                file = await files.open(source, "rb")
            if size > most:
                raise MachineError(f"{self.name}: {source} has {size} bytes; {most} are the most")
            async with file:
                await _read(file, target, size, told)
        except TimeoutError:
            raise MachineError(f"{self.name}: {source}: nothing has arrived for {STALL_SECONDS:.0f} s") from None
        except asyncssh.Error as error:
            raise MachineError(f"{self.name}: {source} cannot be read: {_said(error)}") from None

    async def put(self, data: bytes, target: str, mode: int) -> None:
        """See `Machine`."""
        part = part_of(target)
        try:
            async with asyncio.timeout(STALL_SECONDS):
                files = await self._sftp()
                with suppress(asyncssh.SFTPNoSuchFile):
                    await files.remove(part)
                attributes = asyncssh.SFTPAttrs(permissions=mode)
                async with files.open(part, "xb", attributes) as file:
                    await file.write(data)
            await self._place(part, target, mode)
        except TimeoutError:
            raise MachineError(f"{self.name}: {target}: nothing has arrived for {STALL_SECONDS:.0f} s") from None
        except (OSError, asyncssh.Error) as error:
            raise MachineError(f"{self.name}: {target} cannot be written: {_said(error)}") from None

    async def _place(self, part: str, target: str, mode: int) -> None:
        async with asyncio.timeout(STALL_SECONDS):
            files = await self._sftp()
            await files.chmod(part, mode)
            await files.posix_rename(part, target)

    async def _sftp(self) -> asyncssh.SFTPClient:
        if self._files is None:
            self._files = await self._connection.start_sftp_client()
        return self._files


async def _write(file: asyncssh.SFTPClientFile, source: Path, begun: int, told: Told) -> None:
    """Sends the file from `begun` on, piece by piece."""
    with await asyncio.to_thread(source.open, "rb") as read:
        read.seek(begun)
        told(begun)
        while piece := await asyncio.to_thread(read.read, _PIECE):
            async with asyncio.timeout(STALL_SECONDS):
                await file.write(piece, begun)
            begun += len(piece)
            told(begun)


async def _read(file: asyncssh.SFTPClientFile, target: Path, size: int, told: Received) -> None:
    """Receives so many bytes, piece by piece."""
    done = 0
    with await asyncio.to_thread(target.open, "wb") as written:
        while done < size:
            async with asyncio.timeout(STALL_SECONDS):
                piece = cast(bytes, await file.read(min(_PIECE, size - done), done))
            if not piece:
                return
            await asyncio.to_thread(written.write, piece)
            done += len(piece)
            told(done, size)


def _private_key(login: Login) -> asyncssh.SSHKey:
    """The login's key. Raises `LoginError`, which does not show it."""
    try:
        return asyncssh.import_private_key(login.key.reveal(), login.passphrase.reveal() or None)
    except asyncssh.KeyEncryptionError:
        raise LoginError(f"the passphrase does not decrypt the private key of {login.user}") from None
    except (asyncssh.KeyImportError, ValueError):
        wants = "" if login.passphrase else ", or it is encrypted: then give its passphrase too"
        raise LoginError(f"the private key of {login.user} is none in OpenSSH's or PEM form{wants}") from None


def _quiet() -> None:
    """The library tells of every connection and command otherwise."""
    logging.getLogger("asyncssh").setLevel(logging.WARNING)


def _said(error: BaseException) -> str:
    """A few words on an error; what a server has said in it is cut."""
    return displayed(str(error) or type(error).__name__, 200)
