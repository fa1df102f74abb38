"""Runs a command as another user, who has no groups but its own and no way to more rights.

Runs as a script of its own (`python -I -S switching.py UID GID COMMAND …`) under a parent that stays root, so that the
command cannot end its parent, and ends with it. Standard library only.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38  # prctl(2)


def switch(uid: int, gid: int, groups: Sequence[int]) -> None:
    """Makes this process another user's. Raises `OSError`."""
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def bind() -> None:
    """From now on this process gains no rights, and ends with its parent; to call after `switch`. Raises `OSError`."""
    _control(_PR_SET_NO_NEW_PRIVS, 1)
    _control(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _control(option: int, value: int) -> None:
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main(uid: int, gid: int, command: Sequence[str]) -> None:
    """Becomes the command. Does not return."""
    parent = os.getppid()
    switch(uid, gid, ())
    bind()
    if os.getppid() != parent:
        sys.exit("the parent has ended meanwhile")
    os.execvp(command[0], [*command])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
