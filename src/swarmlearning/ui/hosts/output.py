"""What a command writes, read within bounds, and which process it is."""

from typing import Final, Protocol

from swarmlearning.ui.hosts.machine import MOST_ERRORS

_PIECE: Final = 64 * 1024
_LONGEST_PID: Final = 16


class Stream(Protocol):
    """The end of a pipe or channel."""

    async def read(self, n: int, /) -> bytes:
        """At most `n` bytes; none at the end."""


class TooMuch(Exception):
    """A command that writes more than it may."""


class Output:
    """The output of a script that says its process first, `machine.shell_input`; at most `most` bytes beside that."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._data = bytearray()

    async def read(self, stream: Stream) -> None:
        """Reads to the end. Raises `TooMuch`."""
        while piece := await stream.read(_PIECE):
            self._data += piece
            if len(self._data) > self._most + _LONGEST_PID:
                raise TooMuch

    @property
    def process(self) -> int | None:
        """The process of the script, which leads a process group of this number; None before it has said so."""
        line, end, _ = bytes(self._data[:_LONGEST_PID]).partition(b"\n")
        return int(line) if end and line.isdigit() and int(line) > 1 else None

    @property
    def rest(self) -> bytes:
        """What the script itself has written."""
        return bytes(self._data).partition(b"\n")[2]


class Tail:
    """The end of what a command writes to standard error."""

    def __init__(self) -> None:
        self._data = b""

    async def read(self, stream: Stream) -> None:
        """Reads to the end, and keeps the last bytes."""
        while piece := await stream.read(_PIECE):
            self._data = (self._data + piece)[-MOST_ERRORS:]

    @property
    def text(self) -> str:
        """As text."""
        return self._data.decode(errors="replace")
