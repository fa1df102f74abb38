"""Where things lie on a host. Pure.

PREFIX/swarm-ui.json           says that this folder is ours: without it, nothing is replaced or removed
PREFIX/versions/0.1.0-1a2b/    a version: its environment, and `complete` once it is whole
PREFIX/current                 the version that is used: a link, replaced in one step
PREFIX/bin                     a link to current/bin
PREFIX/bundles/0.1.0-1a2b/     the files of a bundle while it is installed
PREFIX/nodes/sn-1/             a node: how it is run and was started, its output, its certificates and data
PREFIX/projects/NAME/          a project that was deployed: its files, certificates and the data of its nodes
"""

import posixpath
import re
from dataclasses import dataclass
from typing import Final

from swarmlearning.errors import UserError

DEFAULT_PREFIX: Final = "/opt/hpe/swarm-learning"
"""The documented place of the original product. What somebody else has put there is not touched."""
MARKER: Final = "swarm-ui.json"
COMPLETE: Final = "complete"
LONGEST: Final = 200
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9_.+@-]+)+")
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_SYSTEM: Final = re.compile(
    "/(bin|boot|dev|etc|home|lib|lib64|media|mnt|opt|proc|root|run|sbin|srv|sys|tmp|var|usr|usr/(bin|lib|local|sbin|share))"
)


@dataclass(frozen=True)
class Layout:
    """The paths below a prefix, an absolute path. Raises `UserError` for one that cannot be ours alone."""

    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        plain = posixpath.normpath(self.prefix)
        if not _PREFIX.fullmatch(self.prefix) or plain != self.prefix or len(plain) > LONGEST:
            raise UserError(
                f"{self.prefix[:80]!r} is no folder to install into: it is an absolute path of letters, digits and "
                f"'-_.+@', without '..', such as {DEFAULT_PREFIX}"
            )
        if _SYSTEM.fullmatch(plain):
            raise UserError(f"{plain} belongs to the system; choose a folder for the product alone: {DEFAULT_PREFIX}")

    @property
    def marker(self) -> str:
        """The file that says that this folder is ours."""
        return f"{self.prefix}/{MARKER}"

    @property
    def current(self) -> str:
        """The link to the version that is used."""
        return f"{self.prefix}/current"

    @property
    def swarm(self) -> str:
        """The `swarm` command of the version that is used."""
        return f"{self.current}/bin/swarm"

    def version(self, version: str) -> str:
        """The folder of a version, by the name of its bundle. Raises `UserError` for what cannot be one."""
        return f"{self.prefix}/versions/{checked_version(version)}"

    def bundle(self, version: str) -> str:
        """Where the files of a version's bundle go."""
        return f"{self.prefix}/bundles/{checked_version(version)}"

    def node(self, name: str) -> str:
        """The folder of a node, such as `SN-1`."""
        return f"{self.prefix}/nodes/{name.lower()}"


def is_version(text: str) -> bool:
    """Whether this can be the name of a version: it is part of a path."""
    return _VERSION.fullmatch(text) is not None


def checked_version(version: str) -> str:
    """Raises `UserError` for what cannot be a version."""
    if not is_version(version):
        raise UserError(f"{version[:40]!r} is no version")
    return version
