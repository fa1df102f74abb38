"""The pages of tasks and taskrunners, and their acts: create, execute, reset, abort."""

import shlex
from typing import Annotated, Final

from fastapi import FastAPI, File, Form, Query, UploadFile

from swarmlearning.choices import DEFAULT_TASKRUNNER
from swarmlearning.errors import UserError
from swarmlearning.ledger.bodies import AnnotateRun
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.node.clocks import clock_ms
from swarmlearning.operator import experiments, taskrunners, tasks
from swarmlearning.operator.acts import checked
from swarmlearning.operator.executing import Execution, steps
from swarmlearning.operator.session import Operator, sent
from swarmlearning.taskfiles.taskfile import TaskFile, read_task_file
from swarmlearning.ui.network.notes import Note
from swarmlearning.ui.pages.acting import Done, NotAllowedError, act, action
from swarmlearning.ui.pages.flash import Flash
from swarmlearning.ui.pages.page import page
from swarmlearning.ui.pages.tasks import TaskRow, WorkView, work_view
from swarmlearning.ui.security.admission import Denied
from swarmlearning.ui.site import Here, Visit
from swarmlearning.views.names import displayed
from swarmlearning.views.runs import run_id

TASKS: Final = "/projects/tasks"
RUNNERS: Final = "/projects/taskrunners"
LARGEST_FILE: Final = 1024 * 1024
LONGEST: Final = 2000
Name = Annotated[str, Form(max_length=200)]
Peers = Annotated[int, Form(ge=1, le=2**31 - 1)]
Tick = Annotated[bool, Form()]
Text = Annotated[str, Form(max_length=4000)]


def add_tasks(app: FastAPI) -> None:
    """The pages, and their acts."""

    @page(app, TASKS, "tasks.html")
    async def all_tasks(visit: Here) -> WorkView:
        return work_view(visit.feed.chain.world)

    @page(app, f"{TASKS}/task", "task.html")
    async def one_task(visit: Here, name: Annotated[str, Query(max_length=200)]) -> TaskRow:
        found = next((each for each in work_view(visit.feed.chain.world).tasks if each.id == name), None)
        if found is None:
            raise Denied(404, "tasks.no-task")
        return found

    @page(app, RUNNERS, "taskrunners.html")
    async def all_runners(visit: Here) -> WorkView:
        return work_view(visit.feed.chain.world)

    _add_task_acts(app)
    _add_runner_acts(app)


def _add_task_acts(app: FastAPI) -> None:
    @action(app, f"{TASKS}/create", TASKS)
    async def create(visit: Here, file: Annotated[UploadFile, File()]) -> Done:
        name = displayed(file.filename or "task.yaml")
        found = read_task_file(await file.read(LARGEST_FILE + 1), name)
        return await establish(visit, [(name, found)], TASKS)

    @action(app, f"{TASKS}/finalize", TASKS)
    async def finalize(visit: Here, task: Name) -> Done:
        words = ("swarm", "task", "finalize", task)
        return await act(visit, lambda world: tasks.finalize_task(world, task), words, TASKS)

    @action(app, f"{TASKS}/delete", TASKS)
    async def delete(visit: Here, task: Name) -> Done:
        return await act(visit, lambda world: tasks.delete_task(world, task), ("swarm", "task", "delete", task), TASKS)

    @action(app, f"{TASKS}/execute", TASKS)
    async def execute(
        visit: Here,
        task: Name,
        taskrunner: Name = DEFAULT_TASKRUNNER,
        contract: Name = "",
        peers: Peers = 1,
        every: Tick = False,
        forced: Tick = False,
        note: Text = "",
        unlisted: Tick = False,
    ) -> Done:
        wanted = Execution(task, taskrunner, contract, 0 if every else peers, forced=forced)
        return await _execute(visit, wanted, note.strip(), unlisted=unlisted)

    @action(app, f"{TASKS}/target", TASKS)
    async def target(
        visit: Here,
        task: Name,
        swop: Name,
        taskrunner: Name = DEFAULT_TASKRUNNER,
        contract: Name = "",
        anew: Tick = False,
        forced: Tick = False,
        note: Text = "",
        unlisted: Tick = False,
    ) -> Done:
        wanted = Execution(task, taskrunner, contract, 0, swop, anew, forced)
        return await _execute(visit, wanted, note.strip(), unlisted=unlisted)


