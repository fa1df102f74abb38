"""Final models of runs, fetched from hosts where sites keep them; only one that the ledger names is taken."""

import asyncio
import os
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

from swarmlearning.files import make_private
from swarmlearning.ui.hosts.machine import Machine, MachineError, checked
from swarmlearning.ui.hosts.progress import Tell, Work
from swarmlearning.ui.hosts.works import Target

FOLDER: Final = "models"
MOST_KEPT: Final = 4
"""Models that are kept here, the last ones: each may have gigabytes."""
MOST_BYTES: Final = 64 * 2**30
SPARED: Final = 2**30
"""Bytes of the disk that stay free."""
LONGEST_FETCH: Final = 24 * 3600.0
"""Seconds without a byte after which nobody writes a file any more."""
MOST_FOUND: Final = 16
FIND_SECONDS: Final = 120.0
FETCH_SECONDS: Final = 12 * 3600.0
"""For all files that a host calls by the name of the model; its own word on their sizes is not believed."""
STEP: Final = "fetch"

_FIND: Final = r"""
set -u
cd "$1" || exit 0
find nodes projects -type f -name "$2.safetensors" -path "*/results/*" 2>/dev/null | head -n "$3"
"""
"""Below the data of SLs, and below those of SWOPs, which have the data of the pairs that they have started."""


def kept(folder: Path, digest: str) -> Path | None:
    """The model of this digest, if it is here."""
    path = folder / f"{digest}.safetensors"
    return path if digest and path.is_file() else None


def fetched(target: Target, stem: str, digest: str, folder: Path) -> Work:
    """The work that fetches a model: `stem` names its file as SLs do (`sl.results.file_stem`); only one with the
    `digest`, which is the ledger's, is taken."""

    async def work(tell: Tell) -> str:
        tell(STEP, "running")
        async with target.open() as machine:
            paths = await _found(machine, target.layout.prefix, stem)
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    for path in paths:
                        if await _taken(machine, path, digest, folder, tell):
                            tell(STEP, "done", path)
                            return digest
            except TimeoutError:
                raise MachineError(f"{machine.name}: the model has not arrived within {FETCH_SECONDS:.0f} s") from None
        raise MachineError(
            f"{machine.name}: no site keeps the final model of this run in {target.layout.prefix}"
            + (f": {len(paths)} of that name have other digests" if paths else "")
        )

    return work


async def _found(machine: Machine, prefix: str, stem: str) -> list[str]:
    ran = await machine.run(_FIND, prefix, stem, str(MOST_FOUND), seconds=FIND_SECONDS)
    lines = checked(machine, ran, "looking for models").text.splitlines()
    return [f"{prefix}/{line}" for line in lines[:MOST_FOUND] if line and "/../" not in line]


async def _taken(machine: Machine, path: str, digest: str, folder: Path, tell: Tell) -> bool:
    """Fetches a file, and keeps it if it is the model."""
    from swarmlearning.tensors.digest import is_named  # numpy is loaded once somebody wants a model

    await asyncio.to_thread(make_private, folder)
    part = await asyncio.to_thread(_new_part, folder)
    try:
        most = min(MOST_BYTES, shutil.disk_usage(folder).free - SPARED)
        await machine.receive(path, part, most, partial(_tell, tell, path, folder))
        if not await asyncio.to_thread(is_named, part, digest):
            return False
        await asyncio.to_thread(_keep, part, folder / f"{digest}.safetensors")
        return True
    except OSError as error:
        raise MachineError(f"{folder}: cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _new_part(folder: Path) -> Path:
    """A file of this fetch alone: another host may still be writing what it calls the same model. Those that a UI which
    was killed has left are removed."""
    oldest = time.time() - LONGEST_FETCH
    for left in folder.glob("*.part"):
        if left.stat().st_mtime < oldest:
            left.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(suffix=".part", dir=folder)
    os.close(descriptor)
    return Path(name)


def _keep(part: Path, path: Path) -> None:
    """Puts a model in its place, and removes those that were fetched longest ago."""
    part.replace(path)
    by_age = sorted((each.stat().st_mtime_ns, each) for each in path.parent.glob("*.safetensors"))
    for _, old in by_age[:-MOST_KEPT]:
        old.unlink(missing_ok=True)


def _tell(tell: Tell, path: str, folder: Path, done: int, total: int) -> None:
    """Tells how far it is. Raises `MachineError` where the disk has become full meanwhile, on which the UI keeps its
    users and sessions, too."""
    if shutil.disk_usage(folder).free < SPARED:
        raise MachineError(
            f"{folder}: less than {SPARED // 2**30} GiB of the disk are free: make room there, and try again"
        )
    tell(STEP, "running", path, done, total)
