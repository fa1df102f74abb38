"""An identity in files that are replaced while a node runs.

Files are written one after the other, and each in parts. So a change is taken over once the files have been left alone
from one look to the next, and fit: until then, and whatever they hold, the node goes on with what it has. SIGHUP says
that they are complete.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swarmlearning.identity.certificates import CertificateError
from swarmlearning.identity.identity import Identity, IdentityError, ca_files
from swarmlearning.identity.source import Latest

logger = logging.getLogger("swarm.identity")

LOOK_SECONDS: Final = 2.0
"""Between two looks at the files: by their status, which also works where a file system reports no changes."""


@dataclass(frozen=True)
class IdentityFiles:
    """The paths of an identity's files; see `Identity.load`."""

    cacert: Path | None = None
    capath: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    passphrase: Path | None = None

    def or_from(self, environ: Mapping[str, str]) -> "IdentityFiles":
        """The same, with what is not given from the SWARM_ID_* variables of `environ`.

        Paths that name CAs win over both variables that do: whoever names the trusted CAs names all of them. A
        passphrase belongs to the key beside which it is named. An empty variable is none.
        """

        def variable(name: str) -> Path | None:
            value = environ.get(name)
            return Path(value) if value else None

        cacert, capath, key, passphrase = self.cacert, self.capath, self.key, self.passphrase
        if cacert is None and capath is None:
            cacert, capath = variable("SWARM_ID_CACERT"), variable("SWARM_ID_CAPATH")
        if key is None:
            key, passphrase = variable("SWARM_ID_KEY"), passphrase or variable("SWARM_ID_KEY_PASSPHRASE_FILE")
        return IdentityFiles(cacert, capath, self.cert or variable("SWARM_ID_CERT"), key, passphrase)

    def load(self, *, expired: bool = False) -> Identity:
        """As `Identity.load`."""
        return Identity.load(self.cacert, self.capath, self.cert, self.key, self.passphrase, expired=expired)

    def state(self) -> tuple[object, ...]:
        """A value that is another one when a file may have changed."""
        files = [path for path in (self.cert, self.key, self.passphrase, self.cacert) if path is not None]
        try:
            return tuple(map(_state, (*files, *(ca_files(self.capath) if self.capath else ()))))
        except IdentityError as error:
            return (str(error),)


class FileSource(Latest):
    """An `IdentitySource` that follows its files while `watch` runs.

    `seconds` pass between two looks. Raises `IdentityError` as `Identity.load` does.
    """

    def __init__(self, files: IdentityFiles, seconds: float = LOOK_SECONDS) -> None:
        state = files.state()  # before they are read: what is written meanwhile is a change
        super().__init__(files.load())
        self._files = files
        self._seconds = seconds
        self._asked = asyncio.Event()
        self._taken = self._seen = state
        self._refusal = ""

    async def watch(self) -> None:
        """See `WatchedSource`."""
        while True:
            asked = await self._next_look()
            state = await asyncio.to_thread(self._files.state)
            settled, self._seen = state == self._seen, state
            if asked or (settled and state != self._taken):
                await self._read(state, asked)

    def look(self) -> None:
        """See `WatchedSource`."""
        self._asked.set()

    async def _next_look(self) -> bool:
        """Waits until it is time; True where somebody has asked for it."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._asked.wait()
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    async def _read(self, state: tuple[object, ...], asked: bool) -> None:
        """Takes over what the files hold; a refusal is logged once, since a certificate may become valid later."""
        try:
            identity = await asyncio.to_thread(self._files.load)
            changed = identity != self.current
            if changed:
                self.replace(identity)
        except (IdentityError, CertificateError) as error:
            if asked or str(error) != self._refusal:
                logger.warning(
                    "%s. This node goes on with the certificate that it has, which is valid until %s",
                    error,
                    _end(self.current),
                )
            self._refusal = str(error)
            return
        self._taken, self._refusal = state, ""
        if changed:
            logger.info("%s: read anew, valid until %s", self._files.cert, _end(identity))
        elif asked:
            logger.info("%s: nothing has changed in the certificate and the CAs trusted", self._files.cert)


def _end(identity: Identity) -> str:
    return f"{identity.certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"


def _state(path: Path) -> object:
    """What tells one content of a file from another, without reading it."""
    try:
        found = path.stat()
    except OSError as error:
        return path, error.errno
    return path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
