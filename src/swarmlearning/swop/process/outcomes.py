"""What the tasks of this site have made: for each outcome's name its digests, and its environment where it is one."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from swarmlearning.files import replace_file


class Outcome(msgspec.Struct, frozen=True):
    """`digests` of what it has brought in; `environment` is the name of its folder, empty for content."""

    name: str
    digests: tuple[str, ...]
    environment: str = ""
    variables: dict[str, str] = {}


class Outcomes:
    """Kept in `folder`, a file each, replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> Outcome | None:
        """The outcome of this name; None where it is not known, or its file is damaged."""
        return _read(self._path(name))

    def keep(self, outcome: Outcome) -> None:
        """Replaces what was known under its name. Raises `OSError`."""
        replace_file(self._path(outcome.name), msgspec.json.encode(outcome))

    def __iter__(self) -> Iterator[Outcome]:
        return (outcome for path in sorted(self._folder.glob("*.json")) if (outcome := _read(path)))

    def _path(self, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"


def _read(path: Path) -> Outcome | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Outcome)
    except (OSError, msgspec.DecodeError):
        return None
