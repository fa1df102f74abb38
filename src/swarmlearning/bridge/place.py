"""The folder that the original's client shares with its SL: where the files with weights are.

The client has `/tmp/hpe-swarm` built in. Below `/tmp` anybody may have prepared something under that name, so nothing
is used that `Access` refuses, and no link is followed.
"""

import fcntl
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

from swarmlearning.bridge.access import OPEN_FLAGS, Access, problem
from swarmlearning.bridge.errors import BridgeError, Unusable

TRAINED: Final = "trained_weights.pkl"
MERGED: Final = "merged_weights.pkl"


class Place:
    """The folder, which belongs to one SL as long as this object is open."""

    def __init__(self, directory: Path, access: Access) -> None:
        self._directory = directory
        self._access = access
        self._descriptor = -1

    def prepare(self) -> None:
        """Makes the folder and its two files where they are missing. Raises `BridgeError`."""
        try:
            self._access.check_parents(self._directory)
            made = self._make_folder()
            self._access.check_parents(self._directory)  # of parents, too, that were missing before
            self._descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | OPEN_FLAGS)
            self._access.secure(self._descriptor, str(self._directory), stat.S_IFDIR, made=made)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in (TRAINED, MERGED):
                os.close(self._make(name))
        except BlockingIOError:
            self.close()
            raise BridgeError(
                f"{self._directory} is in use by another SL node: each pair of an SL and a client needs a folder of "
                "its own (--bridge-dir)"
            ) from None
        except OSError as error:
            self.close()
            where = self._directory / (error.filename or "")
            raise BridgeError(f"{where}: cannot create file: {problem(error)}") from error

    def read(self, name: str) -> BinaryIO:
        """The client's file, open. Raises `Unusable`."""
        try:
            return os.fdopen(self._open(name, os.O_RDONLY), "rb")
        except OSError as error:
            raise Unusable(f"{self._directory / name}: {problem(error)}") from error

    def rewrite(self) -> BinaryIO:
        """The file for merged weights, open at its beginning; the writer cuts it off behind what is new.

        Raises `OSError`.
        """
        return os.fdopen(self._make(MERGED), "r+b")

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _make_folder(self) -> bool:
        """True if it was missing."""
        try:
            for missing in reversed([each for each in self._directory.parents if not each.exists()]):
                missing.mkdir(mode=0o755, exist_ok=True)  # others cannot write to it, whatever the umask
            self._directory.mkdir(mode=0o700)
        except FileExistsError:
            return False
        return True

    def _make(self, name: str) -> int:
        """The file's descriptor, to read and write."""
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, 0o600, dir_fd=self._descriptor)
        except FileExistsError:
            return self._open(name, os.O_RDWR)
        return self._secured(descriptor, name, made=True)

    def _open(self, name: str, flags: int) -> int:
        return self._secured(os.open(name, flags | OPEN_FLAGS, dir_fd=self._descriptor), name, made=False)

    def _secured(self, descriptor: int, name: str, *, made: bool) -> int:
        try:
            self._access.secure(descriptor, name, stat.S_IFREG, made=made)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
