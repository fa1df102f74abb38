"""The entries of tasks, and how they are looked up: by the names that other rooms use.

A task is a draft until it is finalized; then it never changes. Its digest, fixed at that moment, covers what will be
done: type, outcome, all lines, and by its digest the prerequisite. Name and author are not part of it.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from swarmlearning.choices import ROOT_TASK, TaskType
from swarmlearning.ledger.canonical import canonical, sha256
from swarmlearning.ledger.world import World

TypeOfTask: TypeAlias = TaskType | Literal["ROOT_TASK"]


class Task(msgspec.Struct, frozen=True):
    """A task. `by`: the UID of the operator that has made it, of `organisation` and with this certificate `subject`;
    `author` is only what its file states. `digest` is empty while it is a draft. `on_behalf_of`: the person for whom
    that operator has made it, where it has stated one."""

    name: str
    type: TypeOfTask
    author: str
    prerequisite: str
    outcome: str
    state: Literal["draft", "final", "deleted"]
    by: str
    organisation: str
    subject: str
    created_ms: int
    lines: tuple[str, ...] = ()
    digest: str = ""
    on_behalf_of: str | UnsetType = UNSET

    @property
    def final(self) -> bool:
        """True once it cannot change any more."""
        return self.state == "final"


def digest_of(kind: TypeOfTask, outcome: str, lines: Sequence[str], prerequisite: str) -> str:
    """The digest of a task; `prerequisite` is that of its prerequisite."""
    return sha256(canonical([kind, outcome, list(lines), prerequisite]))


ROOT = Task(
    name=ROOT_TASK,
    type="ROOT_TASK",
    author="HPE",
    prerequisite=ROOT_TASK,
    outcome=ROOT_TASK,
    state="final",
    by="",
    organisation="",
    subject="",
    created_ms=0,
    digest=digest_of("ROOT_TASK", ROOT_TASK, (), ""),
)
"""There from the start, without a transaction; nobody has made it."""


def task(world: World, name: str) -> Task | None:
    """The task of this name, draft or final."""
    if name == ROOT_TASK:
        return ROOT
    found = world.get(f"task/{name}", Task)
    return found if found is not None and found.state != "deleted" else None


def tasks(world: World) -> tuple[Task, ...]:
    """All tasks, drafts too, by name; first the one that is there from the start."""
    return (ROOT, *(each for each in world.area("task/", Task) if each.state != "deleted"))


def lines(world: World, name: str) -> tuple[str, ...]:
    """The lines of a task's body; none where there is no such task."""
    found = task(world, name)
    return found.lines if found else ()


def chain(world: World, name: str) -> tuple[Task, ...]:
    """A final task and its prerequisites, in the order in which they are carried out: the task itself last, without
    the one that is there from the start. Empty where there is no final task of this name."""
    found: list[Task] = []
    current = task(world, name)
    while current is not None and current.final and current is not ROOT:
        found.append(current)
        current = task(world, current.prerequisite)
    return tuple(reversed(found))
