"""The SWOP's memory on disk: `swop.json` in its data directory, replaced durably as a whole."""

import logging
from pathlib import Path

import msgspec

from swarmlearning.files import replace_file
from swarmlearning.node.errors import NodeError
from swarmlearning.swop.facts import Memory

logger = logging.getLogger("swarm.swop")

FILE = "swop.json"
DAMAGED = ".damaged"


class Journal:
    """What a SWOP with this data directory must not forget."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE

    def read(self) -> Memory | None:
        """What was remembered; None without anything.

        A damaged file is named, set aside and treated as lost: what its attempt has started is then found and removed.
        Raises `NodeError` for one that cannot be read at all.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Memory | None)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            aside = self._path.with_name(FILE + DAMAGED)
            self._path.replace(aside)
            logger.error(
                "%s is damaged (%s): the task in progress, if there was one, is given up. The file is now %s",
                *(self._path, error, aside),
            )
            return None
        except OSError as error:
            raise NodeError(f"{self._path}: cannot be read: {error.strerror}") from error

    def write(self, memory: Memory | None) -> None:
        """Returns once it is durable. Raises `NodeError` when it cannot be written."""
        try:
            replace_file(self._path, msgspec.json.encode(memory))
        except OSError as error:
            raise NodeError(f"{self._path}: cannot be written: {error.strerror}") from error
