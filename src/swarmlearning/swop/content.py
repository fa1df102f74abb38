"""Fills a folder with what a MAKE_SWARM_USER_CONTENT task downloads and extracts; both resource managers do it so.

Operations come from another organisation: all they bring in lies below the folder, and is bounded in bytes and time.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from swarmlearning.swop.downloading import download, url_parts
from swarmlearning.swop.extracting import extract
from swarmlearning.swop.managing import ManagerError
from swarmlearning.taskfiles.definition import Operation


class Bounds(NamedTuple):
    """What one task may bring in: bytes on disk in all, and seconds for each of its operations."""

    size: int = 100 * 2**30
    seconds: float = 6 * 3600.0


DEFAULT_BOUNDS = Bounds()


async def fill(
    folder: Path,
    operations: Sequence[Operation],
    roots: Collection[Path] = (),
    bounds: Bounds = DEFAULT_BOUNDS,
    variables: Mapping[str, str] = os.environ,
) -> list[str]:
    """Carries out the operations in an existing, empty folder; returns the digest of each downloaded file.

    `roots`: folders of the site below which `file:` URLs may be read; `variables` name the proxies to go through
    (`http_proxy`, `https_proxy`, `no_proxy`). Raises `ManagerError`.
    """
    digests = []
    for operation in operations:
        left = bounds._replace(size=bounds.size - _used(folder))
        if operation.kind == "DOWNLOAD":
            target = _below(folder, operation.out or _last_part(operation.target))
            digests.append(await download(operation.target, target, roots, left.size, left.seconds, variables))
        else:
            archive = _below(folder, operation.target)
            await extract(archive, _below(folder, operation.out or "."), left.size, left.seconds)
    return digests


def _below(folder: Path, name: str) -> Path:
    """The path of a file or folder of the content. Raises `ManagerError` for one that lies elsewhere.

    Nothing here follows a link: downloads and archives bring in plain files and folders alone.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or len(name) > 240:
        raise ManagerError("download", f"{name!r} is no path within the content: give one without a leading / and ..")
    return folder / path


def _last_part(url: str) -> str:
    name = unquote(PurePosixPath(url_parts(url).path).name)
    if not name or "/" in name or name == "..":
        raise ManagerError("download", f"{url}: the URL ends with no file name: name the file by Out")
    return name


def _used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
