"""Which organisation has made what at this site: a task may replace what its maker's organisation has made before.

Other tasks use outcomes by their names alone, without knowing who has made them last.
"""

from pathlib import Path

import msgspec

from swarmlearning.files import replace_file
from swarmlearning.node.errors import NodeError

FILE = "makers.json"
MOST = 4096
"""Outcomes that are known; of those before, it counts as unknown who has made them."""


class Makers:
    """Of the outcomes at the site of one SWOP, in its data directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE

    def maker(self, outcome: str) -> str | None:
        """The organisation whose task has made it last; None where that is not known. Raises `NodeError`."""
        return self._known().get(outcome)

    def note(self, outcome: str, organisation: str) -> None:
        """Keeps who makes an outcome, durably; to call before that begins. Raises `NodeError`."""
        known = self._known()
        if known.pop(outcome, None) == organisation and len(known) < MOST:
            return
        newest = dict([*known.items(), (outcome, organisation)][-MOST:])
        try:
            replace_file(self._path, msgspec.json.encode(newest))
        except OSError as error:
            raise NodeError(f"{self._path}: cannot be written: {error.strerror}") from error

    def _known(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}
        except OSError as error:
            raise NodeError(f"{self._path}: cannot be read: {error.strerror}") from error
