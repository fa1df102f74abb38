"""Where the PROCESS manager keeps what it makes and starts, below one folder.

attempts/KEY/INDEX/     a pair: `shared` (its /tmp/hpe-swarm), `data` (its SL's), `home`, `view`, `sl` and `ml`
logs/KEY/               INDEX-sl.log and INDEX-ml.log of each pair; those of the newest attempts stay
environments/DIGEST/    virtual environments
volumes/NAME/           volumes, and content that tasks have made
outcomes/               what is known of the outcomes of tasks
builds/                 what builds have printed
"""

import errno
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from swarmlearning.files import make_private
from swarmlearning.swop.managing import ManagerError

LOGS_KEPT: Final = 20
"""Attempts, and builds, whose logs are kept."""
DEEPEST: Final = 128
_VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


class PairPlaces(NamedTuple):
    """The folders and logs of a pair."""

    folder: Path
    sl_log: Path
    ml_log: Path

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def view(self) -> Path:
        return self.folder / "view"


class Places:
    """Everything below `root`, which `prepare` makes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.attempts, self.logs = root / "attempts", root / "logs"
        self.environments, self.volumes = root / "environments", root / "volumes"
        self.outcomes, self.builds = root / "outcomes", root / "builds"

    def prepare(self) -> None:
        """Makes what is missing, for its owner alone. Raises `OSError`."""
        for folder in (self.attempts, self.logs, self.environments, self.volumes, self.outcomes, self.builds):
            make_private(folder)

    def pair(self, key: str, index: int) -> PairPlaces:
        """The places of a pair of the attempt with this key."""
        logs = self.logs / key
        return PairPlaces(self.attempts / key / str(index), logs / f"{index}-sl.log", logs / f"{index}-ml.log")

    def volume(self, name: str) -> Path:
        """The folder of a volume, which need not be there. Raises `ManagerError` for what is no name of one."""
        if not _VOLUME.fullmatch(name):
            raise ManagerError("unsupported", f"{name!r} is no name of a volume: letters, digits, _, . and - make one")
        return self.volumes / name

    def admit_others(self, folder: Path) -> None:
        """Lets other users pass through to `folder`, though not list what is on the way. Raises `ManagerError`."""
        for passed in (folder, *folder.parents):
            found = passed.stat()
            if found.st_mode & stat.S_IXOTH:
                continue
            if not (passed.is_relative_to(self.root) or passed == self.root.parent):
                raise ManagerError(
                    "site", f"the user of the ML process cannot pass through {passed}: name another --data-dir"
                )
            passed.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)

    def forget_old_logs(self) -> None:
        """Removes the logs of all but the newest attempts and builds that are over."""
        over = [folder for folder in self.logs.iterdir() if not (self.attempts / folder.name).exists()]
        for folder in _oldest(over):
            remove(folder)
        for log in _oldest(list(self.builds.iterdir())):
            log.unlink()


def _oldest(logs: Sequence[Path]) -> Sequence[Path]:
    """Those beyond the ones to keep."""
    return sorted(logs, key=lambda one: one.stat().st_mtime, reverse=True)[LOGS_KEPT:]


def open_to_readers(folder: Path) -> None:
    """Lets all users read what is in a folder, whatever mask it was made with. Raises `OSError`."""
    for one in (folder, *walk(folder)):
        if not one.is_symlink():
            mode = stat.S_IMODE(one.stat().st_mode)
            one.chmod(mode | 0o044 | (mode & 0o100) >> 3 | (mode & 0o100) >> 6)


def walk(folder: Path) -> Iterator[Path]:
    """All that is in a folder, each folder before its content; links are not followed.

    Raises `OSError` for what cannot be looked into, and for more than `DEEPEST` folders within each other.
    """
    left = [(folder, 0)]
    while left:
        above, depth = left.pop()
        if depth > DEEPEST:
            raise OSError(errno.ENAMETOOLONG, f"more than {DEEPEST} folders within each other", str(above))
        for one in sorted(above.iterdir()):
            yield one
            if one.is_dir() and not one.is_symlink():
                left.append((one, depth + 1))


def remove(folder: Path) -> None:
    """Removes a folder with all that is in it. Raises `OSError`.

    Scripts may have taken permissions away, and nested folders deeper than paths can name: so folders within folders
    are moved up first. Nothing that can change it may run any more.
    """
    with suppress(FileNotFoundError):
        _empty(folder)
        folder.rmdir()


def _empty(folder: Path) -> None:
    folder.chmod(0o700)
    name, moved = secrets.token_hex(8), 0  # of which no script has made one
    while inner := _without_files(folder):
        for one in inner:
            one.chmod(0o700)
            for each in _without_files(one):
                each.chmod(0o700)  # its entry for the folder above it changes
                each.rename(folder / f"{name}.{moved}")
                moved += 1
            one.rmdir()


def _without_files(folder: Path) -> list[Path]:
    """Removes what is no folder from a folder; returns what is left."""
    left = []
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            left.append(each)
        else:
            each.unlink()
    return left
