"""A node's diary: how it has spent the latest rounds, a JSON line for each, in two files of bounded size.

It only explains. So nothing waits for it: a line that the disk does not take is lost, and so is one that was half
written when the power failed.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from swarmlearning.views.times import RoundTimes

logger = logging.getLogger("swarm.node")

FILE: Final = "rounds.jsonl"
HALF: Final = 4 * 2**20
"""Bytes, after which a new file begins; two of them are kept: some thousand rounds of a dozen sites."""
MOST_BYTES: Final = 96 * 1024
"""Of the records in one answer, which has room for so much."""


class Diary:
    """The diary in a data directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._older = directory / f"{FILE}.1"
        self._complained = False

    def add(self, record: RoundTimes) -> None:
        """Adds a line; where the disk does not take it, says so once."""
        try:
            with suppress(FileNotFoundError):
                if self._path.stat().st_size >= HALF:
                    self._path.replace(self._older)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, msgspec.json.encode(record) + b"\n")
            finally:
                os.close(descriptor)
        except OSError as error:
            if not self._complained:
                logger.warning("%s cannot be written, so these rounds are not explained: %s", self._path, error)
            self._complained = True

    def find(self, contract: str, number: int) -> tuple[RoundTimes, ...]:
        """The records of a round in the latest run that has one; several where it was made again. Raises OSError."""
        mark = b'"round":%d' % number  # most lines are not parsed
        found = [each for each in self._records(mark) if (each.contract, each.round) == (contract, number)]
        latest = [each for each in found if each.run == found[-1].run][-8:]
        size = 0
        for index, each in enumerate(reversed(latest)):
            size += len(msgspec.json.encode(each))
            if size > MOST_BYTES:
                return tuple(latest[len(latest) - index :])
        return tuple(latest)

    def _records(self, mark: bytes) -> Iterator[RoundTimes]:
        for path in (self._older, self._path):
            with suppress(FileNotFoundError), path.open("rb") as file:
                for line in file:
                    if mark not in line:
                        continue
                    with suppress(msgspec.DecodeError, UnicodeDecodeError):
                        yield msgspec.json.decode(line, type=RoundTimes)
