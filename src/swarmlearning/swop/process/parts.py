"""Starting a part of a pair under a warden, finding it again, waiting for its end, and ending it.

Whether a part runs is known by its warden's lock, so that a process of the same number is never taken for it; its end
is an event of the kernel's (pidfd).
"""

import asyncio
import dataclasses
import fcntl
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from swarmlearning.files import make_private, replace_file
from swarmlearning.swop.managing import ManagerError
from swarmlearning.swop.process import warden
from swarmlearning.swop.process.entering import Part

KILLED: Final = 128 + signal.SIGKILL
"""Exit code of a part whose warden has ended without one, as after a loss of power."""
START_SECONDS: Final = 60.0
END_SECONDS: Final = 10.0
"""Seconds beyond the part's grace in which a warden ends after SIGTERM; then it is killed."""
_RECORD_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.02

T = TypeVar("T")


class _Process(msgspec.Struct, frozen=True):
    pid: int
    started: str
    boot: str


class _End(msgspec.Struct, frozen=True):
    code: int
    error: str
    limited: bool = False


class KeptPart:
    """The part of a pair whose description, warden and end lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def start(self, part: Part, held: Sequence[int] = ()) -> None:
        """Starts it unless that has been done before, be it by an earlier SWOP. `held`: locks to keep while it runs.

        Raises `ManagerError` where it cannot be started.
        """
        try:
            await asyncio.to_thread(make_private, self._folder)
            lock = os.open(self._folder / warden.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if _locked(lock) and not self._begun:
                    described = json.dumps(dataclasses.asdict(part)).encode()
                    await asyncio.to_thread(replace_file, self._folder / warden.PART, described)
                    await self._start(lock, held)
            finally:
                os.close(lock)
        except OSError as error:
            raise ManagerError("site", f"{self._folder}: {error.strerror or error}") from error
        self.require_start()
        if not self.started:
            errors = self._folder / warden.ERRORS
            raise ManagerError("site", f"the process that starts a pair's part has failed: see {errors}")

    def require_start(self) -> None:
        """Raises `ManagerError` with the reason where it could not be started."""
        if (end := self._end()) and end.error:
            raise ManagerError("no-start", end.error)

    async def _start(self, lock: int, held: Sequence[int]) -> None:
        locks = [str(descriptor) for descriptor in (lock, *held)]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", warden.__name__, str(self._folder), *locks),
            stdin=asyncio.subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("PYTHON")},
            pass_fds=[lock, *held],
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await process.wait()
        except TimeoutError:
            raise ManagerError("no-start", f"{self._folder}: not started after {START_SECONDS:.0f} s") from None

    @property
    def _begun(self) -> bool:
        return (self._folder / warden.WARDEN).exists()

    @property
    def started(self) -> bool:
        """Whether it has been started, and runs or has ended."""
        return self._begun or self.running

    @property
    def running(self) -> bool:
        """Whether its warden runs."""
        try:
            lock = os.open(self._folder / warden.LOCK, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _locked(lock)
        finally:
            os.close(lock)

    @property
    def code(self) -> int | None:
        """Its exit code (128 + N after signal N); None while it runs."""
        end = self._end()
        if end is None and not self.running:
            end = self._end() or _End(KILLED, "")  # looked up again: it may have ended in between
        return end.code if end else None

    @property
    def limited(self) -> bool:
        """Whether it has ended after its control group came up against a limit."""
        end = self._end()
        return end is not None and end.limited

    @property
    def lost(self) -> bool:
        """Whether its warden has been killed, so that processes may be left behind."""
        return self._begun and not self.running and self._end() is None

    async def ended(self) -> None:
        """Waits until it runs no more, without limit. Raises `ManagerError`."""
        descriptor = await self._descriptor()
        if descriptor is None:
            return
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        try:
            loop.add_reader(descriptor, over.set)
            await over.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    async def stop(self, grace_seconds: float) -> None:
        """Ends it, and waits until nothing of it runs any more: `grace_seconds` are those of the part.

        Raises `ManagerError`.
        """
        for number, seconds in ((signal.SIGTERM, grace_seconds + END_SECONDS), (signal.SIGKILL, None)):
            descriptor = await self._descriptor()
            if descriptor is None:
                return
            try:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.ended()

    async def _descriptor(self) -> int | None:
        """A pidfd of the warden; None where it runs no more. Raises `ManagerError`."""
        try:
            async with asyncio.timeout(_RECORD_SECONDS):
                while self.running:
                    found = self._read(warden.WARDEN, _Process)
                    if found is not None:
                        return _open(found)
                    await asyncio.sleep(_LOOK_SECONDS)  # it has begun this very moment, before a SWOP was killed
        except TimeoutError:
            raise ManagerError("site", f"{self._folder}: the warden that runs there does not name itself") from None
        return None

    def _end(self) -> _End | None:
        return self._read(warden.END, _End)

    def _read(self, name: str, kind: type[T]) -> T | None:
        try:
            return msgspec.json.decode((self._folder / name).read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError):
            return None


def _locked(lock: int) -> bool:
    """Takes the lock, if nobody has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(process: _Process) -> int | None:
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    if (warden.started_at(process.pid), warden.boot_id()) != (process.started, process.boot):
        os.close(descriptor)
        return None
    return descriptor
