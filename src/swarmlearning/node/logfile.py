"""Logs as files of bounded size and number, and how they are read by range: `NAME`, `NAME.1`, the part before it, and
so on.

A *cursor* says how far a reader is: the file's inode and an offset in it, so it stays right when `NAME` becomes
`NAME.1`. Where what it points to is gone, reading goes on at the oldest that is left, and says so.
"""

import asyncio
import glob
import logging.handlers
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from filelock import FileLock, Timeout

from swarmlearning.errors import UserError, first_cause
from swarmlearning.files import replace_file
from swarmlearning.node.crashes import report_crash
from swarmlearning.node.errors import NodeError
from swarmlearning.node.logs import ENDING, Form, formatter_of
from swarmlearning.node.sealing import MAX_PIECE, Piece, Wanted

FILE: Final = "node.log"
"""A node's own log, in its data directory."""
ELSEWHERE: Final = "log.path"
"""Beside it, where another folder has the log: the path of that file."""
LONGEST_PATH: Final = 4096
HALF: Final = 8 * 2**20
"""Bytes of a node's own log, after which a new file begins; by default two of them are kept."""
MOST_FILES: Final = 128
ENDING_LOGGER: Final = "swarm.node"
LOOK_SECONDS: Final = 0.25
"""Other processes write logs, too: while somebody follows one, its size is looked at so often."""
_STEP: Final = 2**20
_TEXT_TIME: Final = rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) "
_JSON_TIME: Final = rb"\{\"time\": \"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)\""
_TIME: Final = re.compile(b"^(?:%b|%b)" % (_TEXT_TIME, _JSON_TIME), re.MULTILINE)
"""At the beginning of a line: in text local time, in JSON UTC."""
_TIME_BYTES: Final = 35


@dataclass(frozen=True)
class LogSettings:
    """How a node keeps its own log, beside writing it to standard output: the form of its lines, the folder (None: its
    data directory), and in how many files of `HALF` bytes at most."""

    form: Form = "text"
    folder: Path | None = None
    files: int = 2

    def path(self, directory: Path, name: str, uid: str) -> Path:
        """The file of the node of this name and UID with this data directory; in a folder that is shared one of its
        own."""
        if self.folder is None:
            return directory / FILE
        safe = "".join(each if each.isalnum() or each in "._-" else "-" for each in name).lstrip(".")[:64]
        return self.folder / f"{safe or 'node'}-{uid[:8]}.log"


DEFAULT: Final = LogSettings()


def log_in(directory: Path) -> Path:
    """The file in which the node that ran last with this data directory has kept its log."""
    try:
        with (directory / ELSEWHERE).open("rb") as file:
            named = Path(os.fsdecode(file.read(LONGEST_PATH)))
    except OSError:
        return directory / FILE
    return named if named.is_absolute() else directory / FILE


def _note_place(directory: Path, path: Path) -> None:
    """For `log_in`. Raises `OSError`."""
    if path == directory / FILE:
        (directory / ELSEWHERE).unlink(missing_ok=True)
    else:
        replace_file(directory / ELSEWHERE, os.fsencode(path))


class LogError(Exception):
    """A log that cannot be read so; the message is for whoever has asked."""


