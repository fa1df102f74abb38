"""Content that tasks bring in: into one volume for builds, or into one for each node of the profile.

A record at the site keeps the digests of what was brought in, since volumes have no content that could be digested.
"""

import asyncio
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from swarmlearning.files import make_private, replace_file
from swarmlearning.swop import content
from swarmlearning.swop.docker import volumes
from swarmlearning.swop.docker.engine import Engine, EngineError
from swarmlearning.swop.docker.settings import DockerSettings
from swarmlearning.taskfiles.definition import MakeSwarmUserContent, made_volumes


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    outcome: str
    volumes: tuple[str, ...]
    digests: tuple[str, ...]


class Contents:
    """The contents of one SWOP; all raise `ManagerError`, `EngineError` and `OSError`."""

    def __init__(self, engine: Engine, settings: DockerSettings, indexes: Sequence[int]) -> None:
        """`indexes`: those of the profile's nodes."""
        self._engine = engine
        self._settings = settings
        self._indexes = indexes

    async def make(
        self, outcome: str, what: MakeSwarmUserContent, labels: Mapping[str, str], key: str
    ) -> tuple[str, ...]:
        """Downloads and extracts into the volumes of this outcome, over what they have; returns the digests."""
        names = made_volumes(what, outcome, self._indexes)
        folder = self._settings.folder / "content" / key
        await asyncio.to_thread(_empty, folder)
        try:
            digests = await content.fill(folder, what.operations, self._settings.roots, self._settings.bounds)
            for name in names:
                await volumes.make_volume(self._engine, name, {})
                async with volumes.opened(self._engine, name, self._settings.sl_image, labels) as container:
                    await volumes.fill(self._engine, container, folder, self._settings.user)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        record = _Record(outcome, names, tuple(digests))
        make_private(self._path(outcome).parent)
        await asyncio.to_thread(replace_file, self._path(outcome), msgspec.json.encode(record))
        return record.digests

    async def brought_in(self, outcome: str) -> tuple[str, ...]:
        """The digests of what this outcome has brought in; empty where it is not there."""
        try:
            record = msgspec.json.decode(self._path(outcome).read_bytes(), type=_Record)
        except (FileNotFoundError, msgspec.DecodeError):
            return ()
        for name in record.volumes:
            try:
                await self._engine.get("volumes", name)
            except EngineError as error:
                if error.is_missing:
                    return ()
                raise
        return record.digests

    def _path(self, outcome: str) -> Path:
        return self._settings.folder / "outcomes" / f"{hashlib.sha256(outcome.encode()).hexdigest()[:32]}.json"


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    make_private(folder)
