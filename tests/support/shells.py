"""SWCI as a real process whose standard input a test types into, line by line."""

import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from support.processes import COMMAND
from support.swarm import SECONDS

END = "# end"
"""A comment after each line: once it is shown, the line has been carried out."""


class Shell:
    """Runs the script `swci-init` of its user directory, then what a test types. Use as a context manager."""

    def __init__(self, options: Mapping[str, str | Path], within: Sequence[str] = ()) -> None:
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen(
            [*within, *COMMAND, "swci", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self._unread = b""
        self.transcript = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        if error is not None:
            print(f"\n===== SWCI =====\n{self.transcript}")

    def does(self, line: str) -> str:
        """What SWCI shows for this line; nothing of it is an error."""
        self.begin(line)
        return self.finish()

    def begin(self, line: str) -> None:
        """Types a line, and does not wait for what it shows."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n{END}\n".encode())

    def until(self, text: str) -> None:
        """Waits until what the line that was begun shows has this text."""
        while text not in (line := self._line()):
            assert line.rpartition("> ")[2].rstrip() not in ("", END), self.transcript

    def finish(self) -> str:
        """What SWCI shows for the line that was begun; nothing of it is an error."""
        shown = ""
        while not (line := self._line()).rstrip().endswith(f"> {END}"):
            assert line, f"SWCI has ended\n{self.transcript}"
            shown += line
        assert "ERROR" not in shown, self.transcript
        return shown.partition("\n")[2]

    def leave(self) -> int:
        """Types EXIT; the exit status of SWCI."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"EXIT\n")
        while self._line():
            pass
        return self._process.wait(SECONDS)

    def _line(self) -> str:
        """The next line of its output; empty at its end."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + SECONDS
        while b"\n" not in self._unread:
            left = max(0.0, deadline - time.monotonic())
            assert select.select([self._process.stdout], [], [], left)[0], f"SWCI says no more\n{self.transcript}"
            if not (part := self._process.stdout.read(65536)):
                break
            self._unread += part
        raw, newline, self._unread = self._unread.partition(b"\n")
        line = (raw + newline).decode()
        self.transcript += line
        return line
