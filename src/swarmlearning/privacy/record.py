"""The record of what a site has given: one line of JSON for each model, on disk before anybody can fetch it.

It belongs to the site, not to one node's data directory: all SLs whose policies name the same record share one budget.
A line says what the ledger says too, and nothing of the change before the noise, so it can be shown as a proof.

The last line may be cut off by a power failure: then nothing was given for it, and it is removed. Any other line that
cannot be read leaves open what was given, and nothing more is.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from filelock import FileLock, Timeout

from swarmlearning.errors import UserError
from swarmlearning.ledger.fields import Count, Digest

LOCK_SECONDS: Final = 60.0
"""Seconds that another SL of the site may keep the record to itself."""


class RecordError(UserError):
    """The record cannot be read or written; nothing is given then."""


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model that was given: `result` is its digest, `base` that of the model on which its change builds, `at_ms` the
    time of this host's clock. `norm` and `noise` as in the policy then in force; without noise 0."""

    network: str
    contract: str
    run: Count
    round: Count
    base: Digest
    result: Digest
    norm: float
    noise: float
    at_ms: Count


class Record:
    """One file, which may be shared. Its methods block; they may be called in any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=LOCK_SECONDS, mode=0o600)

    def lines(self) -> tuple[Line, ...]:
        """All that was given. Raises `RecordError`."""
        with self._alone():
            return self._read()[0]

    def add(self, line: Line, allowed: Callable[[tuple[Line, ...]], bool]) -> tuple[Line, ...] | None:
        """Adds a line where `allowed` says so of all lines with it, and returns them; else None.

        When this returns the line is on disk, whatever happens to this machine. Raises `RecordError`.
        """
        with self._alone():
            before, length = self._read()
            lines = (*before, line)
            if not allowed(lines):
                return None
            self._append(msgspec.json.encode(line) + b"\n", length)
            return lines

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except Timeout as error:
            raise RecordError(
                f"{self.path}: another process has kept the record to itself for {LOCK_SECONDS:g} s"
            ) from error
        except OSError as error:
            raise RecordError(f"{self.path}: the record of what was given cannot be used: {error.strerror}") from error

    def _read(self) -> tuple[tuple[Line, ...], int]:
        """The lines, and the bytes that they take."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return (), 0
        whole = data[: data.rfind(b"\n") + 1]
        found = []
        for number, text in enumerate(whole.splitlines(), 1):
            try:
                found.append(msgspec.json.decode(text, type=Line))
            except msgspec.DecodeError as error:
                raise RecordError(
                    f"{self.path}: line {number} cannot be read ({error}), so it is not known what was given: restore "
                    "the file from a backup that is not older than the last round"
                ) from error
        return tuple(found), len(whole)

    def _append(self, data: bytes, length: int) -> None:
        """Writes `data` after the first `length` bytes."""
        new = not self.path.exists()
        with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb") as file:
            file.truncate(length)
            file.seek(length)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if new:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
