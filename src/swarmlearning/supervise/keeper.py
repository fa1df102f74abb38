"""Runs a command for a node, and ends everything that it has started when it ends, or when the node does (SIGKILL too).

Runs as a script of its own (`python -I -S keeper.py FD COMMAND …`), with the standard library only. FD is one end of a
socket; the node holds the other one, so it ends when the node does.

On Linux the keeper is the *subreaper* of what it starts: processes that leave their parent, group and session
(wrappers, launchers of ranks, daemons) become its children, so none can get away. Elsewhere only the command ends.

Its exit status is the command's. When the command cannot be started, it writes the error number to the socket.
"""

import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
CANNOT_START = 127
MOST_REAPED = 1000
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals to the process group, which the command gets too: the keeper waits for what it makes of them."""


def main(descriptor: int, command: list[str]) -> None:
    """Runs the command to its end. Does not return."""
    for number in FORWARDED:
        signal.signal(number, signal.SIG_IGN)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    become_subreaper()
    try:
        process = subprocess.Popen(command, preexec_fn=_prepare)
    except OSError as error:
        os.write(descriptor, str(error.errno).encode())
        os._exit(CANNOT_START)
    while process.poll() is None:
        readable, _, _ = select.select([descriptor, woken], [], [])
        if descriptor in readable:
            break  # the node has ended
        os.read(woken, 4096)
        reap_others(process.pid)
    end_descendants()
    _exit_as(process.returncode)


def _prepare() -> None:
    """In the new process, before it becomes the command."""
    for number in FORWARDED:
        signal.signal(number, signal.SIG_DFL)
    _control(_PR_SET_PDEATHSIG, signal.SIGKILL)  # should the keeper itself be killed


def become_subreaper() -> None:
    """From now on this process is the parent of whatever its descendants leave behind (Linux)."""
    _control(_PR_SET_CHILD_SUBREAPER, 1)


def _control(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def reap_others(command: int) -> None:
    """Reaps processes that were left to the keeper and have ended; only so many, as they may come without end."""
    with suppress(ChildProcessError):
        for _ in range(MOST_REAPED):
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == command:
                return
            os.waitpid(ended.si_pid, 0)


def end_descendants() -> None:
    """Kills until none is left: what one of them forks meanwhile becomes the keeper's.

    A process that forks and ends at once is there for an instant only: so nothing slow happens between looking for the
    keeper's children, which all of them become in turn, and killing them.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)  # where it may: before those that fork without end
    children = _Children()
    while found := children.now():
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


class _Children:
    """The children of this process, which has one thread."""

    def __init__(self) -> None:
        try:
            self._file: int | None = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = None  # a kernel without them, or no Linux

    def now(self) -> Collection[int]:
        """Their numbers, ended ones that were not waited for included; without the kernel's list, all descendants'."""
        if self._file is None:
            return _descendants()
        found = b""
        while piece := os.pread(self._file, 65536, len(found)):
            found += piece
        return [int(pid) for pid in found.split()]


def _descendants() -> set[int]:
    """The processes below this one; none where the system does not list them."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            pid, _, rest = stat.read_text(errors="replace").partition(" ")
            parent = int(rest.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(pid))
    found: set[int] = set()
    below = [os.getpid()]
    while below:
        below = [child for pid in below for child in children.get(pid, ()) if child not in found]
        found.update(below)
    return found


def _exit_as(status: int | None) -> None:
    """Ends as the command has; None: it was killed here."""
    if status is not None and status >= 0:
        os._exit(status)
    number = signal.SIGKILL if status is None else signal.Signals(-status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
