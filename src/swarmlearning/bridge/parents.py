"""The folders above what the SL and the original's client share: who may replace it there."""

import errno
import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Final

_ACCESS_LIST: Final = "system.posix_acl_access"
_MOST_LINKS: Final = 40  # as many as the kernel follows


def check_parents(path: Path, group: int | None) -> None:
    """Raises OSError when users other than this one, root and the members of `group` could replace `path`.

    That is so where they own or can write to a folder on the way to it, or own a symbolic link on the way. In a folder
    with the sticky bit, such as /tmp, everybody can replace only what is theirs. Ends at the first part missing.
    """
    folder, links = Path("/"), 0
    ahead = list(reversed(path.absolute().parent.parts))  # the next part last
    while ahead:
        entry = folder / ahead.pop()
        try:
            found = entry.lstat()
        except FileNotFoundError:
            return
        if found.st_uid not in (os.geteuid(), 0):
            raise _replaceable(path, f"{entry} belongs to user {found.st_uid}")
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(entry))
            ahead += reversed(entry.readlink().parts)
        else:
            if _others_can_write(entry, found, group):
                raise _replaceable(path, f"others can write to {entry} (mode {stat.S_IMODE(found.st_mode):o})")
            folder = entry


def has_access_list(file: int | Path) -> bool:
    """Returns True if a POSIX access control list names further users or groups (acl(5))."""
    try:
        return bool(os.getxattr(file, _ACCESS_LIST))
    except (OSError, AttributeError):  # none, or none can be: the file system or the platform has no such lists
        return False


def remove_access_list(file: int) -> None:
    """Removes the list that a new file inherits from its folder, too. Raises OSError."""
    if has_access_list(file):
        os.removexattr(file, _ACCESS_LIST)


def _others_can_write(entry: Path, found: os.stat_result, group: int | None) -> bool:
    if found.st_mode & stat.S_ISVTX:
        return False
    if found.st_mode & stat.S_IWOTH:
        return True
    # The permissions of a group include those of every user whom an access control list names.
    by_group = bool(found.st_mode & stat.S_IWGRP)
    return by_group and (has_access_list(entry) or not (found.st_gid == group or _is_own_group(found.st_gid)))


def _is_own_group(gid: int) -> bool:
    """Returns True for a group of the user's name without other members, which many systems make for each user."""
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _replaceable(path: Path, reason: str) -> OSError:
    text = f"other users can replace it: {reason}. Choose a place below folders of this user's or root's alone"
    return OSError(0, text, str(path))
