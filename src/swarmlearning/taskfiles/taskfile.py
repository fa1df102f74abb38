"""Task files as operators write them, and the definition behind the lines that the ledger keeps."""

from typing import NamedTuple

from swarmlearning.documents.reading import Value, read
from swarmlearning.taskfiles.body import TASK_TYPES, body
from swarmlearning.taskfiles.definition import Credentials, Definition, PullImage, TaskType
from swarmlearning.taskfiles.fields import filled
from swarmlearning.taskfiles.lines import MOST_LINES, body_lines


class TaskFile(NamedTuple):
    """A task as its file says: `lines` is the body for the ledger; `warnings` are for the person who creates it."""

    name: str
    type: TaskType
    author: str
    prerequisite: str
    outcome: str
    definition: Definition
    lines: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def read_task_file(data: bytes, name: str) -> TaskFile:
    """Reads a task file; `name` is the file's, for messages. Raises `DocumentError`."""
    return read(data, name, _task)


def definition(task_type: TaskType, lines: tuple[str, ...], name: str = "task body") -> Definition:
    """What a task of the ledger says, whoever wrote its lines, and how; faults name the line's number.

    Raises `DocumentError`.
    """
    return read("\n".join(lines).encode(), name, lambda root: body(task_type, _unwrapped(root)))


def _task(root: Value) -> TaskFile:
    fields = root.fields(("Name", "TaskType", "Author", "Prereq", "Outcome", "Body"))
    task_type = fields["TaskType"].choice(TASK_TYPES)
    what = body(task_type, fields["Body"])
    lines = body_lines(what)
    if len(lines) > MOST_LINES:
        fields["Body"].fault(f"it takes {len(lines)} lines on the ledger; at most {MOST_LINES} are allowed")
    return TaskFile(
        filled(fields["Name"]),
        task_type,
        filled(fields["Author"]),
        filled(fields["Prereq"]),
        filled(fields["Outcome"]),
        what,
        lines,
        _warnings(what),
    )


def _unwrapped(root: Value) -> Value:
    """The body, also where somebody has appended it with the key `Body` above it."""
    entries = root.entries() if root.is_mapping else []
    return entries[0][1] if len(entries) == 1 and entries[0][0] == "Body" else root


def _warnings(what: Definition) -> tuple[str, ...]:
    if isinstance(what, PullImage) and isinstance(what.auth, Credentials):
        return (
            "Auth has a password, which all members of the network can read on the ledger for ever; use the path of "
            "a Docker config.json at each site instead",
        )
    return ()
