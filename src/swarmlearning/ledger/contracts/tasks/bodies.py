"""The bodies of transactions on a task; the contract that a transaction names is the task."""

from typing import Annotated, TypeAlias

import msgspec

from swarmlearning.choices import TaskType
from swarmlearning.ledger.fields import INVISIBLE, Body, Name

MAX_LINES = 512
"""Lines of a task's body."""
BATCH = 4
"""Lines that one transaction appends."""

Line: TypeAlias = Annotated[str, msgspec.Meta(max_length=79, pattern=rf"^[^{INVISIBLE}]*\Z")]
"""One line of a task's body, which is a text for whoever carries the task out."""


class CreateTask(Body, frozen=True):
    """An operator creates the draft of a task. `author` is what its file states, and proves nothing; `prerequisite`
    names another task, `outcome` what it makes: an image, an environment, a volume."""

    type: TaskType
    author: Name
    prerequisite: Name
    outcome: Name


class AppendTaskBody(Body, frozen=True):
    """Sets the lines from `index` (1 is the first) on; there are no gaps."""

    index: Annotated[int, msgspec.Meta(ge=1, le=MAX_LINES)]
    lines: Annotated[tuple[Line, ...], msgspec.Meta(min_length=1, max_length=BATCH)]


class FinalizeTask(Body, frozen=True):
    """From now on the task does not change, and can be assigned."""


class DeleteTask(Body, frozen=True):
    """Removes the draft of a task."""
