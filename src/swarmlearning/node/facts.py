"""What a node says of itself to operators who ask: versions, system, container, settings, files and stacks.

A report is one JSON object, without secrets (`redaction.py`); of the environment only the variables that are about
swarms, networks and devices. Whether an operator gets it is decided as for a log (`reading.py`).
"""

import asyncio
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from swarmlearning import __version__
from swarmlearning.files import open_plain
from swarmlearning.node.crashes import reports
from swarmlearning.node.errors import NodeError
from swarmlearning.node.health import request_health
from swarmlearning.node.sealing import MAX_PIECE
from swarmlearning.node.secrets import known_secrets
from swarmlearning.node.stacks import stacks
from swarmlearning.redaction import REMOVED, is_secret, redacted

LIBRARIES: Final = (
    *("aiohttp", "blake3", "cryptography", "fastapi", "msgspec", "numpy", "uvicorn", "uvloop", "zstandard"),
    *("torch", "tensorflow", "keras", "transformers", "scikit-learn", "jax", "spiffe"),
)
VARIABLES: Final = (
    *("SWARM_", "SL_", "SN_", "SWOP_", "SWCI_", "SENTINEL_", "THIS_NODE_", "OMP_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_"),
    *("PYTHON", "LC_", "LANG", "TZ", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "KUBERNETES_"),
)
MOST_FILES: Final = 300
MOST_CRASH: Final = 24 * 1024
MOST_METRICS: Final = 48 * 1024
T = TypeVar("T")


LEAST_STACKS: Final = 16 * 1024
LONG: Final = ("metrics", "crash", "data")
"""Fields that are left out, in this order, where there is no room for them."""

Snapshot: TypeAlias = Callable[[], Awaitable[bytes]]
"""A node's metrics as text."""
_measured: Final[dict[Path, Snapshot]] = {}


@contextmanager
def measured_by(directory: Path, snapshot: Snapshot) -> Iterator[None]:
    """Inside the block the reports of the node with this data directory have its metrics."""
    _measured[directory] = snapshot
    try:
        yield
    finally:
        del _measured[directory]


class Reporter:
    """Reports on the node of this process."""

    def __init__(self, kind: str, name: str, uid: str, directory: Path) -> None:
        self._about = {"kind": kind, "name": name, "uid": uid}
        self._directory = directory

    async def report(self) -> bytes:
        """The report now, of at most `MAX_PIECE` bytes; stacks are cut where it would be longer."""
        running = stacks()
        known = known_secrets(os.environ)
        rest = await asyncio.to_thread(self._facts)
        if snapshot := _measured.get(self._directory):
            rest["metrics"] = (await snapshot())[:MOST_METRICS].decode(errors="replace")
        return fitting(cleaned(rest, known), redacted(running, known))

    def _facts(self) -> dict[str, Any]:
        return {
            "node": self._about,
            "time_ms": time.time_ns() // 1_000_000,
            **host_facts(),
            "process": process_facts(),
            "environment": environment_facts(os.environ),
            **directory_facts(self._directory),
        }


