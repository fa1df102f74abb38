"""The packages that the product needs, as wheels for hosts without a package index.

They are downloaded once where there is an index, for each version of Python that hosts may have; only what is locked,
with its hash, gets in. `make bundle` does it, and the UI's host where a bundle came without them.
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Final

from swarmlearning.errors import UserError
from swarmlearning.ui.hosts.facts import Version

FOLDER: Final = "wheelhouse"
NOTE: Final = "PYTHONS"
"""For whom it is; written when all of it is there."""
PYTHONS: Final[tuple[Version, ...]] = ((3, 11), (3, 12), (3, 13))
MACHINE: Final = "x86_64"
DOWNLOAD_SECONDS: Final = 900.0
_NEWEST_GLIBC: Final = 28
"""Wheels for glibc 2.28 (RHEL 8, Debian 10 and all later ones) or older."""
_OLDEST_GLIBC: Final = 5
_OLD_NAMES: Final = ("manylinux2014", "manylinux2010", "manylinux1")
_WHEEL: Final = re.compile(r"[^-]+-[^-]+(-\d[^-]*)?-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)\.whl")
_STABLE: Final = re.compile(r"cp3(\d+)")


def download_command(requirements: Path, target: Path, python: Version, machine: str = MACHINE) -> list[str]:
    """The command that downloads all locked packages as wheels for such hosts, checked by their hashes."""
    major, minor = python
    platforms = [f"manylinux_2_{glibc}_{machine}" for glibc in range(_NEWEST_GLIBC, _OLDEST_GLIBC - 1, -1)]
    platforms += [f"{name}_{machine}" for name in _OLD_NAMES]
    return [
        *_pip("download", target),
        *("--require-hashes", "--requirement", str(requirements)),
        *("--python-version", f"{major}.{minor}", "--implementation", "cp"),
        *(word for abi in (f"cp{major}{minor}", "abi3", "none") for word in ("--abi", abi)),
        *(word for platform in platforms for word in ("--platform", platform)),
    ]


def pip_command(target: Path) -> list[str]:
    """The command that downloads pip itself, in the version that downloads the others: hosts need none of their own."""
    return [*_pip("download", target), "--no-deps", f"pip=={version_of('pip')}"]


def _pip(command: str, target: Path) -> list[str]:
    quiet = ("--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--dest", str(target))
    return [sys.executable, "-m", "pip", command, *quiet]


def fill(requirements: Path, target: Path, pythons: Collection[Version] = PYTHONS) -> None:
    """Downloads everything into a folder, and notes there what it is for. Raises `UserError`."""
    commands = [pip_command(target), *(download_command(requirements, target, python) for python in pythons)]
    target.mkdir(parents=True, exist_ok=True)
    for command in commands:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS)
        except subprocess.TimeoutExpired:
            raise UserError(f"the packages cannot be downloaded: not done after {DOWNLOAD_SECONDS:.0f} s") from None
        if done.returncode:
            said = " | ".join(line for line in done.stderr.splitlines() if line.startswith("ERROR"))[:500]
            raise UserError(f"the packages cannot be downloaded: {said or done.stderr.strip()[-300:]}")
    (target / NOTE).write_text("".join(f"{major}.{minor} {MACHINE}\n" for major, minor in pythons))


async def filled(requirements: Path, target: Path, pythons: Collection[Version] = PYTHONS) -> None:
    """The same beside other work. Raises `UserError`."""
    await asyncio.to_thread(fill, requirements, target, pythons)


def fits(wheel: str, python: Version, machine: str) -> bool:
    """Whether a wheel of this file name is for this Python and processor."""
    found = _WHEEL.fullmatch(wheel)
    if found is None:
        return False
    platforms = found["platform"].split(".")
    return _fits_python(found["python"].split("."), found["abi"].split("."), python) and any(
        each == "any" or (each.startswith("manylinux") and each.endswith(f"_{machine}")) for each in platforms
    )


def _fits_python(tags: Sequence[str], abis: Sequence[str], python: Version) -> bool:
    major, minor = python
    exact = f"cp{major}{minor}"
    if exact in tags and any(abi in abis for abi in (exact, "abi3", "none")):
        return True
    if "abi3" in abis:
        return any((found := _STABLE.fullmatch(tag)) is not None and int(found[1]) <= minor for tag in tags)
    return "none" in abis and any(tag in (f"py{major}", f"py{major}{minor}") for tag in tags)


def read_pythons(text: str) -> Iterator[tuple[Version, str]]:
    """For which versions and processors a wheelhouse is, by its own note."""
    for line in text.splitlines()[:64]:
        if (found := re.fullmatch(r"(\d)\.(\d{1,2}) (\w{1,20})", line)) is not None:
            yield (int(found[1]), int(found[2])), found[3]
