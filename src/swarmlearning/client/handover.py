"""Parameters in a file for the SL node, which may have to be handed over more than once."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from swarmlearning.channel.messages import SPARE
from swarmlearning.client.errors import SwarmError
from swarmlearning.tensors import file as tensor_file


class HandOver:
    """Use as a context manager. `name` is that of the newest file in `directory`.

    The SL owns a file that it was told of: it renames or removes it, and a restarted one removes all it finds. The
    bytes stay readable here until the block ends, so that they can be handed over again although the model may have
    changed meanwhile.
    """

    def __init__(self, directory: Path, tensors: Mapping[str, tensor_file.Tensor], name: str) -> None:
        """Writes the file. Raises `SwarmError` when that fails."""
        self._directory = directory
        self.name = name
        part = self._part(name)
        try:
            with suppress(FileNotFoundError):
                (directory / SPARE).rename(part)
            tensor_file.write(part, tensors)
            part.rename(directory / name)
            self._bytes = (directory / name).open("rb")
        except (OSError, tensor_file.TensorFileError) as error:
            raise self._failure(part, error) from error

    def again(self, name: str) -> None:
        """Writes the same bytes under another name, in place of the file before. Raises `SwarmError`."""
        part = self._part(name)
        try:
            self._bytes.seek(0)
            with part.open("wb") as copy:
                shutil.copyfileobj(self._bytes, copy, 2**20)
            (self._directory / self.name).unlink(missing_ok=True)
            part.rename(self._directory / name)
        except OSError as error:
            raise self._failure(part, error) from error
        self.name = name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bytes.close()

    def _part(self, name: str) -> Path:
        return self._directory / f".{name}.part"

    def _failure(self, part: Path, error: Exception) -> SwarmError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        path = self._directory / part.name.removeprefix(".").removesuffix(".part")
        return SwarmError(f"cannot write the parameters to {path}: {error}. The model is unharmed")
