"""What a user container may have besides (`usrcontaineropts`), and its limits, in the engine's terms. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from swarmlearning.swop.managing import Limits, ManagerError
from swarmlearning.swop.profile import ContainerOptions

_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([bkmgt]?)(?:i?b)?", re.IGNORECASE)
_POWER: Final[Mapping[str, int]] = {"": 0, "b": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_NO_NEW: Final = "no-new-privileges"


def user_options(options: ContainerOptions, security: Sequence[str]) -> dict[str, Any]:
    """The host configuration of these options; `security`: options that hold unless the profile has such of its own.

    Raises `ManagerError`.
    """
    host: dict[str, Any] = {
        "CapDrop": ["ALL"],
        "CapAdd": list(options.capabilities),
        "SecurityOpt": _security(options.security, security),
        "Devices": [_device(device) for device in options.devices],
        "DeviceRequests": [_gpus(options.gpus)] if options.gpus else [],
    }
    if options.ipc:
        host["IpcMode"] = options.ipc
    if options.shm_size:
        host["ShmSize"] = _bytes(options.shm_size)
    if options.privileged:
        host |= {"Privileged": True, "CapDrop": [], "SecurityOpt": list(options.security)}
    return host


def limit_options(limits: Limits) -> dict[str, Any]:
    """The host configuration of these limits, but for the time."""
    host: dict[str, Any] = {}
    if limits.cpus is not None:
        host["NanoCpus"] = round(limits.cpus * 10**9)
    if limits.memory_bytes is not None:
        host["Memory"] = host["MemorySwap"] = limits.memory_bytes
    if limits.processes is not None:
        host["PidsLimit"] = limits.processes
    return host


def _security(wanted: Sequence[str], default: Sequence[str]) -> list[str]:
    labelled = any(option.startswith("label") for option in wanted)
    own = list(wanted) if labelled else [*wanted, *default]
    return own if any(option.startswith(_NO_NEW) for option in wanted) else [_NO_NEW, *own]


def _device(device: str) -> dict[str, str]:
    """`/dev/kfd`, `/dev/a:/dev/b` or `/dev/a:/dev/b:rwm`."""
    outside, _, rest = device.partition(":")
    inside, _, permissions = rest.partition(":")
    return {
        "PathOnHost": outside,
        "PathInContainer": inside or outside,
        "CgroupPermissions": permissions or "rwm",
    }


def _gpus(gpus: str) -> dict[str, Any]:
    """`all`, a number of them, or `device=` and their numbers or UUIDs."""
    text = gpus.strip().strip("\"'")
    request: dict[str, Any] = {"Driver": "", "Capabilities": [["gpu"]], "Options": {}}
    if text == "all":
        return {**request, "Count": -1}
    if text.isascii() and text.isdecimal() and int(text) > 0:
        return {**request, "Count": int(text)}
    kind, _, devices = text.partition("=")
    if kind == "device" and devices:
        return {**request, "DeviceIDs": [device.strip() for device in devices.split(",")]}
    raise ManagerError("site", f"gpus: {gpus!r} is none of: all, a number, device=3,5")


def _bytes(size: str) -> int:
    match = _SIZE.fullmatch(size.strip())
    if match is None:
        raise ManagerError("site", f"shm-size: {size!r} is no size such as 64m or 8g")
    return int(float(match[1]) * 1024 ** _POWER[match[2].lower()])
