"""Terminals at which tests type the commands that a document shows."""

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

OWN_NETWORK: Final = ("unshare", "--net")
READY: Final = (
    r"Network swarm \(\w+\), height \d+\n|Waiting for the ML process|NODE UID :|Waiting for the office|SLM-UI : http"
)
"""What nodes print once they work, and `swarm join` once it waits."""
DONE: Final = r"DONE=(\d+)\n"
SECONDS: Final = 300.0


class Answer(NamedTuple):
    """What a command has printed, and its exit status (0 for one that goes on in the background)."""

    status: int
    output: str


class Terminal:
    """An interactive shell in a folder of its own, whose programs find those of this environment."""

    def __init__(
        self, folder: Path, home: Path, enter: Sequence[str] = OWN_NETWORK, commands: Path | None = None
    ) -> None:
        """`enter`: the words of a command that runs another one elsewhere, such as in a network of its own;
        `commands`: a folder of programs that are found before all others."""
        folder.mkdir()
        first = [str(commands)] if commands else []
        path = os.pathsep.join([*first, str(Path(sys.executable).parent), os.environ["PATH"]])
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SWARM_", "SL_", "SN_"))}
        self._shell = subprocess.Popen(
            [*enter, "bash", "--norc"],
            cwd=folder,
            env={**kept, "PATH": path, "HOME": str(home), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
        self.pid = self._shell.pid

    def type(self, line: str, says: str = "") -> Answer:
        """Types a command, which reads what a person `says`, and waits for its end; where it is in the background,
        until a node has joined the network, or waits."""
        if line.endswith("&"):
            return Answer(0, self._until(line, READY))
        output = self._until(f"{{ {line}\n}} <<< '{says}'\necho DONE=$?", DONE)
        done = re.findall(DONE, output)[-1]  # what runs in the background may have printed more behind it
        return Answer(int(done), output)

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, 15)
        self._shell.communicate(timeout=SECONDS)

    def _until(self, line: str, pattern: str) -> str:
        assert self._shell.stdin
        assert self._shell.stdout
        self._shell.stdin.write(f"{line}\n".encode())
        self._shell.stdin.flush()
        deadline, output = time.monotonic() + SECONDS, b""
        while not re.search(pattern, output.decode(errors="replace")):
            left = max(0.0, deadline - time.monotonic())
            assert select.select([self._shell.stdout], [], [], left)[0], f"{line}\n{output.decode(errors='replace')}"
            part = os.read(self._shell.stdout.fileno(), 65536)
            assert part, f"the shell has ended\n{output.decode(errors='replace')}"
            output += part
        return output.decode(errors="replace")


def beside(process: int) -> Sequence[str]:
    """Enters the network of this process."""
    return ("nsenter", "--net", "--target", str(process))
