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
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
CANNOT_START = 127
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
    """Reaps processes that were left to the keeper and have ended."""
    with suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == command:
                return
            os.waitpid(ended.si_pid, 0)


def end_descendants() -> None:
    """Kills until none is left: what one of them forks meanwhile becomes the keeper's."""
    while descendants := _descendants():
        for pid in descendants:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)


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
