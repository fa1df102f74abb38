"""What the site's policy allows a pair, enforced by a control group (cgroup v2) of the pair where this process has a
subtree of its own, as under systemd with `Delegate=yes`.

Without one, the number of processes alone can be limited, and only of an ML process with a user of its own. A limit
that cannot be enforced is refused: address space (RLIMIT_AS) says nothing about memory that is used, and processor
affinity can be widened by whoever is bound.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from swarmlearning.swop.managing import Limits, ManagerError

CONTROLLERS: Final = ("memory", "cpu", "pids")
_PERIOD: Final = 100_000  # microseconds
_OWN: Final = "swop"
HOW: Final = "under systemd `Delegate=yes` in the SWOP's unit allows it"


class ControlGroups:
    """The subtree at `base`, in which each pair with limits gets a group; None: this process has none."""

    def __init__(self, base: Path | None) -> None:
        self.base = base

    @classmethod
    def of_this_process(cls) -> "ControlGroups":
        """The subtree that was delegated to this process; nothing is changed in it yet."""
        with suppress(OSError):
            base = _own_group()
            if base is not None and _is_delegated(base):
                controllers = (base / "cgroup.controllers").read_text().split()
                return cls(base if set(CONTROLLERS) <= set(controllers) else None)
        return cls(None)

    def make(self, name: str, limits: Limits) -> Path | None:
        """The group of a pair with these limits; None where none of them needs one. Raises `ManagerError`."""
        demanded = [name for name, value in limits._asdict().items() if name != "seconds" and value is not None]
        if not demanded:
            return None
        if self.base is None:
            raise ManagerError(
                "unsupported",
                f"the site's policy limits {' and '.join(demanded)} of a pair, and this SWOP has no control group "
                f"(cgroup v2) of its own to enforce that: {HOW}",
            )
        group = self.base / name
        try:
            _make_room(self.base)
            group.mkdir(exist_ok=True)
            for file, value in _settings(limits).items():
                (group / file).write_text(value)
            with suppress(FileNotFoundError):  # where the kernel does not count swap
                if limits.memory_bytes is not None:
                    (group / "memory.swap.max").write_text("0")
        except OSError as error:
            raise ManagerError("site", f"{error.filename or group}: {error.strerror}") from error
        return group

    def remove(self, name: str) -> None:
        """Ends whatever is left in a pair's group, and removes it."""
        if self.base is None:
            return
        group = self.base / name
        with suppress(OSError):
            (group / "cgroup.kill").write_text("1")
        with suppress(OSError):
            group.rmdir()


def _settings(limits: Limits) -> dict[str, str]:
    settings: dict[str, str] = {}
    if limits.memory_bytes is not None:
        settings["memory.max"] = str(limits.memory_bytes)
    if limits.cpus is not None:
        settings["cpu.max"] = f"{max(1000, int(limits.cpus * _PERIOD))} {_PERIOD}"
    if limits.processes is not None:
        settings["pids.max"] = str(limits.processes)
    return settings


def _own_group() -> Path | None:
    """The folder of this process's group; None where the host has no cgroup v2."""
    mounted = _mounted()
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    path = next((line[3:] for line in lines if line.startswith("0::/")), None)
    if mounted is None or path is None:
        return None
    group = mounted / path.lstrip("/")
    return group.parent if group.name == _OWN else group


def _mounted() -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup2 " in line:
            return Path(line.split()[4])
    return None


def _is_delegated(group: Path) -> bool:
    """Whether whoever manages the host's groups leaves this one to us: systemd marks it, and the group that is the
    root of a container has limits, which a host's root has not."""
    for mark in ("trusted.delegate", "user.delegate"):
        with suppress(OSError):
            if os.getxattr(group, mark) == b"1":
                return True
    return group == _mounted() and (group / "memory.max").exists() and os.access(group, os.W_OK)


def _make_room(base: Path) -> None:
    """Moves the processes of the group into one below it, since only a group without processes can limit others."""
    own = base / _OWN
    own.mkdir(exist_ok=True)
    for pid in (base / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):
            (own / "cgroup.procs").write_text(pid)
    (base / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in CONTROLLERS))
