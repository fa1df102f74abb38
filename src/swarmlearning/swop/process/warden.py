"""Starts one part of a pair, keeps its output and its exit code, and ends everything that it has started.

Runs as a program of its own (`python -P -m … FOLDER LOCK …`), in a session of its own, so that the part outlives the
SWOP that has started it, and a later SWOP finds it again. In FOLDER lie

    part.json    what to start (`entering.Part`), by the manager
    lock         locked as long as the warden runs; the descriptors LOCK … are kept open for that
    warden.json  the warden's process, written before the part is started
    end.json     the part's exit code, why it could not be started, and whether its control group came up against a
                 limit, written before the warden ends
    errors.log   what the warden itself complains of: nothing, where all is well

The manager waits for the warden's end, and sends it SIGTERM to end the part. As a subreaper the warden is left
whatever the part's processes leave behind; should it be killed itself, the kernel kills the part.
"""

import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from swarmlearning.files import replace_file
from swarmlearning.supervise import keeper
from swarmlearning.swop.process.entering import CannotStart, Part, become
from swarmlearning.swop.rolling import RollingFile

PART, LOCK, WARDEN, END, ERRORS = "part.json", "lock", "warden.json", "end.json", "errors.log"
CANNOT_START: Final = 127
_CHUNK: Final = 64 * 1024


def main(folder: Path, locks: list[int]) -> None:
    """Starts the warden, and ends when the part has been started or could not be."""
    for lock in locks:
        os.set_inheritable(lock, False)
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        os.read(reader, 1)
        return
    os.close(reader)
    os.setsid()
    errors = os.open(folder / ERRORS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for standard, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), errors, errors)):
        os.dup2(descriptor, standard)
    Warden(folder).run(writer)


class Warden:
    """Of the part that a folder describes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._part = Part.from_json(json.loads((folder / PART).read_bytes()))
        self._deadline: float | None = None
        self._signals: list[int] = []

    def run(self, started: int) -> None:
        """Runs the part to its end. `started` is closed as soon as it has been started, or could not be."""
        log = RollingFile(Path(self._part.log), self._part.log_bytes // 2)
        wake = self._prepare()
        _write(self._folder / WARDEN, own_process())
        output, pid, error = self._start()
        if error:
            _write(self._folder / END, {"code": CANNOT_START, "error": error, "limited": False})
            return
        os.close(started)
        status = self._attend(pid, output, wake, log)
        keeper.end_descendants()
        os.set_blocking(output, False)
        with suppress(BlockingIOError):
            while data := os.read(output, _CHUNK):
                _keep(log, data)
        code = os.waitstatus_to_exitcode(status)
        limited = self._part.cgroup is not None and _came_up_against_limits(Path(self._part.cgroup))
        _write(self._folder / END, {"code": code if code >= 0 else 128 - code, "error": "", "limited": limited})

    def _prepare(self) -> int:
        """Makes this process a subreaper; returns a descriptor that signals wake."""
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, lambda number, frame: self._signals.append(number))
        keeper.become_subreaper()
        return woken

    def _start(self) -> tuple[int, int, str]:
        """The part's output, its process, and the reason why it could not be started, if so."""
        output, into_log = os.pipe()
        failure, into_failure = os.pipe()
        own = os.getpid()
        pid = os.fork()
        if not pid:
            try:
                os.setsid()
                for standard in (1, 2):
                    os.dup2(into_log, standard)
                become(self._part, own)
            except CannotStart as error:
                os.write(into_failure, str(error).encode(errors="surrogateescape")[:4000])
            finally:
                os._exit(CANNOT_START)
        os.close(into_log)
        os.close(into_failure)
        said = b""
        while data := os.read(failure, 4096):
            said += data
        os.close(failure)
        return output, pid, said.decode(errors="replace")

    def _attend(self, pid: int, output: int, wake: int, log: RollingFile) -> int:
        """Keeps the output until the part has ended; returns its wait status."""
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(output, select.POLLIN)
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return status
            keeper.reap_others(pid)
            self._end_when_told(pid)
            for descriptor, events in poll.poll(self._milliseconds_left()):
                if descriptor == wake:
                    os.read(wake, 4096)
                elif data := os.read(output, _CHUNK) if events & select.POLLIN else b"":
                    _keep(log, data)
                else:
                    poll.unregister(output)

    def _end_when_told(self, pid: int) -> None:
        """Sends SIGTERM to the part when told to end it, and SIGKILL when the grace is over."""
        if self._signals and self._deadline is None:
            self._deadline = time.monotonic() + self._part.grace_seconds
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGTERM)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _milliseconds_left(self) -> float | None:
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - time.monotonic()) * 1000 + 1


def own_process() -> dict[str, int | str]:
    """What names this process for good: a number alone may be another process's later."""
    return {"pid": os.getpid(), "started": started_at(os.getpid()) or "", "boot": boot_id()}


def started_at(pid: int) -> str | None:
    """When a process was started, in the kernel's ticks since the boot; None where there is none (any more)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def boot_id() -> str:
    """The name of the kernel's present run."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _came_up_against_limits(group: Path) -> bool:
    """Whether the kernel has ended a process of the group for want of memory, or refused it one more process."""
    for file, event in (("memory.events", "oom_kill"), ("pids.events", "max")):
        with suppress(OSError):
            counts = dict(line.split() for line in (group / file).read_text().splitlines())
            if counts.get(event, "0") != "0":
                return True
    return False


def _keep(log: RollingFile, data: bytes) -> None:
    """Appends output; what cannot be kept is lost, and the part goes on."""
    with suppress(OSError):
        log.write(data)


def _write(path: Path, value: Any) -> None:
    replace_file(path, json.dumps(value).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(lock) for lock in sys.argv[2:]])
