"""What of the site a pair's containers see, and where: identity, private data, shared content, and their own volume."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from swarmlearning.swop.managing import ManagerError, Pair
from swarmlearning.swop.profile import IdentityFile
from swarmlearning.taskfiles.definition import MountType

FOLDER: Final = "/tmp/hpe-swarm"
"""The folder that SL and ML share; the original's client has it built in."""

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
    return _distinct(Mount(each.mount, each.source, each.target, read_only=True) for each in identity)


def identity_variables(identity: Iterable[IdentityFile]) -> dict[str, str]:
    """The variables by which an SL finds its identity."""
    return {_VARIABLES[each.kind]: _below(each.target, each.sub_path) for each in identity}


def user_mounts(pair: Pair) -> list[Mount]:
    """The mounts of a user container, but for the folder that it shares with its SL. Raises `ManagerError`."""
    mounts = [Mount(shared.kind, shared.source, shared.target) for shared in pair.run.shared_content]
    private = pair.node.private_data
    if pair.run.private_content and private:
        mounts.append(Mount(private.kind, private.source, pair.run.private_content))
    elif pair.run.private_content:
        raise ManagerError(
            "site",
            f"node {pair.node.index} of the profile has no privatedata, and the task wants some at "
            f"{pair.run.private_content}",
        )
    return _distinct(mounts)


def _distinct(mounts: Iterable[Mount]) -> list[Mount]:
    """Each mount once. Raises `ManagerError` where two of them want the same place."""
    found: dict[str, Mount] = {}
    for mount in mounts:
        place = mount.target.rstrip("/") or "/"
        if found.setdefault(place, mount) != mount:
            raise ManagerError("site", f"{found[place].source} and {mount.source} cannot both be at {place}")
        if (place + "/").startswith(f"{FOLDER}/"):
            raise ManagerError("site", f"{mount.source} cannot be at {place}: {FOLDER} is shared with the SL alone")
    return list(found.values())


def _below(target: str, sub_path: str | None) -> str:
    return f"{target.rstrip('/')}/{sub_path.strip('/')}" if sub_path else target
