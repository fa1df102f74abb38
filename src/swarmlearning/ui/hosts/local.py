"""This machine itself: what runs on it as on any other, without SSH."""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from swarmlearning.errors import first_cause
from swarmlearning.files import replace_file
from swarmlearning.ui.hosts.machine import (
    MOST_OUTPUT,
    RUN_SECONDS,
    MachineError,
    Ran,
    Received,
    Told,
    part_of,
    shell_input,
)
from swarmlearning.ui.hosts.output import Output, Tail, TooMuch

_PIECE: Final = 4 * 2**20
_GRACE_SECONDS: Final = 3.0
_INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TMPDIR", "XDG_RUNTIME_DIR")
"""As an SSH server sets them: nodes must not get the UI's own variables, which have its identity and its secrets."""


class LocalMachine:
    """See `Machine`. Commands run as the user of this process."""

    name = "this machine"

    async def run(
        self, script: str, *words: str, seconds: float = RUN_SECONDS, most: int = MOST_OUTPUT, secret: str = ""
    ) -> Ran:
        """See `Machine`."""
        process = await asyncio.create_subprocess_exec(
            *("sh", "-s", "--", *words),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
            env={name: os.environ[name] for name in _INHERITED if name in os.environ},
        )
        output, errors = Output(most), Tail()
        try:
            async with asyncio.timeout(seconds):
                await _through(process, shell_input(script, secret), output, errors)
        except TimeoutError:
            raise MachineError(f"{self.name}: a command was not done after {seconds:.0f} s, and was ended") from None
        except TooMuch:
            raise MachineError(f"{self.name}: a command has written more than {most} bytes, and was ended") from None
        finally:
            await asyncio.shield(_end(process))
        return Ran(process.returncode or 0, output.rest, errors.text)

    async def send(self, source: Path, target: str, mode: int, told: Told) -> None:
        """See `Machine`."""
        try:
            for sent in _copied(source, Path(part_of(target)), mode):
                told(sent)
                await asyncio.sleep(0)  # others of this loop may go on, and this can be cancelled
            await asyncio.to_thread(Path(part_of(target)).replace, target)
        except OSError as error:
            raise MachineError(f"{self.name}: {target}: {error.strerror}") from error

    async def receive(self, source: str, target: Path, most: int, told: Received) -> None:
        """See `Machine`."""
        try:
            size = (await asyncio.to_thread(Path(source).stat)).st_size
        except OSError as error:
            raise MachineError(f"{self.name}: {source}: {error.strerror}") from error
        if size > most:
            raise MachineError(f"{self.name}: {source} has {size} bytes; {most} are the most")
        for done in _copied(Path(source), target, 0o600):
            told(done, size)
            await asyncio.sleep(0)

    async def put(self, data: bytes, target: str, mode: int) -> None:
        """See `Machine`."""
        try:
            await asyncio.to_thread(replace_file, Path(target), data, mode)
        except OSError as error:
            raise MachineError(f"{self.name}: {target}: {error.strerror}") from error


def _copied(source: Path, target: Path, mode: int) -> Iterator[int]:
    """Copies a file piece by piece; yields the bytes so far."""
    with source.open("rb") as read, target.open("wb") as write:
        while piece := read.read(_PIECE):
            write.write(piece)
            yield write.tell()
    target.chmod(mode)


async def _through(process: Process, given: bytes, output: Output, errors: Tail) -> None:
    """Gives a command its input, reads what it writes, and waits for its end. Raises `TooMuch`."""
    assert process.stdin
    assert process.stdout
    assert process.stderr
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(output.read(process.stdout))
            group.create_task(errors.read(process.stderr))
            process.stdin.write(given)
            with suppress(ConnectionError):  # it has ended before it has read all
                await process.stdin.drain()
            process.stdin.close()
            await process.wait()
    except ExceptionGroup as group_error:
        raise first_cause(group_error) from None


async def _end(process: Process) -> None:
    """Ends what is left of a command's process group, and reads what it has left in its pipes, which closes them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            break
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await process.wait()
    assert process.stdout
    assert process.stderr
    with suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_SECONDS):
            for stream in (process.stdout, process.stderr):
                while await stream.read(_PIECE):
                    pass
