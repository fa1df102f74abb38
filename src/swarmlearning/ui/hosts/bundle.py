"""The bundle that `make bundle` makes, as the engine reads it on the UI's host: what of it goes to which host."""

import asyncio
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from swarmlearning.errors import UserError
from swarmlearning.ui.hosts.facts import Facts, Python, Version
from swarmlearning.ui.hosts.layout import checked_version
from swarmlearning.ui.hosts.wheelhouse import FOLDER, NOTE, fits, read_pythons

SUMS: Final = "SHA256SUMS"
MOST_SUMS: Final = 2**20
REQUIREMENTS: Final = "requirements.txt"
MOST_BYTES: Final = 4 * 2**30
_LINE: Final = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._+/@-]{0,300})")
_WHEEL: Final = re.compile(r"wheels/swarmlearning-([^-]+)-py3-none-any\.whl")
_OWN: Final = re.compile(r"wheels/[^/-]+-[^/-]+-[^/]+\.whl").fullmatch
_KEPT: Final = ("wheels/", "scripts/", f"{FOLDER}/")
_ELF_MACHINES: Final = {62: "x86_64", 183: "aarch64"}


class BundleError(UserError):
    """A folder that is no bundle, or one that was changed."""


class BundleFile(NamedTuple):
    """A file of a bundle: its path in it, its SHA-256, and its size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Bundle:
    """A bundle in a folder. `packages`: the versions of Python and processors for which it has all packages."""

    folder: Path
    version: str
    files: tuple[BundleFile, ...]
    packages: tuple[tuple[Version, str], ...] = field(default=())

    @property
    def name(self) -> str:
        """The version, and what tells its contents from those of another bundle of that version."""
        listed = "".join(f"{each.sha256}  {each.path}\n" for each in self.files)
        return f"{self.version}-{hashlib.sha256(listed.encode()).hexdigest()[:8]}"

    @classmethod
    def read(cls, folder: Path) -> "Bundle":
        """The bundle in this folder, its files checked. Raises `BundleError`; takes a second for each GB or so."""
        version = stated_version(folder)
        files = tuple(_checked(folder, path, digest) for digest, path in _sums(folder))
        if sum(each.size for each in files) > MOST_BYTES:
            raise BundleError(f"{folder} is larger than a bundle can be ({MOST_BYTES // 2**30} GB)")
        note = folder / FOLDER / NOTE
        noted = any(each.path == f"{FOLDER}/PYTHONS" for each in files)
        packages = tuple(read_pythons(note.read_text())) if noted else ()
        return cls(folder, version, files, packages)

    def python(self, facts: Facts) -> Python:
        """The interpreter of a host to install for: the newest for which there are packages. Raises `BundleError`."""
        usable = [each for each in facts.pythons if each.venv and (each.version, facts.machine) in self.packages]
        if usable:
            return max(usable, key=lambda each: each.version)
        has = ", ".join(f"{_dotted(each.version)}" for each in facts.pythons) or "none"
        for_ = ", ".join(f"{_dotted(version)} on {machine}" for version, machine in self.packages) or "no Python at all"
        raise BundleError(
            f"the bundle has packages for Python {for_}, and the host has {has} on {facts.machine or '?'}: "
            "install one of these versions there, or make the bundle for the host's (make bundle PYTHONS=…)"
        )

    def own_requirements(self) -> str:
        """The product's wheels as requirements with hashes, so that pip installs these and no others."""
        found = ((PurePosixPath(each.path).name.split("-"), each.sha256) for each in self.files if _OWN(each.path))
        return "".join(f"{parts[0]}=={parts[1]} --hash=sha256:{digest}\n" for parts, digest in found)

    def files_for(self, python: Version, machine: str) -> tuple[BundleFile, ...]:
        """What goes to a host with this Python and processor."""
        return tuple(each for each in self.files if self._goes(each.path, python, machine))

    def _goes(self, path: str, python: Version, machine: str) -> bool:
        name = PurePosixPath(path).name
        if path.startswith(f"{FOLDER}/"):
            return fits(name, python, machine)
        if path.startswith("bin/"):
            return _machine_of(self.folder / path) in (machine, "")
        return path in (REQUIREMENTS, "LICENSE") or path.startswith(_KEPT)


async def read_bundle(folder: Path) -> Bundle:
    """`Bundle.read` beside other work."""
    return await asyncio.to_thread(Bundle.read, folder)


def stated_version(folder: Path) -> str:
    """The version of the bundle in this folder by its list, whose files are not checked. Raises `BundleError`."""
    found = [match[1] for _, path in _sums(folder) if (match := _WHEEL.fullmatch(path)) is not None]
    if len(found) != 1:
        raise BundleError(f"{folder} is no bundle of the product: it has {len(found)} wheels of swarmlearning")
    return checked_version(found[0])


def _sums(folder: Path) -> Iterator[tuple[str, str]]:
    try:
        with (folder / SUMS).open() as file:
            text = file.read(MOST_SUMS + 1)
    except (OSError, UnicodeDecodeError):
        raise BundleError(f"{folder} is no bundle: it has no {SUMS} (make bundle)") from None
    if len(text) > MOST_SUMS:
        raise BundleError(f"{folder / SUMS} is larger than it can be")
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None or any(part in ("", ".", "..") for part in found[2].split("/")):
            raise BundleError(f"{folder / SUMS}: {line[:100]!r} is no digest and path")
        yield found[1], found[2]


def _checked(folder: Path, path: str, digest: str) -> BundleFile:
    try:
        with (folder / path).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError as error:
        raise BundleError(f"{folder / path} of the bundle cannot be read: {error.strerror}") from error
    if found != digest:
        raise BundleError(f"{folder / path} is not the file that the bundle was made with: make or copy it again")
    return BundleFile(path, digest, size)


def _machine_of(program: Path) -> str:
    """For which processor a program is; empty for one that is none of ELF, such as a script."""
    with program.open("rb") as file:
        head = file.read(20)
    if head[:4] != b"\x7fELF":
        return ""
    return _ELF_MACHINES.get(int.from_bytes(head[18:20], "little"), "unknown")


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
