"""Where the PROCESS manager keeps what it makes and starts, below one folder.

attempts/KEY/INDEX/     a pair: `shared` (its /tmp/hpe-swarm), `data` (its SL's), `home`, `view`, `sl` and `ml`
logs/KEY/               INDEX-sl.log and INDEX-ml.log of each pair; those of the newest attempts stay
environments/DIGEST/    virtual environments
volumes/NAME/           volumes, and content that tasks have made
outcomes/               what is known of the outcomes of tasks
builds/                 what builds have printed
"""

import os
import re
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from swarmlearning.files import make_private
from swarmlearning.swop.managing import ManagerError

LOGS_KEPT: Final = 20
"""Attempts, and builds, whose logs are kept."""
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
    """Lets all users read what is in a folder, whatever mask it was made with."""
    for path, _, files in os.walk(folder):
        for name in ("", *files):
            one = Path(path) / name
            if not one.is_symlink():
                mode = stat.S_IMODE(one.stat().st_mode)
                one.chmod(mode | 0o044 | (mode & 0o100) >> 3 | (mode & 0o100) >> 6)


def remove(folder: Path) -> None:
    """Removes a folder with all that is in it, also where a process has taken permissions away. Raises `OSError`."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except PermissionError:
        for path, folders, _ in os.walk(folder):  # from the top, so that each can be entered when its turn comes
            for inner in ("", *folders):
                if not (Path(path) / inner).is_symlink():
                    (Path(path) / inner).chmod(0o700)
        shutil.rmtree(folder)
