"""The two containers of a pair, as the engine is told to make them. Pure.

A container gets no more than the profile asks for: no capability, no further privilege. What makes SL and ML meet is
one volume (`FOLDER`, `SL_FOLDER`): the SL owns it, and a group that only these two containers have may use it too.
"""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from swarmlearning.swop.docker.mounts import (
    FOLDER,
    SL_FOLDER,
    Mount,
    identity_mounts,
    identity_variables,
    lock_mounts,
    lock_variables,
    user_mounts,
)
from swarmlearning.swop.docker.names import PairName, Part
from swarmlearning.swop.docker.options import limit_options, user_options
from swarmlearning.swop.docker.settings import User
from swarmlearning.swop.managing import ManagerError, Pair
from swarmlearning.swop.process.stacks import STACKS_SIGNAL, STACKS_VARIABLE
from swarmlearning.swop.profile import NodeDefinition, Profile

GROUP: Final = 58000
"""The group that SL and ML share: it belongs to nobody on a host."""
DATA: Final = f"{SL_FOLDER}/sl"
"""The SL's data directory: on the file system of the folder that it shares, and for the SL's user alone."""
SL_PORT: Final = 30305
START_SECONDS: Final = 600
"""Seconds that a script waits for its SL, which starts beside it."""
LOG_BYTES: Final = "64m"

_SL_OPTIONS: Final = ("--data-dir", DATA, "--bridge", "--bridge-dir", SL_FOLDER, "--channel-dir", SL_FOLDER)


class Site(NamedTuple):
    """What all pairs of a SWOP have in common; `selinux`: whether the engine labels processes."""

    profile: Profile
    sl_image: str
    user: User
    sl_user: User
    selinux: bool = False

    @property
    def on_host(self) -> bool:
        """Whether containers are in the host's network."""
        return self.profile.network == "host"


class _Container(NamedTuple):
    """What SL and user container differ in."""

    part: Part
    image: str
    user: User
    entrypoint: Sequence[str]
    command: Sequence[str]
    variables: Mapping[str, str]
    mounts: Sequence[Mount]
    shared: str
    labels: Mapping[str, str]
    hostname: str | None
    ip: str | None
    groups: Sequence[str]


def sl_spec(site: Site, name: PairName, pair: Pair) -> dict[str, Any]:
    """The request for the SL's container. Raises `ManagerError`."""
    node = pair.node
    container = _Container(
        part="sl",
        image=site.sl_image,
        user=site.sl_user._replace(gid=GROUP),  # Podman gives a new volume to the first user of a container
        groups=[str(site.sl_user.gid)],
        entrypoint=["swarm", "sl"],
        command=[*_SL_OPTIONS, "--ml-group", str(GROUP)],
        variables={**pair.sl_environment, **lock_variables(node.privacy_policy), **_sl_variables(site, pair)},
        mounts=[*identity_mounts(node.identity), *lock_mounts(node.privacy_policy)],
        shared=SL_FOLDER,
        labels=node.sl_labels,
        hostname=node.sl_hostname,
        ip=node.sl_ip,
    )
    port = _published(node)
    if port is None or site.on_host:
        return _request(site, name, container, {})
    opened = f"{SL_PORT}/tcp"
    request = _request(site, name, container, {"PortBindings": {opened: [{"HostPort": str(port)}]}})
    return {**request, "ExposedPorts": {opened: {}}}


def ml_spec(site: Site, name: PairName, pair: Pair) -> dict[str, Any]:
    """The request for the user container. Raises `ManagerError`."""
    node, run = pair.node, pair.run
    container = _Container(
        part="ml",
        image=pair.base,
        user=site.user,
        groups=[str(GROUP), *node.options.groups],
        entrypoint=_words(run.entrypoint),
        command=_words(run.command),
        variables={**pair.ml_environment, **_channels(FOLDER), **_ML_VARIABLES},
        mounts=user_mounts(pair),
        shared=FOLDER,
        labels=node.user_labels,
        hostname=node.user_hostname,
        ip=node.user_ip,
    )
    host = {**user_options(node.options, _security(site, name)), **limit_options(pair.limits)}
    return {**_request(site, name, container, host), "WorkingDir": run.working_dir}


