"""What the site's operator is asked, and has answered: small files in the SWOP's data directory.

`swarm swop approve` and `reject` write an answer beside the question and then connect to a socket in the same folder,
which wakes the SWOP; one that is not running finds the answer when it starts. Nothing listens on a network.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from swarmlearning.channel.address import connect
from swarmlearning.files import make_private, replace_file
from swarmlearning.node.errors import NodeError
from swarmlearning.node.usersocket import listening

logger = logging.getLogger("swarm.swop")

FOLDER: Final = "approvals"
SOCKET: Final = "wake.sock"
SHORTEST: Final = 6
"""Digits of a digest that are enough to name it."""
MOST_QUESTIONS: Final = 200
"""Questions without an answer that are kept; older ones give way, since others can assign as much as they like."""
WAKE_SECONDS: Final = 5.0


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator approves of: the digest covers the task, its prerequisites and what these have brought in."""

    digest: str
    taskrunner: str
    task: str
    type: str
    assigned_by: str
    reasons: tuple[str, ...]
    says: tuple[str, ...]
    """The task and its prerequisites, as the ledger has them: a line each."""


class Answers(NamedTuple):
    """The digests that the operator has answered."""

    approved: frozenset[str]
    rejected: frozenset[str]


class Approvals:
    """The questions and answers of one SWOP, below its data directory."""

    def __init__(self, directory: Path) -> None:
        self._folder = directory / FOLDER

    def ask(self, question: Question) -> bool:
        """Keeps a question for the operator; False where it stands already. Raises `NodeError`."""
        path = self._folder / f"{question.digest}.json"
        if path.exists():
            return False
        try:
            make_private(self._folder)
            for old in sorted(self._folder.glob("*.json"), key=lambda each: each.stat().st_mtime)[: 1 - MOST_QUESTIONS]:
                old.unlink(missing_ok=True)
            replace_file(path, msgspec.json.encode(question))
        except OSError as error:
            raise NodeError(f"{path}: cannot be written: {error.strerror}") from error
        return True

    def answers(self) -> Answers:
        """All answers so far."""
        return Answers(*(frozenset(each.stem for each in self._folder.glob(f"*.{end}")) for end in _ENDS.values()))

    def waiting(self) -> list[Question]:
        """The questions without an answer, the oldest first."""
        answered = frozenset[str]().union(*self.answers())
        found = sorted(self._folder.glob("*.json"), key=lambda each: (each.stat().st_mtime, each.name))
        return [question for path in found if path.stem not in answered and (question := _read(path)) is not None]

    def answer(self, named: str, *, approved: bool) -> str:
        """Answers the question of this digest, or that it begins; the other answer, too, can be replaced. Returns the
        digest. Raises `NodeError` where no question, or more than one, is named so."""
        known = {path.stem for path in self._folder.glob("*.json")}
        found = [digest for digest in known if digest.startswith(named)] if len(named) >= SHORTEST else []
        if len(found) != 1:
            amount = "more than one question has" if found else "no question has"
            raise NodeError(
                f"{amount} the digest {named!r}: `swarm swop list` shows those that wait; the first {SHORTEST} digits "
                "are enough if they are unique"
            )
        digest = found[0]
        try:
            replace_file(self._folder / f"{digest}.{_ENDS[approved]}", b"")
            (self._folder / f"{digest}.{_ENDS[not approved]}").unlink(missing_ok=True)
        except OSError as error:
            raise NodeError(f"{self._folder}: cannot be written: {error.strerror}") from error
        return digest

    def wake(self) -> bool:
        """Lets the SWOP look at the answers; False where none is running."""
        try:
            connect(self._folder / SOCKET, WAKE_SECONDS).close()
        except OSError:
            return False
        return True

    @asynccontextmanager
    async def watched(self, on_answer: Callable[[], None]) -> AsyncIterator[None]:
        """Inside the block `on_answer` is called whenever an operator has answered. Raises `NodeError`."""

        def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()
            on_answer()

        try:
            make_private(self._folder)
        except OSError as error:
            raise NodeError(f"{self._folder}: cannot be made: {error.strerror}") from error
        async with listening(self._folder, SOCKET, answered, "answers of the site's operator"):
            yield


_ENDS: Final = {True: "approved", False: "rejected"}


def _read(path: Path) -> Question | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Question)
    except (OSError, msgspec.DecodeError) as error:
        logger.warning("%s: no question can be read from it: %s", path, error)
        return None
