"""The current directory of a session, and the files that its commands name."""

import stat
import time
from itertools import islice
from pathlib import Path
from typing import Final

from swarmlearning.errors import UserError
from swarmlearning.views.names import displayed

IMAGE_FOLDER: Final = Path("/platform/swarm/usr")
"""The user directory inside the images, which scripts name; without an image it stands for that directory."""

MOST_LISTED: Final = 1000
LARGEST_FILE: Final = 1 << 20


class FolderError(UserError):
    """A file or directory that cannot be used; the message names it."""


class Folders:
    """Where a session is in the file system; `confined`: it never leaves its user directory."""

    def __init__(self, user: Path | None, *, confined: bool = False) -> None:
        self._user = user.resolve() if user else None
        self._confined = confined
        self.current = self._user or Path.cwd()

    def change(self, named: str) -> Path:
        """Goes to another directory. Raises `FolderError`."""
        found = self.path(named)
        if not found.is_dir():
            raise FolderError(f"{displayed(named)}: there is no such directory")
        self.current = found
        return found

    def path(self, named: str) -> Path:
        """The file or directory of this name, seen from the current directory, without symbolic links.

        Raises `FolderError` for one outside the user directory where that is not allowed.
        """
        wanted = Path(named)
        if self._user and wanted.is_relative_to(IMAGE_FOLDER) and not IMAGE_FOLDER.exists():
            wanted = self._user / wanted.relative_to(IMAGE_FOLDER)
        try:
            found = (self.current / wanted).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise FolderError(f"{displayed(named)}: cannot be used as a path: {error}") from None
        if self._confined and not (self._user and found.is_relative_to(self._user)):
            raise FolderError(f"{displayed(named)}: lies outside the user directory")
        return found

    def read(self, named: str) -> bytes:
        """The content of a file, which is bounded. Raises `FolderError`."""
        found = self.path(named)
        try:
            if not found.is_file():
                raise FolderError(f"{displayed(named)}: there is no such file in {self.current}")
            with found.open("rb") as file:
                content = file.read(LARGEST_FILE + 1)
        except OSError as error:
            raise FolderError(f"{displayed(named)}: cannot be read: {error.strerror}") from error
        if len(content) > LARGEST_FILE:
            raise FolderError(f"{displayed(named)}: larger than {LARGEST_FILE} bytes")
        return content

    def names(self) -> list[str]:
        """The names in the current directory."""
        try:
            return sorted(each.name for each in islice(self.current.iterdir(), MOST_LISTED))
        except OSError:
            return []

    def listed(self, named: str, *, hidden: bool, long: bool) -> list[str]:
        """A line for each entry of a directory, or for the file of this name. Raises `FolderError`."""
        found = self.path(named)
        try:
            found.lstat()  # raises where there is nothing
            entries = sorted(found.iterdir()) if found.is_dir() else [found]
            shown = [each for each in entries if hidden or not each.name.startswith(".")][:MOST_LISTED]
            return [_long(each) if long else each.name for each in shown]
        except OSError as error:
            raise FolderError(f"{displayed(named)}: cannot be listed: {error.strerror}") from error


def _long(path: Path) -> str:
    facts = path.lstat()
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(facts.st_mtime))
    return f"{stat.filemode(facts.st_mode)} {facts.st_size:>10} {when} {path.name}"
