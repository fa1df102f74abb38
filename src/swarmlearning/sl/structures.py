"""The structure of the model that this site's script has opened its last session with.

What a tensor is for is known by it alone: model files have no roles. So it is kept in the data directory: a node that
was started again goes on merging while its script is away, or has ended.
"""

import logging
from pathlib import Path

from swarmlearning.tensors.structure import NO_ROLES, Roles, Structure

logger = logging.getLogger("swarm.SL")


class KnownStructure:
    """The last structure learned; in the file `path`, one line a tensor, also for people and for `swarm doctor`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = self._read()
        self._digest = self.last.digest if self.last.roles else ""  # without roles nobody needs it

    def learn(self, structure: Structure, digest: str) -> None:
        """Keeps the structure, which has this digest."""
        self.last, self._digest = structure, digest
        try:
            self.path.write_text(structure.text, encoding="utf-8")
        except OSError as error:
            logger.warning("%s cannot be written: %s", self.path, error.strerror)

    def roles(self, digest: str) -> Roles:
        """The roles in the structure with this digest; none where they do not count in it, or another one is known."""
        return self.last.roles if self._digest == digest else NO_ROLES

    def _read(self) -> Structure:
        try:
            return Structure.parse(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # there was no script yet, or a crash has cut the file
            return Structure(())
