"""The archives of logs that the UI keeps: few of them, in one folder; the oldest go first."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from swarmlearning.collect.archive import safe
from swarmlearning.errors import UserError
from swarmlearning.files import make_private
from swarmlearning.node.clocks import clock_ms

MOST: Final = 10
MOST_BYTES: Final = 4 * 2**30
"""Of all of them together; the newest is kept however large it is."""
SUFFIX: Final = ".tar.gz"
NAME: Final = re.compile(r"Swarm_Diag_[A-Za-z0-9._-]{1,80}_[0-9]{1,16}\.tar\.gz")


class ArchiveFile(msgspec.Struct, frozen=True):
    """An archive: its bytes, and when it was made (Unix milliseconds)."""

    name: str
    size: int
    made_ms: int


class Archives:
    """The archives in this folder, which is made for the first one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> list[ArchiveFile]:
        """Those that are whole, the newest first."""
        return sorted(self._found(), key=lambda each: (-each.made_ms, each.name))

    def path(self, name: str) -> Path | None:
        """The file of an archive; None where there is none of this name."""
        path = self._folder / name
        return path if NAME.fullmatch(name) and path.is_file() and not path.is_symlink() else None

    def new(self, what: str) -> Path:
        """Where the next archive is written: `Swarm_Diag_WHAT_MILLISECONDS.tar.gz`. Raises `UserError`."""
        try:
            make_private(self._folder)
            for left in self._folder.glob(f".Swarm_Diag_*{SUFFIX}.*"):  # of a UI that was killed; one is made at a time
                left.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{self._folder}: cannot be written: {error.strerror}; make room there") from error
        return self._folder / f"Swarm_Diag_{safe(what)[:60]}_{clock_ms()}{SUFFIX}"

    def bound(self) -> list[str]:
        """Removes what is too much, the oldest first; returns the names."""
        size, removed = 0, []
        for place, each in enumerate(self.all()):
            size += each.size
            if place and (place >= MOST or size > MOST_BYTES):
                self.remove(each.name)
                removed.append(each.name)
        return removed

    def remove(self, name: str) -> None:
        """Removes an archive, if it is there. Raises `UserError`."""
        path = self.path(name)
        try:
            if path is not None:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{path}: cannot be removed: {error.strerror}") from error

    def _found(self) -> Iterator[ArchiveFile]:
        with suppress(OSError):
            for path in self._folder.iterdir():
                if self.path(path.name) is not None:
                    known = path.stat()
                    yield ArchiveFile(path.name, known.st_size, int(known.st_mtime * 1000))
