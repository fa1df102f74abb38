"""Ends the children of a process with it, even when it is killed."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # prctl(2)


def dying_with_this_process() -> Callable[[], None] | None:
    """For `preexec_fn` of a subprocess: the kernel kills it when this process dies (Linux; elsewhere nothing does).

    This process is the thread that starts the subprocess: start it from the main one.
    """
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()  # looked up before the fork

    def die_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has died meanwhile
            os.kill(os.getpid(), signal.SIGKILL)

    return die_with_parent
