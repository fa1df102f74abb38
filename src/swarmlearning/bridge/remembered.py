"""State that outlives a restart of the SL: the session of an ML process that still trains, and the last merged model.

The original's client knows nothing of a restarted SL: it goes on with its open pipes and its session. So that is kept
in a small file, and the merged model, as a second name of the SL's own file, beside it. Neither is needed after a power
loss, which ends the ML process too; nothing is synced to the disk.
"""

import os
from pathlib import Path

import msgspec

from swarmlearning.bridge.messages import OpenSession
from swarmlearning.channel.messages import TensorSpec


class Session(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`structure` is in the order of the client's weights, empty until it has sent some; `holds` is the digest
    of the merged model that it trains from."""

    id: str
    request: OpenSession
    structure: tuple[TensorSpec, ...] = ()
    holds: str = ""


class Memory:
    """Files in `directory`, made when needed. All raise `OSError`."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "session.json"
        self.merged = directory / "merged.safetensors"

    def load(self) -> Session | None:
        """The session; None when there is none, or not a whole one."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Session)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def save(self, session: Session) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        part = self._file.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(session))
        part.replace(self._file)

    def keep(self, model: Path) -> None:
        """`merged` becomes another name of that file."""
        self.merged.parent.mkdir(parents=True, exist_ok=True)
        self.merged.unlink(missing_ok=True)
        os.link(model, self.merged)

    def forget(self) -> None:
        self._file.unlink(missing_ok=True)
        self.merged.unlink(missing_ok=True)
