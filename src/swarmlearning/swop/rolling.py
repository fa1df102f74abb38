"""The newest output of a program, in files of bounded size."""

from pathlib import Path
from typing import BinaryIO


class RollingFile:
    """Keeps the newest of what is written in two files of at most `most` bytes each: `path`, and the older one as `.1`.

    It goes on where it ended; `anew`: it begins again. All raise `OSError`."""

    def __init__(self, path: Path, most: int, *, anew: bool = False) -> None:
        self._path = path
        self._most = most
        self._file: BinaryIO = path.open("wb" if anew else "ab", buffering=0)

    def write(self, data: bytes) -> None:
        """Appends."""
        if self._file.tell() + len(data) > self._most:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            newer = self._path.open("ab", buffering=0)
            self._file.close()
            self._file = newer
        self._file.write(data)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
