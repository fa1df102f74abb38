"""A root file system with Python and pip from Debian's packages on this machine: the base of images in tests.

Nothing is downloaded: the files of the installed packages are copied as dpkg lists them.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Final

PACKAGES: Final = (
    *("base-files", "base-passwd", "bash", "ca-certificates", "coreutils", "dash", "findutils", "grep", "hostname"),
    *("libc-bin", "libstdc++6", "login", "passwd", "python3-pip", "python3-venv", "sed"),
)
_DEPENDS: Final = (
    *("apt-cache", "depends", "--recurse", "--installed", "--no-recommends", "--no-suggests", "--no-conflicts"),
    *("--no-breaks", "--no-replaces", "--no-enhances"),
)
_MERGED: Final = ("bin", "sbin", "lib", "lib64")
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


def python_tree(folder: Path) -> Path:
    """Makes the tree in this folder, some 100 MB."""
    for name in (*_MERGED, "local/bin"):
        (folder / "usr" / name).mkdir(parents=True, exist_ok=True)
    for name in _MERGED:
        (folder / name).symlink_to(f"usr/{name}")
    for name in ("proc", "sys", "dev", "tmp", "root", "etc/ssl/certs", "var/tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "tmp").chmod(0o1777)
    listed = subprocess.run(["dpkg-query", "--listfiles", *_closure()], capture_output=True, text=True).stdout
    files = sorted({line[1:] for line in listed.splitlines() if line.startswith("/") and _is_copied(Path(line))})
    pack = ["tar", "--create", "--directory=/", "--no-recursion", "--null", "--files-from=-"]
    packed = subprocess.run(pack, input="\0".join(files).encode(), stdout=subprocess.PIPE, check=True).stdout
    unpack = ["tar", "--extract", "--keep-directory-symlink", f"--directory={folder}"]
    subprocess.run(unpack, input=packed, check=True)
    for master in ("passwd", "group"):
        shutil.copy(f"/usr/share/base-passwd/{master}.master", folder / "etc" / master)
    shutil.copy(_CERTIFICATES, folder / "etc" / "ssl" / "certs")
    return folder


def _closure() -> list[str]:
    """The packages and all that they depend on."""
    shown = subprocess.run([*_DEPENDS, *PACKAGES], capture_output=True, text=True, check=True).stdout
    names = {line for line in shown.splitlines() if line[:1].isalnum()}
    return sorted(names)


def _is_copied(path: Path) -> bool:
    documents = ("/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/share/info/")
    return not str(path).startswith(documents) and not path.is_dir() and (path.exists() or path.is_symlink())
