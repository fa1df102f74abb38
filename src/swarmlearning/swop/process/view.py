"""The file system as an ML process sees it: that of the host with folders of the site mounted at the task's paths.

A mount namespace of the process alone, made by root, or by any user inside a user namespace. A mount point that the
host does not have is made without touching the host: the folder above it is replaced by one of the pair's own, in
which everything that was there is mounted at its place. So the process also has a `/tmp` of its own to write to.

Standard library only: the warden's child uses this between fork and exec.
"""

import ctypes
import os
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

_NEWNS, _NEWUSER = 0x00020000, 0x10000000  # unshare(2)
_BIND, _REC, _PRIVATE = 0x1000, 0x4000, 0x40000  # mount(2)
_DETACH = 2  # umount2(2)
MOST_ENTRIES: Final = 20_000
"""Entries of a folder that are mounted one by one at most."""


class Mount(NamedTuple):
    """`source`, a path without links, appears at `target`; a `fresh` one also where the host has something of that
    name, which is ignored."""

    source: str
    target: str
    fresh: bool = False


class ViewError(Exception):
    """The view cannot be made; the message says why."""


def enter(scratch: Path, mounts: Sequence[Mount], folders: Sequence[str] = ()) -> None:
    """Moves this process into a view of its own, in which `folders` exist too.

    `scratch`: an empty folder, for mount points. Single-threaded processes only. Raises `ViewError`.
    """
    try:
        _unshare()
        _mount("none", "/", _REC | _PRIVATE)
        root = scratch / "root"
        root.mkdir()
        _mount("/", root, _BIND | _REC)
        tree = _Tree(root, scratch)
        for mount in sorted(mounts, key=lambda one: one.target):
            tree.add(mount)
        for folder in folders:
            tree.make(_inside(folder), is_folder=True, fresh=False)
        _pivot(root)
    except OSError as error:
        raise ViewError(f"{error.filename or 'the view'}: {error.strerror}") from error


def _unshare() -> None:
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _call("unshare", _NEWNS)
        return
    _call("unshare", _NEWNS | _NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


class _Tree:
    """The new root below `root`, with folders of its own from `scratch` where mount points are missing."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._root = root
        self._scratch = scratch
        self._own: set[Path] = set()

    def add(self, mount: Mount) -> None:
        source = _open(mount.source)
        try:
            is_folder = stat.S_ISDIR(os.fstat(source).st_mode)
            target = _parent_inside(mount.target) if mount.fresh else _inside(mount.target)
            place = self.make(target, is_folder=is_folder, fresh=mount.fresh)
            _mount(f"/proc/self/fd/{source}", place, _BIND | _REC)
        finally:
            os.close(source)

    def make(self, path: PurePosixPath, *, is_folder: bool, fresh: bool) -> Path:
        """The place of this path below the new root, made where it is missing."""
        place = self._root
        for depth, part in enumerate(path.parts, 1):
            above, place = place, place / part
            last = depth == len(path.parts)
            if last and fresh and place not in self._own:
                self._replace(above, without=part)
            if not place.exists():
                self._replace(above)
                _create(place, is_folder=is_folder or not last)
                self._own.add(place)
        return place

    def _replace(self, folder: Path, without: str = "") -> None:
        """Puts a folder of the pair's own in the place of `folder`, with all that is in it at the same place."""
        if folder in self._own:
            return
        own = self._scratch / str(len(self._own))
        own.mkdir()
        entries = [entry for entry in os.scandir(folder) if entry.name != without]
        if len(entries) > MOST_ENTRIES:
            shown = f"/{folder.relative_to(self._root)}"
            raise ViewError(
                f"{shown} has {len(entries)} entries, and {MOST_ENTRIES} at most are shown beside a new mount point: "
                "remove some, or make the folder that the task mounts there"
            )
        for entry in entries:
            with suppress(FileNotFoundError):  # it has gone meanwhile
                _show(Path(entry.path), own / entry.name)
        _like(folder, own)
        _mount(own, folder, _BIND | _REC)
        self._own.add(folder)


def _show(entry: Path, place: Path) -> None:
    mode = entry.lstat().st_mode
    if stat.S_ISLNK(mode):
        place.symlink_to(entry.readlink())
        return
    _create(place, is_folder=stat.S_ISDIR(mode))
    _mount(entry, place, _BIND | _REC)


def _create(place: Path, *, is_folder: bool) -> None:
    if is_folder:
        place.mkdir(mode=0o755)
        place.chmod(0o777 | stat.S_ISVTX)  # as new to the host, it is the pair's: its user may write there
    else:
        place.touch()


def _like(folder: Path, own: Path) -> None:
    found = folder.stat()
    if os.geteuid() == 0:
        os.chown(own, found.st_uid, found.st_gid)
    own.chmod(stat.S_IMODE(found.st_mode))


def _open(source: str) -> int:
    """A descriptor of what is at this path, which no link leads elsewhere, whoever may put one there meanwhile."""
    found = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in PurePosixPath(source).relative_to("/").parts:
        above = found
        try:
            found = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        except OSError as error:
            raise ViewError(f"{source}: {error.strerror}") from error
        finally:
            os.close(above)
        if stat.S_ISLNK(os.fstat(found).st_mode):
            os.close(found)
            raise ViewError(f"{source}: {part} is a link by now")
    return found


def _inside(path: str) -> PurePosixPath:
    """The real path on the host, relative to its root: a link on the way would lead out of the new root."""
    return PurePosixPath(os.path.realpath(path)).relative_to("/")


def _parent_inside(path: str) -> PurePosixPath:
    """The same where the last part counts as missing, also if it is a link."""
    return _inside(str(PurePosixPath(path).parent)) / PurePosixPath(path).name


def _pivot(root: Path) -> None:
    os.chdir(root)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", _DETACH)
    os.chdir("/")


def _mount(source: str | Path, target: str | Path, flags: int) -> None:
    _call("mount", os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None, about=str(target))


def _call(name: str, *arguments: object, about: str | None = None) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), about or name)


def main(scratch: str) -> None:
    """A trial: exit status 0 where this user can make views on this host, else a line that says why not."""
    try:
        enter(Path(scratch), [Mount(scratch, "/tmp/hpe-swarm", fresh=True)])
    except ViewError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1])
