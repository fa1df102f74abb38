"""Access to what the SL and the original's client share: the SL's own user, or also one group where an operator wants
that, since the client runs as another user.

What lies there is unpickled by the client: anyone who can write it runs code as the client's user. So all of it has
this process's user as its owner, one name (no hard link to a file elsewhere), and no permission for anybody else. Files
and pipes that exist are tightened where that is needed; a folder that exists is used as it is or refused; nothing is
ever loosened. All is judged and changed by descriptor, never by path, so that it cannot be replaced meanwhile; and
nobody else can replace the folders above it (`parents.py`).
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from swarmlearning.bridge.parents import check_parents, has_access_list, remove_access_list

OPEN_FLAGS: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""For every descriptor that is judged here."""

_NAMES: Final = {stat.S_IFDIR: "a folder", stat.S_IFREG: "a plain file", stat.S_IFIFO: "a pipe"}


class Access:
    """`group`: the ID of the group that may read and write too, or None."""

    def __init__(self, group: int | None = None) -> None:
        self._group = group

    def check_parents(self, path: Path) -> None:
        """Raises OSError when others could replace `path`, by the folders above it."""
        check_parents(path, self._group)

    def secure(self, descriptor: int, name: str, kind: int, *, made: bool) -> None:
        """Checks what is open, and leaves it with the permissions it is to have; `made`: by this process, just now.

        `kind`: its type as in `stat.S_IFMT`. Raises OSError with a text about `name`.
        """
        found = os.fstat(descriptor)
        self._check(found, name, kind)
        allowed = self._mode(kind)
        if kind == stat.S_IFDIR and not made and has_access_list(descriptor):
            raise OSError(0, "it has an access control list (getfacl): remove that with setfacl -b", name)
        remove_access_list(descriptor)
        if made and self._group is not None:
            os.fchown(descriptor, -1, self._group)
            os.fchmod(descriptor, allowed)
        elif kind == stat.S_IFDIR and stat.S_IMODE(found.st_mode) & ~allowed & 0o022:
            mode = f"{stat.S_IMODE(found.st_mode):o}"
            raise OSError(0, f"others can write to this folder (mode {mode}): choose or make one of its own", name)
        elif kind != stat.S_IFDIR and stat.S_IMODE(found.st_mode) & ~allowed:
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & allowed)
        if self._group is not None and not made and (found.st_gid, found.st_mode & 0o060) != (self._group, 0o060):
            raise OSError(
                0, f"group {self._group} cannot use it: remove it, and it is created again for that group", name
            )

    def _check(self, found: os.stat_result, name: str, kind: int) -> None:
        if stat.S_IFMT(found.st_mode) != kind:
            raise OSError(0, f"there is something else of that name, not {_NAMES[kind]}", name)
        trusted = {os.geteuid(), 0} if kind == stat.S_IFDIR else {os.geteuid()}
        if found.st_uid not in trusted:
            raise OSError(
                0,
                f"it belongs to user {found.st_uid}, and this SL node runs as user {os.geteuid()}: remove it. For a "
                "client of another user see --ml-group",
                name,
            )
        if kind != stat.S_IFDIR and found.st_nlink != 1:
            raise OSError(0, f"it has {found.st_nlink} names (hard links), and must have one: remove it", name)

    def _mode(self, kind: int) -> int:
        owner, group = (0o700, 0o070) if kind == stat.S_IFDIR else (0o600, 0o060)
        return owner | (0 if self._group is None else group)


def problem(error: OSError) -> str:
    """Returns the reason that something could not be opened, as a user understands it."""
    return "a symbolic link, which is not followed: remove it" if error.errno == errno.ELOOP else str(error.strerror)