def fitting(facts: Mapping[str, Any], running: str, most: int = MAX_PIECE) -> bytes:
    """The facts as JSON, with as much of the stacks as fits into so many bytes; without long ones that alone do not."""
    left = dict(facts)
    for name in LONG:
        if len(json.dumps(left)) <= most - LEAST_STACKS:
            break
        left.pop(name, None)
    while len(data := json.dumps({**left, "stacks": running}).encode()) > most and running:
        running = running[: max(0, len(running) * most // len(data) - 1024)]
    return data if len(data) <= most else json.dumps({"node": facts.get("node"), "cut": True}).encode()


def cleaned(value: Any, known: frozenset[str] = frozenset()) -> Any:
    """The same data without secrets, in values of names that say so and in all texts."""
    if isinstance(value, str):
        return redacted(value, known)
    if isinstance(value, Mapping):
        return {redacted(str(name), known): _cleaned(str(name), each, known) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(each, known) for each in value]
    return value


def _cleaned(name: str, value: Any, known: frozenset[str]) -> Any:
    return REMOVED if value and isinstance(value, str) and is_secret(name) else cleaned(value, known)


def host_facts() -> dict[str, Any]:
    """Versions, system and container of this host."""
    return {
        "versions": {"swarmlearning": __version__, "Python": platform.python_version(), **dict(_libraries())},
        "system": {
            "os": _os_name(),
            "kernel": platform.platform(),
            "machine": platform.machine(),
            "host": platform.node(),
            "cpus": os.cpu_count(),
            "memory_kb": _memory(),
            "load": _read(lambda: list(os.getloadavg())),
            "up_seconds": _read(lambda: float(Path("/proc/uptime").read_text().split()[0])),
            "time_zone": time.strftime("%z"),
        },
        "container": _container(),
    }


def process_facts() -> dict[str, Any]:
    """This process: its command line, its memory and what it has open."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "pid": os.getpid(),
        "user": os.geteuid(),
        "command": json.dumps(sys.argv),
        "memory_peak_kb": usage.ru_maxrss,
        "memory_kb": _read(lambda: _field(Path("/proc/self/status"), "VmRSS:")),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "descriptors": _read(lambda: len(os.listdir("/proc/self/fd"))),  # noqa: PTH208 - of numbers
        "descriptors_most": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "threads": threading.active_count(),
    }


def environment_facts(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are about swarms, networks and devices, without secrets."""
    return {name: value for name, value in sorted(environ.items()) if name.upper().startswith(VARIABLES)}


def directory_facts(directory: Path) -> dict[str, Any]:
    """The node's health, what lies in its data directory, and its newest report of a crash."""
    crashes = _read(lambda: reports(directory)) or []
    disk = _read(lambda: shutil.disk_usage(directory))
    return {
        "health": _health(directory),
        "data": {
            "directory": str(directory),
            "disk_total": disk.total if disk else None,
            "disk_free": disk.free if disk else None,
            "files": list(_files(directory)),
        },
        "crashes": [path.name for path in crashes],
        "crash": _read(lambda: _text(crashes[-1])) if crashes else None,
    }


def _health(directory: Path) -> Any:
    try:
        return request_health(directory)
    except NodeError as error:
        return str(error)


def _files(directory: Path) -> Iterator[dict[str, Any]]:
    """Names, sizes and times, two folders deep: never what is in them."""
    found = sorted((*directory.glob("*"), *directory.glob("*/*")))
    for path in found[:MOST_FILES]:
        with suppress(OSError):
            state = path.lstat()
            yield {"name": str(path.relative_to(directory)), "bytes": state.st_size, "changed": int(state.st_mtime)}


def _libraries() -> Iterator[tuple[str, str]]:
    for name in LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            yield name, importlib.metadata.version(name)


def _os_name() -> str:
    with suppress(OSError, KeyError):
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    return platform.system()


def _memory() -> Any:
    names = {"total": "MemTotal:", "available": "MemAvailable:", "swap_free": "SwapFree:"}
    return _read(lambda: {name: _field(Path("/proc/meminfo"), field) for name, field in names.items()})


def _container() -> dict[str, Any] | None:
    """How this process is contained; None where it is not, as far as it can see."""
    engine = "podman" if Path("/run/.containerenv").exists() else "docker" if Path("/.dockerenv").exists() else ""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        engine = "kubernetes"
    if not engine:
        return None
    limits = {"memory": "memory.max", "cpu": "cpu.max", "processes": "pids.max"}
    return {"engine": engine, **{name: _read(partial(_limit, file)) for name, file in limits.items()}}


def _limit(file: str) -> str:
    return Path("/sys/fs/cgroup", file).read_text().strip()


def _field(path: Path, name: str) -> int:
    """A number that `/proc` has in a line of this name."""
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(name))


def _text(path: Path) -> str:
    with open_plain(path) as file:
        return file.read(MOST_CRASH).decode(errors="replace")


def _read(look: Callable[[], T]) -> T | None:
    """What is found, None where this system does not say."""
    try:
        return look()
    except (OSError, ValueError, StopIteration):
        return None
