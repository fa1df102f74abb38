"""What a site decides for its containers, beside the profile: by the original's variables, and by some of ours."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from swarmlearning.swop.content import DEFAULT_BOUNDS, Bounds
from swarmlearning.swop.docker.engine import Address, address_from
from swarmlearning.swop.managing import ManagerError

INFORMATION: Final = Path("/tmp/container_info_file")
"""What `run-swop` puts into the SWOP's container: its ID, the name of its image, and the image's ID."""
PROXIES: Final = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


class User(NamedTuple):
    """A user and a group by their numbers."""

    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}"


@dataclass(frozen=True)
class DockerSettings:
    """`swop`: the SWOP's UID; `folder`: where logs and records of its containers lie; `sl_image`: the SL's image.

    `user`: whom user containers run as; `sl_user`: whom SLs run as, who has to be able to read their keys. `keep`:
    stopped containers stay. `proxies`: variables for image builds. `roots`: see `content.fill`.
    """

    address: Address
    swop: str
    folder: Path
    sl_image: str
    user: User
    sl_user: User
    keep: bool = False
    proxies: Mapping[str, str] = field(default_factory=dict)
    roots: tuple[Path, ...] = ()
    bounds: Bounds = DEFAULT_BOUNDS

    @classmethod
    def read(
        cls,
        environment: Mapping[str, str],
        swop: str,
        folder: Path,
        roots: tuple[Path, ...] = (),
        information: Path = INFORMATION,
    ) -> "DockerSettings":
        """The settings that the variables state: DOCKER_HOST and those with it, SWOP_UID, SWOP_GID,
        SWOP_KEEP_CONTAINERS, the proxies; and of ours SWOP_SL_IMAGE and SWOP_SL_USER (`uid:gid`).

        Raises `ManagerError`.
        """
        user = User(
            _number("SWOP_UID", environment.get("SWOP_UID") or str(os.getuid())),
            _number("SWOP_GID", environment.get("SWOP_GID") or str(os.getgid())),
        )
        return cls(
            address=address_from(environment),
            swop=swop,
            folder=folder,
            sl_image=environment.get("SWOP_SL_IMAGE") or sl_image_beside(information),
            user=user,
            sl_user=_user("SWOP_SL_USER", environment.get("SWOP_SL_USER") or str(user)),
            keep=environment.get("SWOP_KEEP_CONTAINERS", "").strip().lower() in ("true", "1", "yes", "on"),
            proxies={name: environment[name] for name in PROXIES if environment.get(name)},
            roots=roots,
        )


def sl_image_beside(information: Path) -> str:
    """The SL's image beside that of the SWOP, which the file names: of the same version. Raises `ManagerError`."""
    try:
        name = information.read_text(encoding="utf-8")[:4096].splitlines()[1].strip()
    except (OSError, UnicodeDecodeError, IndexError):
        name = ""
    path, slash, last = name.rpartition("/")
    repository, colon, tag = last.partition(":")
    if repository != "swop":
        raise ManagerError(
            "site",
            f"the image of the SL nodes is not known: set SWOP_SL_IMAGE ({information}, which run-swop writes, names "
            "no image of a SWOP beside which it would be)",
        )
    return f"{path}{slash}sl{colon}{tag}"


def _user(name: str, given: str) -> User:
    uid, _, gid = given.partition(":")
    return User(_number(name, uid), _number(name, gid))


def _number(name: str, given: str) -> int:
    number = given.strip()
    if not (number.isascii() and number.isdecimal()) or int(number) >= 2**31:
        raise ManagerError("site", f"{name}: {given!r} is not the number of a user or group")
    return int(number)
