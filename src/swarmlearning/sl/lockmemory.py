"""What a locked SL has to know again after a restart: what its lock made of which model, and which models are public.

It lies in the data directory, beside the models themselves, and never leaves it: it names what the script handed over.
What is lost of it costs budget, since the same is given anew, or keeps a model from others that they could have.
"""

import threading
from pathlib import Path
from typing import Final

import msgspec

from swarmlearning.files import replace_file
from swarmlearning.rounds.events import Released

FILE: Final = "privacy-lock.json"
MOST_RELEASES: Final = 64
MOST_PUBLIC: Final = 256


class _Known(msgspec.Struct):
    """`released`: by contract, the newest last. `public`: digests of models that this node has fetched or merged."""

    released: dict[str, list[Released]] = {}
    public: list[str] = []


class LockMemory:
    """One file in the data directory; written as a whole. Its methods may block, and may be called in any thread."""

    def __init__(self, directory: Path) -> None:
        """Reads what an earlier process left; a file that cannot be read counts as none. Raises `OSError`."""
        self._path = directory / FILE
        self._turn = threading.Lock()
        try:
            self._known = msgspec.json.decode(self._path.read_bytes(), type=_Known)
        except (FileNotFoundError, msgspec.DecodeError):
            self._known = _Known()

    def released(self, contract: str) -> tuple[Released, ...]:
        """What the lock has given to this contract, the newest last."""
        return tuple(self._known.released.get(contract, ()))

    def is_public(self, digest: str) -> bool:
        """True of a model that others have, or that was merged here."""
        return digest in self._known.public

    def add(self, contract: str, done: Released) -> None:
        """Remembers what was given. Raises `OSError`."""
        with self._turn:
            earlier = [each for each in self._known.released.get(contract, ()) if each.release != done.release]
            self._known.released[contract] = [*earlier, done][-MOST_RELEASES:]
            self._write()

    def add_public(self, digest: str) -> None:
        """Remembers that a model is no secret of this site. Raises `OSError`."""
        with self._turn:
            if digest not in self._known.public:
                self._known.public = [*self._known.public, digest][-MOST_PUBLIC:]
                self._write()

    def _write(self) -> None:
        replace_file(self._path, msgspec.json.encode(self._known))
