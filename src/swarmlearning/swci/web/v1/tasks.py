"""`/v1/tasks`: tasks on the ledger."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from swarmlearning.ledger.contracts import tasks
from swarmlearning.ledger.contracts.tasks import Task
from swarmlearning.ledger.world import World
from swarmlearning.operator.acts import Act
from swarmlearning.operator.tasks import create_acts, delete_task, finalize_task
from swarmlearning.swci.folders import LARGEST_FILE
from swarmlearning.swci.web.answers import failures
from swarmlearning.swci.web.v1.ledger import Done, Limit, Network, NotFoundError, Offset
from swarmlearning.swci.web.v1.models import Page, model_of, page_of
from swarmlearning.taskfiles.taskfile import read_task_file
from swarmlearning.views.names import displayed
from swarmlearning.views.tasks import TaskView, task_view, task_views

router = APIRouter(prefix="/tasks", tags=["tasks"], responses=failures(404, 409, 503))
TASK = model_of(TaskView)
SHORT = model_of(TaskView, without=("lines",))


class NewTask(BaseModel):
    """A task to create: the text of its YAML file, and whether it becomes final at once."""

    definition: Annotated[str, Field(max_length=LARGEST_FILE)]
    finalize: bool = True


@router.get("", response_model=Page[SHORT])  # type: ignore[valid-type]
async def list_all(ledger: Network, offset: Offset = 0, limit: Limit = 100) -> Any:
    """The tasks by name, without their bodies; first the one that is there from the start."""
    return page_of(task_views(await ledger.world()), offset, limit)


@router.post("", response_model=TASK)
async def create(ledger: Network, new: NewTask) -> Any:
    """Creates the task of a file."""
    found = read_task_file(new.definition.encode(), "definition")
    create, *appends = create_acts(await ledger.world(), found)
    await ledger.act(lambda _: create)
    for append in appends:
        await ledger.act(partial(_same, append))
    if new.finalize:
        await ledger.act(lambda world: finalize_task(world, found.name))
    return task_view(_known(await ledger.world(), found.name))


@router.get("/{name}", response_model=TASK)
async def show(ledger: Network, name: str) -> Any:
    """A task with its body."""
    return task_view(_known(await ledger.world(), name))


@router.post("/{name}/finalize", response_model=Done)
async def finalize(ledger: Network, name: str) -> Any:
    """Makes a task final: it does not change any more, and can be assigned."""
    _known(await ledger.world(), name)
    return await ledger.act(lambda world: finalize_task(world, name))


@router.delete("/{name}", response_model=Done)
async def delete(ledger: Network, name: str) -> Any:
    """Deletes a task that is not final."""
    _known(await ledger.world(), name)
    return await ledger.act(lambda world: delete_task(world, name))


def _same(act: Act, _world: World) -> Act:
    return act


def _known(world: World, name: str) -> Task:
    found = tasks.task(world, name)
    if found is None:
        raise NotFoundError(f"there is no task {displayed(name)!r}")
    return found
