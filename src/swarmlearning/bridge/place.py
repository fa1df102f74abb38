"""The folder that the original's client shares with its SL: where the files with weights are.

The client has `/tmp/hpe-swarm` built in, and may run as any user. Below `/tmp` anybody may have prepared something
under that name, so no link is followed, and nothing is opened that is not a plain file.
"""

import fcntl
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

from swarmlearning.bridge.errors import BridgeError, Unusable

TRAINED: Final = "trained_weights.pkl"
MERGED: Final = "merged_weights.pkl"
_SAFE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Place:
    """The folder, which belongs to one SL as long as this object is open."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor = -1

    def prepare(self) -> None:
        """Makes the folder and its two files, for any user, where they are missing. Raises `BridgeError`."""
        try:
            if not self._directory.exists():
                self._directory.mkdir(parents=True, exist_ok=True)
                self._directory.chmod(0o1777)
            self._descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | _SAFE)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in (TRAINED, MERGED):
                self._make(name)
        except BlockingIOError:
            self.close()
            raise BridgeError(
                f"{self._directory} is in use by another SL node: each pair of an SL and a client needs a folder of "
                "its own (--bridge-dir)"
            ) from None
        except OSError as error:
            self.close()
            raise BridgeError(f"{error.filename or self._directory}: cannot create file: {error.strerror}") from error

    def read(self, name: str) -> BinaryIO:
        """The client's file, open. Raises `Unusable`."""
        try:
            return self._open(name, os.O_RDONLY, "rb")
        except OSError as error:
            raise Unusable(f"{self._directory / name}: {error.strerror}") from error

    def rewrite(self) -> BinaryIO:
        """The file for merged weights, open at its beginning; the writer cuts it off behind what is new. Raises
        `OSError`."""
        self._make(MERGED)
        return self._open(MERGED, os.O_RDWR, "r+b")

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, name: str, flags: int, mode: str) -> BinaryIO:
        descriptor = os.open(name, flags | _SAFE, dir_fd=self._descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(0, "it is not a plain file", name)
        file: BinaryIO = os.fdopen(descriptor, mode)  # type: ignore[assignment]
        return file

    def _make(self, name: str) -> None:
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | _SAFE, 0o777, dir_fd=self._descriptor)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(0, "there is something else of that name", name)
            if found.st_uid == os.geteuid():
                os.fchmod(descriptor, 0o777)
        finally:
            os.close(descriptor)
