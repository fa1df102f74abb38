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
    shell_command,
    shell_input,
)
from swarmlearning.ui.hosts.output import Output, Stream, Tail, TooMuch
from swarmlearning.ui.hosts.sftp import Sftp, said
from swarmlearning.ui.hosts.sshkeys import private_key

LOOK_SECONDS: Final = 15.0
LOGIN_SECONDS: Final = 30.0
KILL_SECONDS: Final = 10.0
"""In which a host ends a command that is given up; it is not waited for any longer."""
_KEX: Final = "-diffie-hellman-*"
"""Keys are agreed on by elliptic curves alone, as every OpenSSH since 2011 does: in the others the host, whoever it is,
may choose numbers with which the event loop is at work for a second, and again as often as it likes."""
_KEEPALIVE: Final = {"keepalive_interval": 15, "keepalive_count_max": 4}
_KILL: Final = 'kill -TERM "-$1" 2>/dev/null; sleep 1; kill -KILL "-$1" 2>/dev/null; true'


class Unreachable(MachineError):
    """A host with which no SSH connection comes about."""


async def look(address: Address, seconds: float = LOOK_SECONDS) -> HostKey:
    """The key that a host's SSH server shows; nothing is sent to it. Raises `Unreachable`."""
    _quiet()
    try:
        async with asyncio.timeout(seconds):
            found = await asyncssh.get_server_host_key(address.host, address.port, config=None, kex_algs=_KEX)
    except TimeoutError:
        raise Unreachable(f"{address}: no SSH server has answered within {seconds:.0f} s; {HINT}") from None
    except (OSError, asyncssh.Error) as error:
        raise Unreachable(f"{address}: no SSH connection: {said(error)}; {HINT}") from None
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
    key = await private_key(login) if login.key else None
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
                kex_algs=_KEX,
                compression_algs=None,  # of what a host compresses, any amount could come
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
        raise Unreachable(f"{address}: no SSH connection: {said(error)}; {HINT}") from None


class SshMachine:
    """See `Machine`."""

    def __init__(self, name: str, connection: asyncssh.SSHClientConnection) -> None:
        self.name = name
        self._connection = connection
        self._files = Sftp(name, connection)

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
            raise MachineError(f"{self.name}: the connection was lost: {said(error)}") from None
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
            async with asyncio.timeout(KILL_SECONDS):
                await self._run(shell_command((str(process),)), shell_input(_KILL), Output(1000), Tail())

    async def send(self, source: Path, target: str, mode: int, told: Told) -> None:
        """See `Machine`."""
        await self._files.send(source, target, mode, told)

    async def receive(self, source: str, target: Path, most: int, told: Received) -> None:
        """See `Machine`."""
        await self._files.receive(source, target, most, told)

    async def put(self, data: bytes, target: str, mode: int) -> None:
        """See `Machine`."""
        await self._files.put(data, target, mode)


def _quiet() -> None:
    """The library tells of every connection and command otherwise."""
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
