"""Files of a project on a host: only what differs is copied, and what was copied is checked there."""

import asyncio
import hashlib
import posixpath
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from swarmlearning.ui.hosts.machine import Machine, MachineError, checked
from swarmlearning.ui.hosts.progress import Tell

SMALL: Final = 8 * 2**20
"""Bytes of a file that is sent in one piece; a larger one goes on where its sending was interrupted."""
BATCH: Final = 200
DIGEST_SECONDS: Final = 600.0
_FOLDERS: Final = 'set -eu; umask 077; for each; do mkdir -p "$each"; done'
_DIGESTS: Final = """
for each; do
    if [ -f "$each" ] && [ ! -L "$each" ]; then sha256sum < "$each" | cut -c 1-64; else echo -; fi
done
"""


class Placed(NamedTuple):
    """A file to lie at `path`: its SHA-256 (hex) and size in bytes, and what reads its content, or where that is large
    the file `source` here."""

    path: str
    digest: str
    size: int
    content: Callable[[], bytes] | None = None
    source: Path | None = None


async def file(machine: Machine, files: Sequence[Placed], tell: Tell) -> frozenset[str]:
    """Puts the files in place, unless they are there; returns the paths of those that were not. Raises
    `MachineError`."""
    folders = sorted({posixpath.dirname(each.path) for each in files})
    for at in range(0, len(folders), BATCH):
        checked(machine, await machine.run(_FOLDERS, *folders[at : at + BATCH]), "making the project's folders")
    there = await digests(machine, [each.path for each in files])
    wanted = [each for each, digest in zip(files, there, strict=True) if digest != each.digest]
    total = sum(each.size for each in wanted)
    done = 0
    for each in wanted:
        tell("copy", "running", each.path, done, total)
        await _put(machine, each, tell, done, total)
        done += each.size
    tell("copy", "done", f"{len(wanted)} / {len(files)}", done, total)
    return frozenset(each.path for each in wanted)


async def digests(machine: Machine, paths: Sequence[str]) -> list[str]:
    """The SHA-256 (hex) of the file at each path; empty where there is none. Raises `MachineError`."""
    found: list[str] = []
    for at in range(0, len(paths), BATCH):
        some = paths[at : at + BATCH]
        ran = checked(machine, await machine.run(_DIGESTS, *some, seconds=DIGEST_SECONDS), "comparing files")
        lines = [line.strip().removeprefix("-") for line in ran.text.splitlines()]
        if len(lines) != len(some):
            raise MachineError(f"{machine.name}: comparing files has failed: {len(lines)} answers for {len(some)}")
        found += lines
    return found


async def _put(machine: Machine, placed: Placed, tell: Tell, before: int, total: int) -> None:
    if placed.content is not None:
        await machine.put(await asyncio.to_thread(placed.content), placed.path, 0o600)
        return
    assert placed.source is not None
    for last in (False, True):
        await machine.send(placed.source, placed.path, 0o600, partial(_tell, tell, placed.path, before, total))
        if (await digests(machine, [placed.path])) == [placed.digest]:
            return
        if last:  # what an earlier sending had left was of another file
            raise MachineError(f"{machine.name}: {placed.path} is not as it was sent; it may have changed meanwhile")


def _tell(tell: Tell, path: str, before: int, total: int, sent: int) -> None:
    tell("copy", "running", path, before + sent, total)


def digest_of(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()
