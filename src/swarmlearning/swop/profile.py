"""A SWOP's profile: how a site runs its part of tasks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from swarmlearning.taskfiles.definition import MountType


class IdentityFile(NamedTuple):
    """An attribute of a node's identity: a file or folder of the site, or in a volume, that it sees at `target`."""

    kind: Literal["KEY", "CERT", "CACERT", "CAPATH", "SPIFFE_SOCKETPATH"]
    mount: MountType
    source: str
    target: str
    sub_path: str | None = None


class PrivateData(NamedTuple):
    """The folder or volume of the site that appears at a task's PrivateContent."""

    source: str
    kind: MountType


class ContainerOptions(NamedTuple):
    """What a user container may have besides (`usrcontaineropts`); empty where the profile names nothing."""

    gpus: str | None = None
    devices: tuple[str, ...] = ()
    ipc: str | None = None
    shm_size: str | None = None
    groups: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    security: tuple[str, ...] = ()
    privileged: bool = False


@dataclass(frozen=True)
class NodeDefinition:
    """One SL+ML pair that this SWOP can start (`slnodedef`)."""

    index: int
    identity: tuple[IdentityFile, ...] = ()
    sl_hostname: str | None = None
    sl_host_ip: str | None = None
    sl_port: int | None = None
    sl_service: str | None = None
    sl_relay: bool | None = None
    """Whether the SL is reached through an SN's relay alone, or never; None: where others cannot connect (ours)."""
    private_data: PrivateData | None = None
    sl_environment: Mapping[str, str] = field(default_factory=dict)
    sl_labels: Mapping[str, str] = field(default_factory=dict)
    sl_ip: str | None = None
    user_hostname: str | None = None
    user_environment: Mapping[str, str] = field(default_factory=dict)
    user_labels: Mapping[str, str] = field(default_factory=dict)
    user_ip: str | None = None
    options: ContainerOptions = field(default_factory=ContainerOptions)
    user: str | None = None
    """The local user that runs the ML command (ours; PROCESS)."""
    privacy_policy: str | None = None
    """The policy file of the SL's privacy lock, in a folder of its own with the lock's record (ours)."""


@dataclass(frozen=True)
class Profile:
    """The whole profile. `api_host`, `api_port`, `api_service`: its SN, where it names one."""

    group: str
    taskrunner: str
    manager: Literal["DOCKER", "PROCESS"]
    network: str
    nodes: tuple[NodeDefinition, ...]
    api_host: str | None = None
    api_port: int | None = None
    api_service: str | None = None
    license_host: str | None = None
    license_port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    dns: tuple[str, ...] = ()
    policy_uri: str | None = None
    hang_seconds: float | None = None
    end_hung: bool = False
    witness: bool = False
