"""What of the site a pair's containers see, and where: identity, private data, shared content, and their own volume."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from swarmlearning.swop.managing import Pair, check_targets, normal_path
from swarmlearning.swop.profile import IdentityFile
from swarmlearning.taskfiles.definition import MountType

FOLDER: Final = "/tmp/hpe-swarm"
"""The folder that SL and ML share, as the ML process sees it; the original's client has it built in."""
SL_FOLDER: Final = "/tmp/swarm-pair"
"""The same folder as the SL sees it, where no image has one, so that the SL owns it.

Podman gives a new volume the owner of the image's folder at that place. And where that is another, in a folder with the
sticky bit, Linux refuses the script to open the SL's files for writing (`fs.protected_regular=2`).
"""

LOCK_FOLDER: Final = "/swarm-privacy"
"""Where an SL has the policy of its privacy lock."""

_VARIABLES: Final[Mapping[str, str]] = {
    "KEY": "SWARM_ID_KEY",
    "CERT": "SWARM_ID_CERT",
    "CACERT": "SWARM_ID_CACERT",
    "CAPATH": "SWARM_ID_CAPATH",
    "SPIFFE_SOCKETPATH": "SWARM_SPIFFE_WORKLOAD_API_SOCKET_PATH",
}


class Mount(NamedTuple):
    """A folder or file of the site, or a volume, as a container sees it."""

    kind: MountType
    source: str
    target: str
    read_only: bool = False

    @property
    def request(self) -> dict[str, object]:
        """As the engine is told."""
        kind = {"BIND": "bind", "VOLUME": "volume"}[self.kind]
        return {"Type": kind, "Source": self.source, "Target": self.target, "ReadOnly": self.read_only}


def identity_mounts(identity: Iterable[IdentityFile]) -> list[Mount]:
    """The mounts of an SL's identity, which it cannot change. Raises `ManagerError`."""
    return _distinct((Mount(each.mount, each.source, each.target, read_only=True) for each in identity), SL_FOLDER)


def identity_variables(identity: Iterable[IdentityFile]) -> dict[str, str]:
    """The variables by which an SL finds its identity."""
    return {_VARIABLES[each.kind]: _below(each.target, each.sub_path) for each in identity}


def lock_mounts(policy: str | None) -> list[Mount]:
    """The mount of the folder with the policy of an SL's privacy lock and its record, which the SL writes."""
    return [Mount("BIND", policy.rpartition("/")[0], LOCK_FOLDER)] if policy else []


def lock_variables(policy: str | None) -> dict[str, str]:
    """The variable by which an SL finds that policy."""
    return {"SL_PRIVACY_POLICY": f"{LOCK_FOLDER}/{policy.rpartition('/')[2]}"} if policy else {}


def user_mounts(pair: Pair) -> list[Mount]:
    """The mounts of a user container, but for the folder that it shares with its SL. Raises `ManagerError`."""
    mounts = [Mount(shared.kind, shared.source, shared.target) for shared in pair.run.shared_content]
    if private := pair.private_content:
        data, target = private
        mounts.append(Mount(data.kind, data.source, target))
    return _distinct(mounts, FOLDER)


def _distinct(mounts: Iterable[Mount], shared: str) -> list[Mount]:
    """Each mount once. Raises `ManagerError` where two of them want the same place, or the shared folder."""
    given = list(mounts)
    check_targets(((mount.source, mount.target) for mount in given), shared)
    return list({normal_path(mount.target): mount for mount in given}.values())


def _below(target: str, sub_path: str | None) -> str:
    return f"{target.rstrip('/')}/{sub_path.strip('/')}" if sub_path else target
