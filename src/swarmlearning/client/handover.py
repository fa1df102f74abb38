"""Parameters in a file for the SL node, which may have to be sent more than once."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from swarmlearning.channel.messages import SPARE_FILE
from swarmlearning.client.errors import SwarmError
from swarmlearning.tensors import file as tensor_file

ATTEMPTS: Final = 3


class HandOver:
    """Use as a context manager. `name` is that of the newest file in `directory`.

    The SL owns a file whose name it was sent: it renames or removes it, and a restarted one removes all it finds. The
    bytes stay readable here until the block ends, so that they can be sent again although the model may have changed
    meanwhile.
    """

    def __init__(self, directory: Path, tensors: Mapping[str, tensor_file.Tensor], name: str) -> None:
        """Writes the file. Raises `SwarmError` when that fails."""
        self._directory = directory
        self.name = name
        self._bytes = self._make(name, lambda part: self._write(part, tensors))

    def again(self, name: str) -> None:
        """Writes the same bytes under another name, in place of the file before. Raises `SwarmError`."""
        self._make(name, self._copy).close()
        self.name = name

    def _make(self, name: str, write: Callable[[Path], None]) -> BinaryIO:
        """Returns the file of that name, written and open; tries again if an SL that just started has removed it."""
        part = self._directory / f".{name}.part"
        for attempt in range(ATTEMPTS):
            try:
                write(part)
                part.rename(self._directory / name)
                return (self._directory / name).open("rb")
            except (OSError, tensor_file.TensorFileError) as error:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
                if not isinstance(error, FileNotFoundError) or attempt == ATTEMPTS - 1:
                    path = self._directory / name
                    raise SwarmError(
                        f"cannot write the parameters to {path}: {error}. The model is unharmed"
                    ) from error
        raise AssertionError("unreachable")

    def _write(self, part: Path, tensors: Mapping[str, tensor_file.Tensor]) -> None:
        with suppress(FileNotFoundError):
            (self._directory / SPARE_FILE).rename(part)
        tensor_file.write(part, tensors)

    def _copy(self, part: Path) -> None:
        self._bytes.seek(0)
        with part.open("wb") as copy:
            shutil.copyfileobj(self._bytes, copy, 2**20)
        (self._directory / self.name).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bytes.close()
