"""The documents of a license server as files, read anew when they have changed: no restart, no signal."""

import logging
from collections.abc import Sequence
from pathlib import Path

from swarmlearning.files import open_plain
from swarmlearning.license.documents import MOST_BYTES, Issuers, License, Revocations, read_public_key
from swarmlearning.license.features import LicenseError
from swarmlearning.license.rights import Rights

logger = logging.getLogger("swarm.license")

Stamp = tuple[int, int, int]
"""Of a file: inode, size and time of the last change."""


class Shelf:
    """Licenses and lists of revoked ones in these files, of issuers whose public keys are in `issuers`."""

    def __init__(self, licenses: Sequence[Path], revoked: Sequence[Path], issuers: Sequence[Path]) -> None:
        """Raises `LicenseError` when one of them cannot be used."""
        self._issuers = Issuers(read_public_key(read_file(path), str(path)) for path in issuers)
        self._licenses = tuple(licenses)
        self._revoked = tuple(revoked)
        self._stamps = self._look()
        self.rights = self._read()

    def refresh(self) -> Rights:
        """What the files allow now. Where a changed one cannot be used, all stays as it was, and the log says so."""
        if (stamps := self._look()) != self._stamps:
            self._stamps = stamps
            try:
                self.rights = self._read()
                logger.info("The license documents have changed and are read anew")
            except LicenseError as error:
                logger.error("%s. Everything stays as it was before this change", error)
        return self.rights

    def _read(self) -> Rights:
        return Rights(
            [self._issuers.read(read_file(path), str(path), License) for path in self._licenses],
            [self._issuers.read(read_file(path), str(path), Revocations) for path in self._revoked],
        )

    def _look(self) -> list[Stamp | None]:
        return [_stamp(path) for path in (*self._licenses, *self._revoked)]


def read_file(path: Path) -> bytes:
    """The content of a key or document. Raises `LicenseError`."""
    try:
        with open_plain(path.resolve()) as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise LicenseError(f"{path}: cannot be read: {error.strerror}") from error


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
