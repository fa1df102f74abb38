"""Commands about tasks."""

from typing import get_args

from swarmlearning.choices import TaskType
from swarmlearning.errors import UserError
from swarmlearning.ledger.bodies import AppendTaskBody, CreateTask
from swarmlearning.operator.acts import Act, checked
from swarmlearning.operator.tasks import create_acts, delete_task, finalize_task, task
from swarmlearning.swci.output import Line, Lines, fields, line
from swarmlearning.swci.session import Session
from swarmlearning.taskfiles.taskfile import read_task_file
from swarmlearning.views.names import displayed
from swarmlearning.views.render import clock
from swarmlearning.views.tasks import task_view, task_views

LONGEST_LINE = 79


async def create_from(session: Session, path: str) -> Lines:
    """CREATE TASK FROM."""
    found = read_task_file(session.folders.read(path), path)
    yield line("Task definition is valid")
    for warning in found.warnings:
        yield line(f"WARNING - {warning}")
    create, *appends = create_acts((await session.chain()).world, found)
    await session.perform(lambda world: create)
    yield line(f"Task Registered : {found.name}")
    yield line("Appending Task Body")
    for act in appends:
        yield await _appended(session, act)


async def create(session: Session, kind: str, name: str, author: str, prerequisite: str, outcome: str) -> list[Line]:
    """CREATE TASK, without a body."""
    types: tuple[TaskType, ...] = get_args(TaskType)
    found = next((each for each in types if each == kind.upper()), None)
    if found is None:
        raise UserError(f"there is no type of task {displayed(kind)!r}; there are {', '.join(types)}")
    body = checked(CreateTask(found, author, prerequisite, outcome))
    return await session.act(lambda world: Act(name, body, ""), f"Task Registered : {displayed(name)}")


async def append(session: Session, name: str, index: int, text: str) -> list[Line]:
    """APPEND TASK BODY. A text wholly in double quotes is taken without them."""
    quoted = len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1]
    written = text[1:-1] if quoted else text
    if len(written) > LONGEST_LINE:
        raise UserError(f"a line of a body has at most {LONGEST_LINE} characters, this one {len(written)}")
    return [await _appended(session, Act(name, checked(AppendTaskBody(index, (written,))), ""))]


async def finalize(session: Session, name: str) -> list[Line]:
    """FINALIZE TASK."""
    return await session.act(lambda world: finalize_task(world, name), f"Task Finalized : {displayed(name)}")


async def delete(session: Session, name: str) -> list[Line]:
    """DELETE TASK."""
    return await session.act(lambda world: delete_task(world, name), f"Task Deleted : {displayed(name)}")


async def info(session: Session, name: str) -> list[Line]:
    """GET TASK INFO."""
    found = task_view(task((await session.chain()).world, name))
    return fields(
        {
            "TASK NAME": found.name,
            "TASK TYPE": found.type,
            "AUTHOR": found.author,
            "PREREQUISITE": found.prerequisite,
            "OUTCOME": found.outcome,
            "FINALIZED": found.state == "final",
            "BODY LINES": len(found.lines),
            "ORGANISATION": found.organisation or "-",
            "CREATED": clock(found.created_ms) if found.created_ms else "-",
            "DIGEST": found.digest or "-",
        }
    )


async def body(session: Session, name: str) -> list[Line]:
    """GET TASK BODY."""
    return [line(text) for text in task((await session.chain()).world, name).lines]


async def list_all(session: Session) -> list[Line]:
    """LIST TASKS."""
    return [line(each.name) for each in task_views((await session.chain()).world)]


async def _appended(session: Session, act: Act) -> Line:
    await session.perform(lambda world: act)
    assert isinstance(act.body, AppendTaskBody)
    return line(f"batch start : {act.body.index} , len : {len(act.body.lines)} Successful")
