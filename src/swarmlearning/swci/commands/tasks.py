"""Commands about tasks."""

from collections.abc import Sequence
from typing import get_args

from swarmlearning.choices import TaskType
from swarmlearning.errors import UserError
from swarmlearning.ledger.bodies import AppendTaskBody, CreateTask, DeleteTask, FinalizeTask
from swarmlearning.ledger.contracts.tasks import Task
from swarmlearning.ledger.contracts.tasks import task as task_named
from swarmlearning.ledger.contracts.tasks import tasks as all_tasks
from swarmlearning.ledger.contracts.tasks.bodies import BATCH
from swarmlearning.operator.acts import Act, checked
from swarmlearning.swci.output import Line, Lines, fields, line
from swarmlearning.swci.session import Session
from swarmlearning.taskfiles.taskfile import read_task_file
from swarmlearning.views.names import displayed
from swarmlearning.views.render import clock

LONGEST_LINE = 79


async def create_from(session: Session, path: str) -> Lines:
    """CREATE TASK FROM."""
    found = read_task_file(session.folders.read(path), path)
    yield line("Task definition is valid")
    for warning in found.warnings:
        yield line(f"WARNING - {warning}")
    body = checked(CreateTask(found.type, found.author, found.prerequisite, found.outcome))
    for each in await session.act(lambda world: Act(found.name, body, ""), f"Task Registered : {found.name}"):
        yield each
    yield line("Appending Task Body")
    for start in range(0, len(found.lines), BATCH):
        yield await _appended(session, found.name, start + 1, found.lines[start : start + BATCH])


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
    return [await _appended(session, name, index, (text[1:-1] if quoted else text,))]


async def finalize(session: Session, name: str) -> list[Line]:
    """FINALIZE TASK."""
    return await session.act(lambda world: Act(name, FinalizeTask(), ""), f"Task Finalized : {displayed(name)}")


async def delete(session: Session, name: str) -> list[Line]:
    """DELETE TASK."""
    return await session.act(lambda world: Act(name, DeleteTask(), ""), f"Task Deleted : {displayed(name)}")


async def info(session: Session, name: str) -> list[Line]:
    """GET TASK INFO."""
    found = await _task(session, name)
    return fields(
        {
            "TASK NAME": displayed(found.name),
            "TASK TYPE": found.type,
            "AUTHOR": displayed(found.author),
            "PREREQUISITE": displayed(found.prerequisite),
            "OUTCOME": displayed(found.outcome),
            "FINALIZED": found.final,
            "BODY LINES": len(found.lines),
            "ORGANISATION": found.organisation or "-",
            "CREATED": clock(found.created_ms) if found.created_ms else "-",
            "DIGEST": found.digest or "-",
        }
    )


async def body(session: Session, name: str) -> list[Line]:
    """GET TASK BODY."""
    return [line(text) for text in (await _task(session, name)).lines]


async def list_all(session: Session) -> list[Line]:
    """LIST TASKS."""
    return [line(displayed(each.name)) for each in all_tasks((await session.chain()).world)]


async def _task(session: Session, name: str) -> Task:
    found = task_named((await session.chain()).world, name)
    if found is None:
        raise UserError(f"there is no task {displayed(name)!r}; LIST TASKS shows those there are")
    return found


async def _appended(session: Session, name: str, index: int, lines: Sequence[str]) -> Line:
    long = next((each for each in lines if len(each) > LONGEST_LINE), "")
    if long:
        raise UserError(f"a line of a body has at most {LONGEST_LINE} characters, this one {len(long)}")
    body = checked(AppendTaskBody(index, tuple(lines)))
    await session.perform(lambda world: Act(name, body, ""))
    return line(f"batch start : {index} , len : {len(lines)} Successful")
