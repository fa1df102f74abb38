"""Measures the machine of this node now and then, for its heartbeats (`views/vitals.py`)."""

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Final

from swarmlearning import __version__
from swarmlearning.identity.certificates import expires_ms
from swarmlearning.identity.identity import Identity
from swarmlearning.node.clocks import Offset
from swarmlearning.views.vitals import LONGEST_VERSION, Vitals

logger = logging.getLogger("swarm.node")

MEASURE_SECONDS: Final = 10.0
OLD_SECONDS: Final = 60.0
"""A measurement that is older, since the disk does not answer, is not given any more."""
MEMORY: Final = Path("/proc/meminfo")
GROUPS: Final = Path("/sys/fs/cgroup")
OWN_GROUP: Final = Path("/proc/self/cgroup")


class Gauge:
    """The newest measurement of a node whose data directory this is; None where its site withholds it.

    `run` measures until cancelled, `latest` may be called in any thread.
    """

    def __init__(self, directory: Path, identity: Callable[[], Identity], *, given: bool = True) -> None:
        self._directory = directory
        self._identity = identity
        self._given = given
        self._newest: tuple[float, Vitals] | None = None

    async def run(self) -> None:
        """Measures every few seconds until cancelled."""
        if not self._given:
            return
        while True:
            self._newest = monotonic(), await asyncio.to_thread(measured, self._directory, self._identity())
            await asyncio.sleep(MEASURE_SECONDS)

    def latest(self, clock: Offset | None = None) -> Vitals | None:
        """The newest measurement, with that of the `clock`; None before the first one."""
        if self._newest is None or monotonic() - self._newest[0] > OLD_SECONDS:
            return None
        vitals = self._newest[1]
        return replace(vitals, clock_ms=clock.ahead_ms, clock_error_ms=clock.error_ms) if clock else vitals


def measured(directory: Path, identity: Identity) -> Vitals:
    """One measurement, without the clock. Blocks while the disk does not answer."""
    disk_free, disk_total = _disk(directory)
    memory_free, memory_total = memory()
    return Vitals(
        disk_free=disk_free,
        disk_total=disk_total,
        memory_free=memory_free,
        memory_total=memory_total,
        expires_ms=expires_ms(identity.chain),
        version=__version__[:LONGEST_VERSION],
    )


def _disk(directory: Path) -> tuple[int | None, int | None]:
    try:
        found = shutil.disk_usage(directory)
    except OSError as error:
        logger.debug("%s: its disk cannot be measured: %s", directory, error)
        return None, None
    return found.free, found.total


def memory(system: Path = MEMORY, own: Path = OWN_GROUP, groups: Path = GROUPS) -> tuple[int | None, int | None]:
    """Free and all bytes of memory that this process may use: the machine's, or of the tightest control group (v2)
    that it is in; None where the system does not say."""
    found = [*_machine(system), *_limits(own, groups)]
    return min(found, default=(None, None))


def _machine(system: Path) -> Iterator[tuple[int, int]]:
    try:
        lines = dict(line.split(":", 1) for line in system.read_text().splitlines() if ":" in line)
        yield 1024 * int(lines["MemAvailable"].split()[0]), 1024 * int(lines["MemTotal"].split()[0])
    except (OSError, KeyError, ValueError, IndexError) as error:
        logger.debug("%s cannot be read: %r", system, error)


def _limits(own: Path, groups: Path) -> Iterator[tuple[int, int]]:
    """Free and all bytes of each group with a limit, from this process's own up. What is cached of files is free."""
    try:
        named = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::/"))
    except (OSError, StopIteration):
        return
    place = groups / named.lstrip("/")
    for folder in (place, *place.parents):
        if not folder.is_relative_to(groups):
            return
        try:
            limit, used = int((folder / "memory.max").read_text()), int((folder / "memory.current").read_text())
            lines = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            yield max(0, limit - used + int(lines["inactive_file"])), limit
        except (OSError, ValueError, KeyError):  # no limit ("max"), or none of these files
            continue
