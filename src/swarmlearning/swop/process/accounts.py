"""The users that ML processes run as."""

import grp
import hashlib
import os
import pwd
from typing import Final

from swarmlearning.swop.managing import ManagerError
from swarmlearning.swop.process.entering import Account
from swarmlearning.swop.profile import NodeDefinition

_FIRST_GROUP: Final = 0x5000_0000
"""From here on groups are a pair's own: no user database gives such numbers."""


def may_switch() -> bool:
    """Whether this process may start others as another user."""
    return os.geteuid() == 0


def account(node: NodeDefinition, key: str) -> Account | None:
    """The account of the ML process of a node's pair, which shares a group of its own with its SL.

    None where it runs as this process does: the profile names no user, or this process may not switch. Raises
    `ManagerError`.
    """
    if node.user is None or not may_switch():
        return None
    try:
        user = pwd.getpwuid(int(node.user)) if node.user.isdecimal() else pwd.getpwnam(node.user)
        uid, gid = user.pw_uid, user.pw_gid
    except KeyError:
        if not node.user.isdecimal():
            raise ManagerError("no-start", f"user {node.user!r} of node {node.index}: no such user here") from None
        uid = gid = int(node.user)
    if uid == os.geteuid():
        raise ManagerError("no-start", f"user {node.user!r} of node {node.index} is that of this SWOP: name another")
    return Account(uid, gid, (gid, shared_group(key, node.index), *_groups(node)))


def shared_group(key: str, index: int) -> int:
    """The group of the pair with this number of the attempt with this key."""
    digest = hashlib.sha256(f"{key}.{index}".encode()).digest()
    return _FIRST_GROUP | int.from_bytes(digest[:3], "big")


def _groups(node: NodeDefinition) -> list[int]:
    """The groups that the profile adds (`group-add`), such as video and render for GPUs."""
    try:
        return [int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid for name in node.options.groups]
    except KeyError as error:
        raise ManagerError("no-start", f"group-add of node {node.index}: {error}") from error