_ML_VARIABLES: Final[Mapping[str, str]] = {
    "SWARM_CHANNEL": f"{FOLDER}/ml.sock",
    "SWARM_START_SECONDS": str(START_SECONDS),
    STACKS_VARIABLE: str(int(STACKS_SIGNAL)),
}


def _request(site: Site, name: PairName, container: _Container, host: Mapping[str, Any]) -> dict[str, Any]:
    profile = site.profile
    shared = Mount("VOLUME", name.volume, container.shared)
    request = {
        "Image": container.image,
        "User": str(container.user),
        "Entrypoint": list(container.entrypoint),
        "Cmd": list(container.command),
        "Env": [f"{key}={value}" for key, value in container.variables.items()],
        "Labels": {**container.labels, **name.labels(container.part)},
        "HostConfig": {
            "NetworkMode": profile.network,
            "Dns": list(profile.dns),
            "Mounts": [mount.request for mount in (*container.mounts, shared)],
            "GroupAdd": list(container.groups),
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges", *_security(site, name)],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": LOG_BYTES}},
            **host,
        },
    }
    if site.on_host:
        return request
    if container.hostname:
        request["Hostname"] = container.hostname
    return {**request, "NetworkingConfig": {"EndpointsConfig": {profile.network: _endpoint(container, profile)}}}


def _endpoint(container: _Container, profile: Profile) -> dict[str, Any]:
    """The container in the network: by its host name for others, as far as the network has names."""
    endpoint: dict[str, Any] = {}
    if container.ip:
        endpoint["IPAMConfig"] = {"IPv4Address": container.ip}
    if container.hostname and profile.network != "bridge":
        endpoint["Aliases"] = [container.hostname]
    return endpoint


def _sl_variables(site: Site, pair: Pair) -> dict[str, str]:
    """What only containers make known: identity and channels, and where others reach the SL."""
    node = pair.node
    variables = {**identity_variables(node.identity), **_channels(SL_FOLDER)}
    if node.sl_service:
        variables["SL_FS_SERVICE"] = node.sl_service
    outside = node.sl_environment.get("THIS_NODE_IP") or node.sl_host_ip
    variables["THIS_NODE_IP"] = outside or node.sl_ip or "auto"
    if site.on_host:
        return {**variables, "SL_FS_PORT": str(node.sl_port or SL_PORT)}
    port = (_published(node) if outside else None) or SL_PORT
    return {**variables, "SL_FS_PORT": str(port), "SL_FS_LISTEN_PORT": str(SL_PORT)}


def _channels(folder: str) -> dict[str, str]:
    """The pipes of the original's protocol."""
    return {"SL_REQUEST_CHANNEL": f"{folder}/request.channel", "SL_RESPONSE_CHANNEL": f"{folder}/response.channel"}


def _published(node: NodeDefinition) -> int | None:
    """The host's port at which the SL's file server is published; with a relay nothing listens."""
    if node.sl_relay:
        return None
    if node.sl_port is None and node.sl_service and ":" in node.sl_service:
        return int(node.sl_service.rpartition(":")[2])
    return node.sl_port


def _security(site: Site, name: PairName) -> list[str]:
    """For SELinux: the two containers of a pair have one level, without which they could not connect."""
    if not site.selinux:
        return []
    digest = hashlib.sha256(name.volume.encode()).digest()
    low = int.from_bytes(digest[:2], "big") % 512
    high = 512 + int.from_bytes(digest[2:4], "big") % 512
    return [f"label=level:s0:c{low},c{high}"]


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ManagerError("unsupported", f"{command}: not a command ({error})") from error
