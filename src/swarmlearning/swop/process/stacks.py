"""The stacks of scripts that make no progress: they write them themselves, when they are sent a signal."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

STACKS_VARIABLE: Final = "SWARM_STACKS_SIGNAL"
"""Tells our client library the signal upon which it writes the stacks; see `client/environment.py`."""
STACKS_SIGNAL: Final = signal.SIGRTMIN + 6
_CAUGHT: Final = "SigCgt:"


def show_stacks(mark: str) -> bool:
    """Has the processes that have `mark` in their environment write their stacks; False where none of them can.

    A process that does not handle the signal, such as one with another client library, is left alone: it would end.
    """
    sent = False
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0") and _handles(folder):
                os.kill(int(folder.name), STACKS_SIGNAL)
                sent = True
    return sent


def _handles(folder: Path) -> bool:
    lines = (folder / "status").read_text().splitlines()
    caught = next((int(line.removeprefix(_CAUGHT), 16) for line in lines if line.startswith(_CAUGHT)), 0)
    return bool(caught >> (STACKS_SIGNAL - 1) & 1)
