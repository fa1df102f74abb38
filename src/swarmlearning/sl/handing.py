"""The folder between an SL and its ML process where they run as different users and share a group.

The folder is the SL's, with the sticky bit: the ML process adds files and removes its own, not those of the SL. What it
hands over is copied, since whoever owns a file can change it at any time; what it is given it can only read.
"""

import os
import stat
from pathlib import Path
from typing import Final

_SHARED: Final = 0o3770  # new files get the folder's group, and only their owner can remove them
_PIECE: Final = 2**20


def prepare_folder(folder: Path, group: int | None) -> None:
    """Makes the folder where it is missing, for its owner and for the group, if there is one.

    Raises `OSError`, also where the folder exists and is not one that `group` can use safely.
    """
    try:
        folder.mkdir(parents=True, mode=0o700)
    except FileExistsError:
        if group is not None:
            _check(folder, group)
        return
    if group is not None:
        os.chown(folder, -1, group)
        folder.chmod(_SHARED)


def _check(folder: Path, group: int) -> None:
    """Of the SL's user it has to be: nobody else may remove from it what the ML process has handed over."""
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_gid != group or stat.S_IMODE(found.st_mode) != _SHARED:
        raise OSError(
            0,
            f"it has owner {found.st_uid}, group {found.st_gid} and mode {stat.S_IMODE(found.st_mode):o}; to be shared "
            f"with the ML process it needs owner {os.geteuid()}, group {group} and mode {_SHARED:o}: remove it, and it "
            "is created again",
            str(folder),
        )


def is_foreign(path: Path) -> bool:
    """Whether a file is there that belongs to another user."""
    try:
        return path.lstat().st_uid != os.geteuid()
    except OSError:
        return False


def copy_handed(source: Path, target: Path, size: int) -> None:
    """Copies a file that a process of another user has written, of at most `size` bytes, and removes it.

    Raises `OSError`, also for a link, a pipe and a file that is longer.
    """
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as handed, target.open("r+b") as copy:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > size:
            raise OSError(0, f"it is not a regular file of at most {size} bytes", str(source))
        left = size
        while left and (piece := handed.read(min(left, _PIECE))):
            copy.write(piece)
            left -= len(piece)
        copy.truncate()
    source.unlink()


def link_readable(source: Path, target: Path, group: int | None) -> None:
    """Gives a file of this process's a second name, under which the group can read it too. Raises `OSError`."""
    if group is not None:
        os.chown(source, -1, group)
        source.chmod(0o640)
    os.link(source, target)