class _Handler(logging.handlers.RotatingFileHandler):
    """For the node's user alone. A full disk costs the lines that do not fit, and nothing else."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return TextIOWrapper(os.fdopen(descriptor, "ab"), encoding=self.encoding, errors=self.errors)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        pass


@contextmanager
def kept_log(directory: Path, name: str = "", uid: str = "", settings: LogSettings = DEFAULT) -> Iterator[Path]:
    """Inside the block this process's log is kept in the file that is yielded, too; what ends it by an error is its
    last line there, for whoever looks later why the node does not run. Raises `NodeError`."""
    path = settings.path(directory, name, uid)
    with _alone(path) if settings.folder else nullcontext():
        try:
            handler = _Handler(path, "a", HALF, settings.files - 1, "utf-8", errors="backslashreplace")
            for older in _numbered(path)[settings.files - 1 :]:
                older.unlink()
            _note_place(directory, path)
        except OSError as error:
            raise NodeError(f"{path}: cannot be written: {error.strerror}") from error
        handler.setFormatter(formatter_of(settings.form, name))
        logging.getLogger().addHandler(handler)
        try:
            yield path
        except BaseException as error:
            report_crash(error)
            if isinstance(cause := first_cause(error), UserError):
                handler.handle(_ending(cause))
            raise
        finally:
            logging.getLogger().removeHandler(handler)
            handler.close()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Inside the block no other process has this log: two would take each other's files away. Raises `NodeError`."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise NodeError(f"{path}: another process writes this log; give this node another --log-dir") from error
    except OSError as error:
        raise NodeError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def _numbered(path: Path) -> list[Path]:
    """The older files of a log, `path.1` and so on, the newest first."""
    found = [each for each in path.parent.glob(f"{glob.escape(path.name)}.*") if each.suffix[1:].isdecimal()]
    return sorted(found, key=lambda each: int(each.suffix[1:]))


def _ending(cause: UserError) -> logging.LogRecord:
    """The last line of a node that ends by an error, which its command prints on standard error."""
    text = " / ".join(str(cause).splitlines())
    return logging.LogRecord(ENDING_LOGGER, logging.ERROR, __file__, 0, "%s%s", (ENDING, text), None)


async def read(path: Path, wanted: Wanted, wait_seconds: float) -> Piece:
    """The next piece of a log. Waits at most so long for one where `wanted.wait`. Raises `LogError`."""
    piece = await asyncio.to_thread(read_now, path, wanted)
    end = asyncio.get_running_loop().time() + wait_seconds
    while wanted.wait and not piece.data and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(LOOK_SECONDS)
        piece = await asyncio.to_thread(read_now, path, Wanted(cursor=piece.cursor))
    return piece


def read_now(path: Path, wanted: Wanted) -> Piece:
    """The piece of a log that is wanted, as far as it is there. Raises `LogError`."""
    try:
        with _Log(path) as log:
            at = log.located(wanted.cursor) if wanted.cursor else _beginning(log, wanted)
            data = log.read(at or 0, MAX_PIECE)
            end = (at or 0) + len(data)
            return Piece(data, log.cursor(end), more=end < log.size, lost=at is None)
    except FileNotFoundError:
        raise LogError("there is no such log here (yet, or any more)") from None
    except OSError as error:
        raise LogError(f"the log cannot be read: {error.strerror}") from error


class _File(NamedTuple):
    """An open file with as many bytes as it had when it was opened; `start`: bytes of the log before it."""

    descriptor: int
    inode: int
    size: int
    start: int


class _Log:
    """All files of a log as one, from the oldest byte on. Use as a context manager. All raise `OSError`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened = ExitStack()
        self._files: list[_File] = []

    def __enter__(self) -> Self:
        found = self._opened_now()
        for _ in range(3):
            if self._path.stat().st_ino == found[0][1].st_ino:
                break
            self._opened.close()  # it became the older one meanwhile
            found = self._opened_now()
        start = 0
        for descriptor, state in reversed(found):
            if not any(file.inode == state.st_ino for file in self._files):
                self._files.append(_File(descriptor, state.st_ino, state.st_size, start))
                start += state.st_size
        self.size = start
        return self

    def _opened_now(self) -> list[tuple[int, os.stat_result]]:
        """Descriptors, the newest file first."""
        try:
            found = [self._open(self._path)]
            for path in _numbered(self._path):
                with suppress(FileNotFoundError):
                    found.append(self._open(path))
            return [(descriptor, os.fstat(descriptor)) for descriptor in found]
        except BaseException:
            self._opened.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def _open(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        self._opened.callback(os.close, descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileNotFoundError
        return descriptor

    def read(self, at: int, most: int) -> bytes:
        """At most so many bytes from this place on."""
        found = b""
        for file in self._files:
            offset, left = at + len(found) - file.start, most - len(found)
            if left and 0 <= offset < file.size:
                found += os.pread(file.descriptor, min(left, file.size - offset), offset)
        return found

    def cursor(self, at: int) -> str:
        """What names this place."""
        file = next(each for each in reversed(self._files) if each.start <= at)
        return f"{file.inode}:{at - file.start}"

    def located(self, cursor: str) -> int | None:
        """The place of a cursor; None where that is gone. Raises `LogError` for what is no cursor."""
        found = re.fullmatch(r"([0-9]{1,20}):([0-9]{1,20})", cursor)
        if found is None:
            raise LogError("this is no place in a log")
        inode, offset = int(found[1]), int(found[2])
        return next((each.start + offset for each in self._files if each.inode == inode and offset <= each.size), None)


def _beginning(log: _Log, wanted: Wanted) -> int:
    return _at_time(log, wanted.since_ms) if wanted.since_ms is not None else _at_last_lines(log, wanted.lines)


def _at_last_lines(log: _Log, lines: int) -> int:
    """Where the last lines begin; one without an end at the end of the file is a line."""
    if lines == 0:
        return log.size
    at, left = log.size, lines
    if log.read(log.size - 1, 1) != b"\n":
        left -= 1
    while at > 0:
        step = min(_STEP, at)
        data, end = log.read(at - step, step), step
        while (end := data.rfind(b"\n", 0, end)) >= 0:
            if left == 0:
                return at - step + end + 1
            left -= 1
        at -= step
    return 0


def _at_time(log: _Log, since_ms: int) -> int:
    """Where the first line of this time or later begins. Raises `LogError` where no line has a time."""
    seconds, thousandths = divmod(since_ms, 1000)
    try:
        local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
        utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        raise LogError("there is no such time") from None
    text, in_json = f"{local},{thousandths:03d}".encode(), f"{utc}.{thousandths:03d}Z".encode()
    at, timed = 0, False
    while at < log.size:
        data = log.read(at, _STEP + _TIME_BYTES)
        for found in _TIME.finditer(data):
            if (found.start() or at == 0 or log.read(at - 1, 1) == b"\n") and found.start() < _STEP:
                timed = True
                if (found[1] >= text) if found[1] else (found[2] >= in_json):
                    return at + found.start()
        at += _STEP
    if log.size and not timed:
        raise LogError("the lines of this log have no time: ask for its last lines")
    return log.size
