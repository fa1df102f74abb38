"""What is wrong with a document, and the one error that says all of it."""

from typing import NamedTuple

from swarmlearning.documents.nodes import Mark
from swarmlearning.errors import UserError

FAULTS_SHOWN = 10


class Fault(NamedTuple):
    """One thing that is wrong: where, in which field (such as `nodes[0].slnodedef.slport`; may be empty), and what."""

    mark: Mark
    field: str
    message: str


class DocumentError(UserError):
    """A document that cannot be used: one line for each fault, with file, line, column and field."""

    def __init__(self, name: str, faults: tuple[Fault, ...]) -> None:
        self.faults = faults
        shown = "".join(character if character.isprintable() else "?" for character in name)
        lines = [
            f"{shown}:{mark.line}:{mark.column}: {f'{field}: ' if field else ''}{message}"
            for mark, field, message in faults[:FAULTS_SHOWN]
        ]
        if len(faults) > FAULTS_SHOWN:
            lines.append(f"{shown}: and {len(faults) - FAULTS_SHOWN} more")
        super().__init__("\n".join(lines))


class Faults:
    """Collects what is wrong with one document."""

    def __init__(self) -> None:
        self._found: list[Fault] = []

    def add(self, mark: Mark, field: str, message: str) -> None:
        self._found.append(Fault(mark, field, message))

    def raise_any(self, name: str) -> None:
        """Raises `DocumentError` if there are any, in the order of the file."""
        if self._found:
            raise DocumentError(name, tuple(sorted(self._found)))
