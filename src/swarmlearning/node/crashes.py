"""What is left of a crash: a report in the data directory, and the last line of the log, which names it.

    crashes/20261129-200102-4711.txt     an error that nobody expected: in the node's work, a thread, or a callback
    crashes/fault-4711.txt               written by the interpreter itself as it dies (SIGSEGV, SIGABRT, …)

A report has the versions, the traceback and the last lines of the log, without secrets (`redaction.py`). The newest
`KEPT` stay. An error that the program expects (`UserError`) is no crash: its message says what to do.
"""

import asyncio
import faulthandler
import logging
import os
import platform
import threading
import time
import traceback
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from swarmlearning import __version__
from swarmlearning.errors import UserError, first_cause
from swarmlearning.files import make_private, replace_file
from swarmlearning.node.logs import ENDING, FORMAT, LineFormatter, is_noise
from swarmlearning.redaction import redacted

FOLDER: Final = "crashes"
KEPT: Final = 10
LAST_LINES: Final = 200
LONGEST_LINE: Final = 2000
MOST_BYTES: Final = 256 * 1024
MOST_SEEN: Final = 64
"""Places in the program of which a crash is reported in the life of a process, each once."""

logger = logging.getLogger("swarm.node")


class _LastLines(logging.Handler):
    """Remembers the newest lines of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=LAST_LINES)
        self.setFormatter(LineFormatter(FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a line."""
        self.lines.append(self.format(record)[:LONGEST_LINE])


class Crashes:
    """Reports the crashes of one process, the node `node` (its kind and name), which has this data directory."""

    def __init__(self, directory: Path, node: str, known: Collection[str] = ()) -> None:
        """`known`: secrets of this process, see `node.secrets.known_secrets`."""
        self._folder = directory / FOLDER
        self._node = node
        self._known = known
        self._seen: dict[str, None] = {}
        self._recent = _LastLines()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside the block whatever goes wrong in this process, and nobody catches, is reported."""
        logging.getLogger().addHandler(self._recent)
        threading.excepthook = self._in_thread
        fault = self._watch_interpreter()
        global _current
        _current = self
        try:
            yield
        except BaseException as error:
            self.report(error)
            raise
        finally:
            _current = None
            threading.excepthook = threading.__excepthook__
            logging.getLogger().removeHandler(self._recent)
            if fault is not None:
                faulthandler.disable()
                fault.unlink(missing_ok=True)
                with suppress(OSError):
                    self._folder.rmdir()  # without a report in it

    def report(self, error: BaseException) -> bool:
        """Whether nobody expected this error, which ends the node. Then it is logged and a report is left, once."""
        if not _is_crash(error):
            return False
        if self._is_new(error):
            logger.critical("An error that nobody expected", exc_info=error)
            self._write(f"{ENDING}an error that nobody expected", error)
        return True

    def in_loop(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The event loop's exception handler."""
        if is_noise(context):
            return
        loop.default_exception_handler(context)
        error = context.get("exception")
        if isinstance(error, BaseException) and _is_crash(error) and self._is_new(error):
            self._write(f"This node goes on after an error that nobody expected ({context['message']})", error)

    def _in_thread(self, given: threading.ExceptHookArgs) -> None:
        error = given.exc_value
        if error is None or not _is_crash(error) or not self._is_new(error):
            return
        name = given.thread.name if given.thread else "unknown"
        logger.error("Thread %s ends by an error that nobody expected", name, exc_info=error)
        self._write(f"Thread {name} of this node has ended by an error that nobody expected", error)

    def _is_new(self, error: BaseException) -> bool:
        error = first_cause(error)
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{type(error).__name__} {frames[-1].filename}:{frames[-1].lineno}" if frames else repr(error)
        if place in self._seen or len(self._seen) >= MOST_SEEN:
            return False
        self._seen[place] = None
        return True

    def _write(self, what: str, error: BaseException) -> None:
        what = f"{what}: {''.join(traceback.format_exception_only(first_cause(error))).strip()}"
        path = self._folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{len(self._seen)}.txt"
        lines, trace = "\n".join(self._recent.lines), "".join(traceback.format_exception(error))
        text = redacted(f"{self._head(what)}\n\n{trace}\nThe last lines of the log:\n\n{lines}\n", self._known)
        try:
            make_private(self._folder)
            replace_file(path, text.encode(errors="backslashreplace")[:MOST_BYTES])
            self._forget_old()
        except OSError as failure:
            logger.critical("%s. A report cannot be written to %s: %s", what, path, failure.strerror)
            return
        logger.critical("%s. The report is %s", what, path)

    def _head(self, what: str) -> str:
        return "\n".join(
            (
                what,
                "",
                f"Node      {self._node}, process {os.getpid()}",
                f"Time      {time.strftime('%Y-%m-%d %H:%M:%S %z')}",
                f"Versions  swarmlearning {__version__}, Python {platform.python_version()}, {platform.platform()}",
            )
        )

    def _watch_interpreter(self) -> Path | None:
        """Lets the interpreter write to a file as it dies; names those that earlier processes have left."""
        path = self._folder / f"fault-{os.getpid()}.txt"
        try:
            make_private(self._folder)
            self._name_faults()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            logger.debug("%s cannot be written: %s", path, error.strerror)  # and so can nothing of this node's
            return None
        faulthandler.enable(descriptor, all_threads=True)  # the descriptor stays open until the process ends
        return path

    def _name_faults(self) -> None:
        for path in self._folder.glob("fault-*.txt"):
            number = path.stem.partition("-")[2]
            if number != str(os.getpid()) and Path(f"/proc/{number}").exists():
                continue
            if path.stat().st_size == 0:
                path.unlink()  # of a process that was killed
                continue
            when = time.localtime(path.stat().st_mtime)
            kept = path.with_name(f"{time.strftime('%Y%m%d-%H%M%S', when)}-{path.stem}.txt")
            path.replace(kept)
            logger.error("An earlier process of this node has died of a fault in native code; the report is %s", kept)
        self._forget_old()

    def _forget_old(self) -> None:
        for path in reports(self._folder.parent)[:-KEPT]:
            path.unlink(missing_ok=True)


_current: Crashes | None = None


def _is_crash(error: BaseException) -> bool:
    return isinstance(cause := first_cause(error), Exception) and not isinstance(cause, UserError)


def reports(directory: Path) -> list[Path]:
    """The reports in a node's data directory, the newest last."""
    return sorted(path for path in (directory / FOLDER).glob("2*.txt"))


def report_crash(error: BaseException) -> None:
    """Reports an error that is about to end this process, if it is watched: now, while its log is still kept."""
    if _current is not None:
        _current.report(error)
