"""Makes the bundle for hosts: wheels, also of all dependencies, etcd, the scripts, units, manifests, the images'
source, and checksums of all.

`dist/swarmlearning-VERSION/` is the folder, and beside it lies its archive, whose bytes depend on the contents alone.
Images are built from the folder: it is the build context of `images/Dockerfile`.
"""

import gzip
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path

from swarmlearning.errors import UserError
from swarmlearning.ui.hosts.facts import Version
from swarmlearning.ui.hosts.wheelhouse import FOLDER, NOTE, fill

ROOT = Path(__file__).parents[1]
PACKAGING = ROOT / "packaging"
CONTENT = {
    "requirements.txt": PACKAGING / "requirements.txt",
    "requirements-client.txt": PACKAGING / "requirements-client.txt",
    "images": PACKAGING / "images",
    "compose.yaml": PACKAGING / "compose.yaml",
    "kubernetes": PACKAGING / "kubernetes",
    "systemd": PACKAGING / "systemd",
    "scripts": ROOT / "scripts",
    **{f"docs/{page.name}": page for page in sorted((ROOT / "docs").glob("*.md"))},
    "docs/ui": ROOT / "docs" / "ui",
    "LICENSE": ROOT / "LICENSE",
}
"""By path in the bundle: the file or folder of this tree."""

KEPT = ROOT / "dist" / "packages"
SUMS = "SHA256SUMS"


def version() -> str:
    """The version of the product."""
    text: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return text


def make(folder: Path, pythons: Collection[Version] = ()) -> None:
    """Makes the bundle in this folder, which is emptied first, with all packages for these versions of Python.

    Raises `SystemExit` where etcd is missing, or packages cannot be downloaded.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name, source in CONTENT.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    (folder / "bin").mkdir()
    for program in ("etcd", "etcdctl"):
        if found := shutil.which(program):
            shutil.copy2(found, folder / "bin" / program)
        elif program == "etcd":
            sys.exit("make bundle: etcd is not on the PATH, and SNs need it: make tools")
    wheels(folder / "wheels")
    if pythons:
        shutil.copytree(packages(pythons), folder / FOLDER)
    sums = "".join(f"{digest(path)}  {path.relative_to(folder)}\n" for path in files(folder))
    (folder / SUMS).write_text(sums)


def packages(pythons: Collection[Version]) -> Path:
    """A folder with all packages for these versions of Python: downloaded once for what is locked, and kept."""
    lock = PACKAGING / "requirements.txt"
    kept = KEPT / hashlib.sha256(repr([digest(lock), *pythons]).encode()).hexdigest()[:16]
    if not (kept / NOTE).exists():
        shutil.rmtree(kept, ignore_errors=True)
        try:
            fill(lock, kept, pythons)
        except UserError as error:
            sys.exit(f"make bundle: {error}. Without them, for hosts that have a package index: make bundle PYTHONS=")
    return kept


def wheels(folder: Path) -> None:
    """Builds the two wheels of this tree."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", folder, ROOT / "packaging" / "client", ROOT], check=True)


def named_version(text: str) -> Version:
    """A version such as 3.12. Raises `SystemExit` for what is none."""
    major, _, minor = text.partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        sys.exit(f"make bundle: {text!r} is no version of Python, such as 3.12")
    return int(major), int(minor)


def files(folder: Path) -> Iterator[Path]:
    """All files below, sorted."""
    return iter(sorted(path for path in folder.rglob("*") if path.is_file()))


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack(folder: Path, archive: Path) -> None:
    """Packs the folder: no times, users or umasks of this machine get into the archive."""
    with (
        archive.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in files(folder):
            entry = tarfile.TarInfo(str(path.relative_to(folder.parent)))
            entry.size = path.stat().st_size
            entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            with path.open("rb") as file:
                tar.addfile(entry, file)


def main() -> None:
    """Makes folder and archive, for hosts with the versions of Python that are named, and prints where they are."""
    folder = ROOT / "dist" / f"swarmlearning-{version()}"
    make(folder, [named_version(word) for word in sys.argv[1:]])
    archive = folder.with_name(f"{folder.name}.tar.gz")
    pack(folder, archive)
    print(f"{archive.relative_to(ROOT)}  {digest(archive)}")


if __name__ == "__main__":
    main()
