"""Copies a bundle's files to a host: only those that are not there yet, and each is checked there by its SHA-256."""

import posixpath
from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

from swarmlearning.ui.hosts.bundle import Bundle, BundleFile
from swarmlearning.ui.hosts.machine import Machine, MachineError, checked
from swarmlearning.ui.hosts.progress import Tell

VERIFY_SECONDS: Final = 300.0
LIST: Final = "files.sha256"
_TRIES: Final = 3

_FOLDERS: Final = (
    'set -eu; umask 022; base=$1; shift; mkdir -p "$base"; cd "$base"; for each; do mkdir -p "$each"; done'
)

_VERIFY: Final = r"""
set -eu
cd "$2"
"$1" -I - "$3" <<'END_OF_PROGRAM'
import hashlib, os, sys
for line in open(sys.argv[1]):
    wanted, path = line.rstrip("\n").split("  ", 1)
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while piece := file.read(1 << 20):
                digest.update(piece)
    except FileNotFoundError:
        print(path)
        continue
    if digest.hexdigest() != wanted:
        os.unlink(path)
        print(path)
END_OF_PROGRAM
"""


async def ship(
    machine: Machine, bundle: Bundle, files: Sequence[BundleFile], python: str, target: str, tell: Tell
) -> None:
    """Copies these files into the folder `target`, and verifies them by the host's interpreter.

    What is there already, whole or in part, is not sent again. Raises `MachineError`.
    """
    folders = sorted({posixpath.dirname(each.path) for each in files} - {""})
    checked(machine, await machine.run(_FOLDERS, target, *folders), f"making {target}")
    listed = "".join(f"{each.sha256}  {each.path}\n" for each in files)
    await machine.put(listed.encode(), f"{target}/{LIST}", 0o644)
    total = sum(each.size for each in files)
    missing = await _missing(machine, python, target, files)
    for _ in range(_TRIES):
        if not missing:
            tell("copy", "done", f"{len(files)} files, each with the right checksum", total, total)
            return
        await _send(machine, bundle, files, missing, target, tell)
        missing = await _missing(machine, python, target, files)
    raise MachineError(f"{machine.name}: {sorted(missing)[0]} arrives damaged again and again")


async def _send(
    machine: Machine, bundle: Bundle, files: Sequence[BundleFile], missing: Collection[str], target: str, tell: Tell
) -> None:
    total = sum(each.size for each in files)
    before = sum(each.size for each in files if each.path not in missing)
    for each in files:
        if each.path not in missing:
            continue
        source = bundle.folder / each.path
        mode = 0o755 if source.stat().st_mode & 0o100 else 0o644
        told = partial(_tell_bytes, tell, each.path, before, total)
        await machine.send(source, f"{target}/{each.path}", mode, told)
        before += each.size


def _tell_bytes(tell: Tell, path: str, before: int, total: int, sent: int) -> None:
    tell("copy", "running", path, before + sent, total)


async def _missing(machine: Machine, python: str, target: str, files: Sequence[BundleFile]) -> set[str]:
    """The paths of files that are not there, or not as they should be; such a one is removed there."""
    ran = await machine.run(_VERIFY, python, target, LIST, seconds=VERIFY_SECONDS)
    said = set(checked(machine, ran, "checking what was copied").text.splitlines())
    return {each.path for each in files} & said
