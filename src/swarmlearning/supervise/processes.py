"""The processes of a run: each in a process group and a log of its own, watched until it ends, none left behind.

Whatever ends the `async with` block (success, an error, Ctrl-C) ends all processes, the newest wave first; and should
this process itself be killed, the guard does that for it.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from swarmlearning.errors import UserError
from swarmlearning.supervise import guard

STOP_SECONDS = 5.0
PRIVATE = 0o077
"""File mode creation mask of all processes: models are nobody else's business."""
LAST_LINES = 20
LAST_BYTES = 64 * 1024


class RunError(UserError):
    """The run has failed; the message names what, where and what to do. `brief`: what has failed, in a few words."""

    def __init__(self, message: str, brief: str = "") -> None:
        super().__init__(message)
        self.brief = brief or message


class ProcessFailed(RunError):
    """A process of the run has failed; the message ends with the last lines of its log."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        super().__init__(f"{name} {what}. The end of {log}:\n{last_lines(log)}", brief=what)


@dataclass(frozen=True, eq=False)
class Child:
    """A started process, the leader of process group `pid`. A `lasting` one ends only when it is stopped.

    `end` is done when nothing of the group is left; its result is the return code as `subprocess` gives it.
    """

    name: str
    pid: int
    log: Path
    lasting: bool
    end: asyncio.Task[int]

    async def ended(self) -> int:
        """Waits for its end; returns the return code. Cancelling this does not cancel `end`."""
        return await asyncio.shield(self.end)

    def failure(self) -> ProcessFailed | None:
        """The failure that its end is, None when it is none."""
        code = self.end.result()
        if code == 0 and not self.lasting:
            return None
        return ProcessFailed(self.name, describe(code), self.log)


class Processes:
    """Use as an async context manager. `logs` is the folder of the log files, `environment` what all inherit."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = environment
        self._waves: list[list[Child]] = [[]]
        self._sacrificed: list[Child] = []
        self._ended: list[int] = []
        self._one_ended = asyncio.Event()
        self._guard: Process | None = None
        self._to_guard = -1

    async def __aenter__(self) -> Self:
        reader, self._to_guard = os.pipe()
        try:
            self._guard = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", guard.__file__),
                stdin=reader,
                stdout=DEVNULL,
                stderr=DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(reader)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ending = asyncio.create_task(self._end_all())
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await ending
            raise

    def next_wave(self) -> None:
        """Begins a wave: processes started from now on are stopped before those started until now."""
        self._waves.append([])

    def kill(self) -> None:
        """Ends everything at once, without grace."""
        _signal(self._all(), signal.SIGKILL)

    async def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        lasting: bool = False,
        inherited: Sequence[int] = (),
    ) -> Child:
        """Starts a process that writes to `<name>.log` and inherits these descriptors. Raises `RunError`."""
        path = self._logs / f"{name}.log"
        try:
            with path.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *guard.announced(command),
                    stdin=self._to_guard,
                    stdout=log,
                    stderr=log,
                    env={**self._environment, **(environment or {})},
                    pass_fds=inherited,
                    process_group=0,
                    umask=PRIVATE,
                )
        except OSError as error:
            raise RunError(f"cannot start {name}: {error}") from error
        child = Child(name, process.pid, path, lasting, asyncio.create_task(self._follow(process)))
        child.end.add_done_callback(lambda _: self._one_ended.set())
        self._waves[-1].append(child)
        return child

    def in_order_of_end(self, children: Iterable[Child]) -> list[Child]:
        """Returns those of these processes that have ended, the earliest first."""
        ended = [child for child in children if child.end.done()]
        return sorted(ended, key=lambda child: self._ended.index(child.pid))

    async def until_ended(self, awaited: Collection[Child]) -> None:
        """Waits until all of these have ended well. Raises `ProcessFailed` as soon as any process has failed."""
        self._raise_first_failure()
        while not all(child.end.done() for child in awaited):
            await self._next_end()

    async def watch(self) -> None:
        """Watches until cancelled. Raises `ProcessFailed` as soon as any process has failed."""
        self._raise_first_failure()
        while True:
            await self._next_end()

    async def sacrifice(self, child: Child) -> None:
        """Kills it on purpose (SIGKILL): its end is no failure. Returns when it has ended."""
        for wave in self._waves:
            if child in wave:
                wave.remove(child)
                self._sacrificed.append(child)
        _signal([child], signal.SIGKILL)
        await child.ended()

    async def _next_end(self) -> None:
        """Waits until another process has ended. Raises `ProcessFailed` when it has failed."""
        self._one_ended.clear()
        await self._one_ended.wait()
        self._raise_first_failure()

    def _all(self) -> list[Child]:
        return [child for wave in self._waves for child in wave]

    def _raise_first_failure(self) -> None:
        """Raises for the process that ended first: others may have failed because of it."""
        for child in self.in_order_of_end(self._all()):
            if failure := child.failure():
                raise failure

    async def _follow(self, process: Process) -> int:
        code = await process.wait()
        self._ended.append(process.pid)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what the process has started and left behind
        with suppress(BrokenPipeError):
            os.write(self._to_guard, b"-%d\n" % process.pid)
        return code

    async def _end_all(self) -> None:
        for wave in (*reversed(self._waves), self._sacrificed):
            await stop(wave)
        os.close(self._to_guard)
        if self._guard is not None:
            await self._guard.wait()


async def stop(children: Collection[Child]) -> None:
    """Sends SIGTERM, and SIGKILL after `STOP_SECONDS`; returns when all have ended."""
    if not children:
        return
    ends = [child.end for child in children]
    _signal(children, signal.SIGTERM)
    await asyncio.wait(ends, timeout=STOP_SECONDS)
    _signal(children, signal.SIGKILL)
    await asyncio.wait(ends)


def describe(code: int) -> str:
    """A few words on how a process ended, from its return code."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"was ended by signal {-code}"


def last_lines(log: Path) -> str:
    """The end of a log file: at most `LAST_LINES` lines, indented."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LAST_BYTES))
        lines = deque(file.read().decode(errors="replace").splitlines(), maxlen=LAST_LINES)
    return "\n".join(f"    {line}" for line in lines) or "    (empty)"


def _signal(children: Collection[Child], number: signal.Signals) -> None:
    for child in children:
        if not child.end.done():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, number)
