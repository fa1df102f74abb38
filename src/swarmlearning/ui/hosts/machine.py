"""A machine on which commands run and to which files go: over SSH, or this one."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from swarmlearning.errors import UserError
from swarmlearning.redaction import redacted
from swarmlearning.views.names import displayed

RUN_SECONDS: Final = 60.0
MOST_OUTPUT: Final = 256 * 1024
"""Bytes of a command's output."""
MOST_ERRORS: Final = 16 * 1024
"""Bytes of what a command writes to standard error."""

Told = Callable[[int], None]
"""Gets the bytes that have been sent so far."""


Received = Callable[[int, int], None]
"""Gets the bytes that have been received so far, of so many."""


class MachineError(UserError):
    """Something on a machine that did not work; the message names the machine."""


class Ran(NamedTuple):
    """A command that has ended: its exit status (negative: by a signal), its output, and the end of its errors."""

    status: int
    output: bytes
    errors: str

    @property
    def text(self) -> str:
        """Its output as text."""
        return self.output.decode(errors="replace")


class Machine(Protocol):
    """What is done on a machine. Each method has a time limit, and leaves nothing running when it is cancelled."""

    @property
    def name(self) -> str:
        """How messages call it."""

    async def run(
        self, script: str, *words: str, seconds: float = RUN_SECONDS, most: int = MOST_OUTPUT, secret: str = ""
    ) -> Ran:
        """Runs a script of POSIX sh with these words as $1 and so on; its standard input is `secret`, which is in no
        list of processes. Raises `MachineError` where that takes longer, or its output is more than `most` bytes."""

    async def send(self, source: Path, target: str, mode: int, told: Told) -> None:
        """Sends a file; `target` is an absolute path whose folder exists. What an interrupted sending has left is gone
        on from, so the caller checks the content. The file appears whole or not at all. Raises `MachineError`."""

    async def receive(self, source: str, target: Path, most: int, told: Received) -> None:
        """Fetches a file of at most `most` bytes into the file `target` here. Raises `MachineError`, and `OSError` for
        what happens here."""

    async def put(self, data: bytes, target: str, mode: int) -> None:
        """Writes a small file, whole or not at all. Raises `MachineError`."""


def shell_command(words: tuple[str, ...]) -> str:
    """The command line, for any login shell, of a shell that reads its script from standard input."""
    return " ".join(("exec sh -s --", *(shlex.quote(word) for word in words)))


def shell_input(script: str, secret: str = "") -> bytes:
    """What that shell reads: the script, which is read to its end before it begins, and says its process first.

    `secret` reaches the script's standard input; as a here-document with a quoted end it is taken as it is.
    """
    end = "END_OF_INPUT"
    while end in secret:
        end += "_"
    given = f"<<'{end}'\n{secret}\n{end}\n" if secret else "</dev/null\n"
    head = 'echo "$$"\nLC_ALL=C; export LC_ALL\nPATH=$PATH:/usr/sbin:/sbin; export PATH\n'
    return f'{head}main() {{\n{script}\n}}\nmain "$@" {given}'.encode()


def checked(machine: Machine, ran: Ran, what: str) -> Ran:
    """The command if it has ended with 0. Raises `MachineError` with the end of what it has said, without secrets."""
    if ran.status == 0:
        return ran
    said = redacted(ran.errors.strip() or ran.text.strip())
    lines = [displayed(line.strip(), 300) for line in said.splitlines() if line.strip()][-8:]
    raise MachineError(
        f"{machine.name}: {what} has failed (exit status {ran.status}): {' | '.join(lines) or 'no message'}"
    )


def part_of(target: str) -> str:
    """Where a file lies while it is sent."""
    return f"{target}.part"