def _add_runner_acts(app: FastAPI) -> None:
    @action(app, f"{RUNNERS}/create", RUNNERS)
    async def create_runner(visit: Here, name: Name) -> Done:
        words = ("swarm", "taskrunner", "create", name)
        return await act(visit, lambda world: taskrunners.create_taskrunner(world, name), words, RUNNERS)

    @action(app, f"{RUNNERS}/reset", RUNNERS)
    async def reset(visit: Here, name: Name) -> Done:
        words = ("swarm", "taskrunner", "reset", name)
        return await act(visit, lambda world: taskrunners.reset_taskrunner(world, name), words, RUNNERS)

    @action(app, f"{RUNNERS}/abort", RUNNERS)
    async def abort(visit: Here, name: Name) -> Done:
        words = ("swarm", "taskrunner", "abort", name)
        return await act(visit, lambda world: taskrunners.abort_taskrunner(world, name), words, RUNNERS)


async def establish(visit: Visit, files: list[tuple[str, TaskFile]], to: str) -> Done:
    """Has the tasks of these files on the ledger, final. Raises `UserError`."""
    if not visit.feed.may_act:
        raise NotAllowedError(visit)

    async def work(operator: Operator) -> list[str]:
        return [displayed(file.name) for _, file in files if await tasks.establish(operator, file, visit.user.name)]

    new = await visit.feed.use(work)
    names = ", ".join(displayed(file.name) for _, file in files)
    warned = " ".join(warning for _, file in files for warning in file.warnings)
    text = visit.text("tasks.established" if new else "tasks.there", tasks=names)
    create = shlex.join(("swarm", "task", "create", *(name for name, _ in files)))
    finals = (shlex.join(("swarm", "task", "finalize", file.name)) for _, file in files)
    return Done(Flash("done", displayed(f"{text} {warned}".strip(), LONGEST), " && ".join((create, *finals))), to)


async def _execute(visit: Visit, wanted: Execution, text: str, *, unlisted: bool) -> Done:
    """Sends the acts one after the other, up to one that waits for signatures. Raises `UserError`."""
    if not visit.feed.may_act:
        raise NotAllowedError(visit)
    noting = bool(text) or unlisted
    if noting:
        _check_note(visit, wanted, text)
    commands: list[str] = []

    async def work(operator: Operator) -> tuple[Flash, bool]:
        found = steps((await operator.refresh()).world, wanted)
        commands.extend(shlex.join(step.command) for step in found)
        for number, step in enumerate(found, 1):
            proposal = await sent(operator, step.compose, visit.user.name)
            if proposal is not None and proposal.state == "open":
                last = number == len(found)
                key = "acting.proposed" if last else "tasks.proposed-first"
                told = visit.text(key, number=proposal.number, missing=", ".join(proposal.missing))
                return Flash("waits", told, " && ".join(commands)), last
        told = visit.text("tasks.executed", task=displayed(wanted.task), runner=displayed(wanted.taskrunner))
        return Flash("done", told, " && ".join(commands)), True

    try:
        done, emptied = await visit.feed.use(work)
    except UserError as error:
        if not commands:
            raise
        raise UserError(f"{visit.said(str(error))} ({' && '.join(commands)})") from error
    if noting and emptied:
        done = await _noted(visit, wanted.contract, text, done, unlisted=unlisted)
    return Done(done, RUNNERS)


def _check_note(visit: Visit, wanted: Execution, text: str) -> None:
    """Raises `UserError` where there will be no run, or it is not known which, that a note could be about."""
    if not wanted.anew or not wanted.contract:
        raise UserError(visit.text("tasks.note-for-new" if wanted.contract else "tasks.note-needs-contract"))
    if not experiments.possible(visit.feed.chain.world):
        raise UserError(visit.text("experiments.not-possible"))
    checked(AnnotateRun(1, text.replace("\r\n", "\n")))


async def _noted(visit: Visit, contract: str, text: str, done: Flash, *, unlisted: bool) -> Flash:
    """Has the note on the ledger as soon as it has the run that begins now: the contract is empty, so its number is
    known. Raises `UserError`."""
    text = text.replace("\r\n", "\n")
    run = state_of(visit.feed.chain.world, contract).run
    await visit.feed.notes.add(Note(contract, run, text, unlisted, visit.user.name, clock_ms()))
    named = run_id(contract, run)
    commands = [done.command]
    commands += [shlex.join(("swarm", "experiment", "annotate", named, text))] if text else []
    commands += [shlex.join(("swarm", "experiment", "hide", named))] if unlisted else []
    told = f"{done.text} {visit.text('tasks.note-waits', run=displayed(named))}"
    return Flash(done.kind, told, " && ".join(commands))
