"""What a process is doing: the stacks of all its threads and asyncio tasks, on SIGUSR1 or on request.

A signal writes them to `stacks.txt` in the data directory. The threads are written by the interpreter's own fault
handler, at once, even where the event loop is stuck in a call that does not return; the tasks follow when it goes on.
"""

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

from swarmlearning.files import make_private

FILE: Final = "stacks.txt"
MOST: Final = 2**20
"""Bytes of the file, after which the next stacks replace what is in it."""
DEEPEST: Final = 64
MOST_TASKS: Final = 2000

logger = logging.getLogger("swarm.node")


class StackFile:
    """Answers SIGUSR1 from `attach` to `close`."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._descriptor = -1
        self._before = 0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on a signal is answered; where the file cannot be made it is ignored, and does not end the node."""
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            make_private(self._path.parent)
            self._descriptor = os.open(self._path, flags, 0o600)
        except OSError as error:
            logger.debug("%s cannot be written: %s", self._path, error.strerror)
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            return
        self._before = os.fstat(self._descriptor).st_size
        loop.add_signal_handler(signal.SIGUSR1, self._tell)
        faulthandler.register(signal.SIGUSR1, self._descriptor, all_threads=True, chain=True)

    def close(self) -> None:
        """A later signal is ignored: it must not end a node that is about to end in good order."""
        faulthandler.unregister(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def _tell(self) -> None:
        tasks = list(_tasks())
        text = "\n".join((f"=== {time.strftime('%Y-%m-%d %H:%M:%S')}, {len(tasks)} tasks", *tasks))
        try:
            size = os.fstat(self._descriptor).st_size
            threads = os.pread(self._descriptor, size - self._before, self._before)
            if size > MOST:
                os.ftruncate(self._descriptor, 0)
                os.write(self._descriptor, threads)
            os.write(self._descriptor, f"{text}\n\n".encode(errors="backslashreplace"))
            self._before = os.fstat(self._descriptor).st_size
        except OSError as error:
            logger.error("SIGUSR1 received: %s cannot be written: %s", self._path, error.strerror)
            return
        logger.warning("SIGUSR1 received: the stacks of all threads and %d tasks are in %s", len(tasks), self._path)


def stacks() -> str:
    """The stacks of all threads of this process and of all tasks of the running loop."""
    return "\n".join((*_threads(), *_tasks()))


def _threads() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        lines = traceback.format_stack(frame, DEEPEST)
        yield f"thread {names.get(ident, ident)}\n{''.join(lines)}"


def _tasks() -> Iterator[str]:
    for task in sorted(asyncio.all_tasks(), key=lambda task: task.get_name())[:MOST_TASKS]:
        yield f"task {task.get_name()}\n{''.join(_frames(task))}"


def _frames(task: "asyncio.Task[Any]") -> Iterator[str]:
    """A suspended coroutine, what that awaits, and so on: a task itself shows the first of them only."""
    awaited: Any = task.get_coro()
    for _ in range(DEEPEST):
        frame = _first(awaited, "cr_frame", "ag_frame", "gi_frame")
        if not isinstance(frame, FrameType):
            break
        yield from traceback.format_list(traceback.StackSummary.extract([(frame, frame.f_lineno)]))
        awaited = _first(awaited, "cr_await", "ag_await", "gi_yieldfrom")
    if awaited is not None:
        yield f"  awaiting {type(awaited).__name__}\n"


def _first(awaited: object, *names: str) -> Any:
    return next((found for name in names if (found := getattr(awaited, name, None)) is not None), None)
