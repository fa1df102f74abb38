"""Volumes: made, filled and read by the engine's archive requests, in a container that is never started.

So nothing runs for it, and it works wherever the engine's host is.
"""

import asyncio
import os
import stat
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from swarmlearning.swop.docker.engine import Engine
from swarmlearning.swop.docker.mounts import Mount
from swarmlearning.swop.docker.names import has_labels, label_filter
from swarmlearning.swop.docker.settings import User

PLACE: Final = "/content"
"""Where a volume is in a container that gives access to it."""
END: Final = bytes(2 * tarfile.BLOCKSIZE)
"""What a tar archive ends with."""
_PIECE: Final = 2**20


async def make_volume(engine: Engine, name: str, labels: Mapping[str, str]) -> None:
    """Makes a volume; one that is there stays as it is. Raises `EngineError`."""
    await engine.post("volumes", "create", body={"Name": name, "Labels": dict(labels)})


async def labelled(engine: Engine, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """All volumes with these labels, as the engine lists them. Raises `EngineError`."""
    listed = (await engine.get("volumes", filters=label_filter(labels)))["Volumes"] or []
    return [each for each in listed if has_labels(each, labels)]


@asynccontextmanager
async def opened(engine: Engine, volume: str, image: str, labels: Mapping[str, str]) -> AsyncIterator[str]:
    """Yields the ID of a container of `image` that has the volume at `PLACE`, and never runs. Raises `EngineError`."""
    spec = {
        "Image": image,
        "Entrypoint": ["/never-started"],
        "Labels": dict(labels),
        "HostConfig": {"NetworkMode": "none", "Mounts": [Mount("VOLUME", volume, PLACE).request]},
    }
    made: dict[str, Any] = await engine.post("containers", "create", body=spec)
    try:
        yield made["Id"]
    finally:
        await engine.delete("containers", made["Id"], force=True)


async def fill(engine: Engine, container: str, folder: Path, owner: User) -> None:
    """Copies what is in a folder into the volume that a container has `opened`; all of it gets this owner.

    Raises `EngineError` and `OSError`.
    """
    await engine.upload("containers", container, "archive", archive=_packed(folder, owner), path=PLACE)


def read(engine: Engine, container: str) -> Any:
    """A context manager that yields the content of that volume as a tar archive, piece by piece."""
    return engine.download("containers", container, "archive", path=f"{PLACE}/.")


async def set_folders(engine: Engine, container: str, path: str, folders: Mapping[str, tuple[User, int]]) -> None:
    """Gives folders below a path of a container (`.` is itself) their owners and modes; those missing are made.

    Raises `EngineError`.
    """

    async def archive() -> AsyncIterator[bytes]:
        for name, (owner, mode) in folders.items():
            yield entry(name, owner, mode, tarfile.DIRTYPE)
        yield END

    await engine.upload("containers", container, "archive", archive=archive(), path=path)


def entry(name: str, owner: User, mode: int, kind: bytes, size: int = 0) -> bytes:
    """The head of a file or folder in a tar archive."""
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.size = kind, mode, size
    member.uid, member.gid = owner
    return member.tobuf(tarfile.PAX_FORMAT)


def padding(size: int) -> bytes:
    """What follows a file of this size in a tar archive."""
    return bytes(-size % tarfile.BLOCKSIZE)


async def _packed(folder: Path, owner: User) -> AsyncIterator[bytes]:
    for path in await asyncio.to_thread(lambda: [folder, *sorted(folder.rglob("*"))]):
        name = os.fspath(path.relative_to(folder))
        if path.is_dir():
            yield entry(name, owner, 0o755, tarfile.DIRTYPE)
            continue
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            yield entry(name, owner, 0o644 | stat.S_IMODE(found.st_mode) & 0o111, tarfile.REGTYPE, found.st_size)
            while piece := await asyncio.to_thread(file.read, _PIECE):
                yield piece
        yield padding(found.st_size)
    yield END
