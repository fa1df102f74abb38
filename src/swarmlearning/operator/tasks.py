"""An operator's acts on tasks, and how the tasks of files come to stand on the ledger, final."""

from collections.abc import Iterator

from swarmlearning.ledger.bodies import AppendTaskBody, CreateTask, DeleteTask, FinalizeTask
from swarmlearning.ledger.contracts import tasks
from swarmlearning.ledger.contracts.tasks import Task
from swarmlearning.ledger.contracts.tasks.bodies import BATCH
from swarmlearning.ledger.world import World
from swarmlearning.operator.acts import Act, ActError, checked
from swarmlearning.operator.session import Operator
from swarmlearning.taskfiles.taskfile import TaskFile
from swarmlearning.views.names import displayed


def task(world: World, name: str) -> Task:
    """The task of this name. Raises `ActError`."""
    found = tasks.task(world, name)
    if found is None:
        raise ActError(f"there is no task {displayed(name)!r}; `swarm task list` shows those there are")
    return found


def create_acts(world: World, file: TaskFile) -> Iterator[Act]:
    """Creates the draft of a file's task, with its body. Raises `ActError`."""
    if (known := tasks.task(world, file.name)) is not None:
        raise ActError(
            f"there is a task {displayed(file.name)} already ({known.state}); give the task another Name, or delete "
            f"a draft: swarm task delete {displayed(file.name)}"
        )
    created = checked(CreateTask(file.type, file.author, file.prerequisite, file.outcome))
    yield Act(file.name, created, f"task {displayed(file.name)} is created")
    for start in range(0, len(file.lines), BATCH):
        body = checked(AppendTaskBody(start + 1, file.lines[start : start + BATCH]))
        yield Act(file.name, body, f"task {displayed(file.name)} has {start + len(body.lines)} lines")


def finalize_task(world: World, name: str) -> Act:
    """Makes a draft final. Raises `ActError`."""
    if task(world, name).final:
        raise ActError(f"task {displayed(name)} is final already")
    return Act(name, FinalizeTask(), f"task {displayed(name)} is final, and can be assigned")


def delete_task(world: World, name: str) -> Act:
    """Removes a draft. Raises `ActError`."""
    if task(world, name).final:
        raise ActError(f"task {displayed(name)} is final: it stays on the ledger")
    return Act(name, DeleteTask(), f"task {displayed(name)} is deleted")


async def establish(operator: Operator, file: TaskFile, on_behalf_of: str = "") -> bool:
    """Has the task of a file on the ledger, final, for a person; True if it was not there before.

    An equal one is used as it is, a draft of that name is made anew. Raises `ActError` for another final task of that
    name, and `NodeError` with the ledger's reason.
    """
    known = tasks.task((await operator.refresh()).world, file.name)
    if known is not None and known.final:
        if not is_equal(known, file):
            raise ActError(
                f"there is another task {displayed(file.name)}, which is final; give the task in the file another Name"
            )
        return False
    if known is not None:
        await operator.perform(delete_task(operator.chain.world, file.name), on_behalf_of)
    for act in create_acts(operator.chain.world, file):
        await operator.perform(act, on_behalf_of)
    await operator.perform(finalize_task(operator.chain.world, file.name), on_behalf_of)
    return True


def is_equal(known: Task, file: TaskFile) -> bool:
    """True if the task is what the file says, whoever is named as its author."""
    own = (known.type, known.prerequisite, known.outcome, known.lines)
    return own == (file.type, file.prerequisite, file.outcome, file.lines)
