"""Copies what containers write into files at the site, while they run; the files are bounded."""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Final

from swarmlearning.swop.docker.engine import Engine, EngineError
from swarmlearning.swop.rolling import RollingFile

logger = logging.getLogger("swarm.swop")

MOST: Final = 32 * 2**20
"""Bytes of a file, after which it becomes the older one (`.1`) and a new one begins."""
END_SECONDS: Final = 10.0
"""Seconds that the rest of an ended container's output may take."""
_HEAD: Final = 8
_PIECE: Final = 2**16


class LogCopies:
    """Follows containers by their IDs; a file is written from the beginning when its container is followed anew."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._copies: dict[str, asyncio.Task[None]] = {}

    def follow(self, container: str, path: Path) -> None:
        """Copies a container's output from its beginning on, unless that is done already."""
        if container not in self._copies:
            self._copies[container] = asyncio.create_task(self._copy(container, path))

    async def finish(self, container: str) -> None:
        """Waits until all of an ended container's output has been copied."""
        if (copy := self._copies.pop(container, None)) is not None:
            done, _ = await asyncio.wait([copy], timeout=END_SECONDS)
            if not done:
                await _cancelled(copy)

    async def close(self) -> None:
        """Ends all copying."""
        for container in list(self._copies):
            await _cancelled(self._copies.pop(container))

    async def _copy(self, container: str, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.closing(RollingFile(path, MOST, anew=True)) as file:
                copied = await self._read(container, file, skip=0, follow=True)
                await self._read(container, file, skip=copied, follow=False)  # Podman may end the stream too early
        except (EngineError, OSError, asyncio.IncompleteReadError) as error:
            logger.warning("%s: the output of container %s is not complete: %s", path, container[:12], error)

    async def _read(self, container: str, file: RollingFile, *, skip: int, follow: bool) -> int:
        """Writes a container's output but for its first `skip` bytes; returns how many there were in all."""
        read = 0
        async with self._engine.download(
            "containers", container, "logs", follow=follow, stdout=True, stderr=True
        ) as output:
            while head := await output.read(_HEAD):
                head += await output.readexactly(_HEAD - len(head))
                left = int.from_bytes(head[4:], "big")
                while left and (piece := await output.read(min(left, _PIECE))):
                    file.write(piece[max(0, skip - read) :])
                    read += len(piece)
                    left -= len(piece)
        return read


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
