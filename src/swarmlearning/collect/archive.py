"""The archive: a compressed tar file that appears as a whole, with names of our own and within a bound."""

import io
import os
import re
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from swarmlearning.errors import UserError

MOST_BYTES: Final = 4 * 2**30
"""Bytes of all files before they are compressed; what does not fit is left out, and named."""
LONGEST_NAME: Final = 80
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


class CollectError(UserError):
    """Nothing can be collected, or the archive cannot be written; the message says what to do."""


def safe(name: str) -> str:
    """A name of a file or folder without anything that could lead elsewhere, from a name of others'."""
    return _UNSAFE.sub("-", name).lstrip(".-")[:LONGEST_NAME] or "unnamed"


class Archive:
    """Use as a context manager: the file is there when the block ends well, and else never was.

    Files may be added by several threads. What a thread still adds when the block has ended is left out.
    """

    def __init__(self, path: Path, root: str) -> None:
        """`root`: the folder that all files are in."""
        self._path = path
        self._root = safe(root)
        self._left = MOST_BYTES
        self._names: set[str] = set()
        self._made = int(time.time())
        self._turn = threading.Lock()
        self._over = False

    def __enter__(self) -> Self:
        """Raises `CollectError` when it cannot be written."""
        try:
            descriptor, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)  # mode 0600
        except OSError as error:
            raise self._fault(error) from error
        self._temporary = Path(name)
        self._file = os.fdopen(descriptor, "wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w:gz", compresslevel=6)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._turn:
            self._over = True
            try:
                if error is None:
                    self._tar.close()
                    self._file.flush()
                    os.fsync(self._file.fileno())
                    self._temporary.replace(self._path)
                self._file.close()
            except OSError as failure:
                raise self._fault(failure) from failure
            finally:
                self._temporary.unlink(missing_ok=True)

    def add(self, name: str, data: str | bytes) -> str:
        """Adds a file, and returns the name that it has got below the root; empty where it does not fit any more.

        `name`: parts joined by `/`, each of which is made safe. Raises `CollectError`.
        """
        content = data.encode(errors="backslashreplace") if isinstance(data, str) else data
        with self._turn:
            return self._add("/".join(safe(part) for part in name.split("/")), content)

    def _add(self, given: str, content: bytes) -> str:
        if len(content) > self._left or self._over:
            return ""
        self._left -= len(content)
        chosen, count = given, 1
        while chosen in self._names:
            count += 1
            chosen = f"{given}-{count}"
        self._names.add(chosen)
        entry = tarfile.TarInfo(f"{self._root}/{chosen}")
        entry.size, entry.mtime, entry.mode = len(content), self._made, 0o600
        try:
            self._tar.addfile(entry, io.BytesIO(content))
        except OSError as error:
            raise self._fault(error) from error
        return chosen

    def _fault(self, error: OSError) -> CollectError:
        return CollectError(f"{self._path}: cannot be written: {error.strerror}; name another --output")
