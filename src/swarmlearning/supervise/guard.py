"""The guard of a run: ends the processes that the launcher leaves behind, however it ends, SIGKILL included.

Runs as a script of its own (`python -I -S guard.py`), with the standard library only, in a session of its own. Standard
input is a pipe to it: `+N` announces process group N, `-N` that nothing of it is left. When the last writer
is gone (end of file), every group still listed gets SIGTERM, and SIGKILL once its leader is gone, after
`GRACE_SECONDS` at the latest.

Each process announces itself, before it becomes the program it is started for (`announced`): so there is no moment at
which a process runs that the guard does not know of.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

GRACE_SECONDS = 3.0

# The pipe to the guard is standard input only until the exec: afterwards the launcher alone holds it open.
_ANNOUNCE = 'echo "+$$" >&0 && exec "$@" </dev/null'


def announced(command: Sequence[str]) -> list[str]:
    """`command`, announcing itself first on standard input, which has to be the write end of the guard's pipe.

    It has to be started in a process group of its own.
    """
    return ["/bin/sh", "-c", _ANNOUNCE, "sh", *command]


def main() -> None:
    """Listens until the pipe ends, then ends the groups that are left."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        change, group = line[0], int(line[1:])
        (groups.add if change == "+" else groups.discard)(group)
    end(groups)


def end(groups: Iterable[int]) -> None:
    """Sends SIGTERM to all, then SIGKILL to whatever of them is left when the leaders are gone or the grace is over."""
    groups = list(groups)
    leaders = _open_leaders(groups)
    _signal(groups, signal.SIGTERM)
    _wait(leaders)
    _signal(groups, signal.SIGKILL)


def _open_leaders(groups: Iterable[int]) -> list[int]:
    """A descriptor for each group's leader that still runs; it becomes readable when the process ends (Linux)."""
    descriptors = []
    if sys.platform == "linux":
        for group in groups:
            with suppress(OSError):
                descriptors.append(os.pidfd_open(group))
    return descriptors


def _wait(leaders: Iterable[int]) -> None:
    if sys.platform != "linux":
        time.sleep(GRACE_SECONDS)
    deadline = time.monotonic() + GRACE_SECONDS
    poll = select.poll()
    for descriptor in leaders:
        poll.register(descriptor, select.POLLIN)
    waiting = set(leaders)
    while waiting and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            poll.unregister(descriptor)
            waiting.discard(descriptor)


def _signal(groups: Iterable[int], number: signal.Signals) -> None:
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


if __name__ == "__main__":
    main()
