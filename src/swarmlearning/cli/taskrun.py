"""`swarm task run`: tasks from files are made final, assigned one after the other, and waited for."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from swarmlearning.cli.connection import Connection
from swarmlearning.errors import UserError
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.taskrunner import Taskrunner
from swarmlearning.node.expiry import while_working
from swarmlearning.operator import taskrunners, tasks
from swarmlearning.operator.acts import Act
from swarmlearning.operator.session import Operator, acting
from swarmlearning.taskfiles.taskfile import TaskFile, read_task_file
from swarmlearning.views.names import displayed
from swarmlearning.views.proposals import ProposalView, proposal_of
from swarmlearning.views.render import proposal_text
from swarmlearning.views.taskrender import progress_lines
from swarmlearning.views.taskrunners import failures
from swarmlearning.views.tasks import runner_view

MAX_FILE = 1024 * 1024

Tell = Callable[[str], None]


class Order(NamedTuple):
    """Files to carry out by a taskrunner: the last one by so many `peers` (0: all) or by the SWOP `target`, those
    before it by so many `builders`, or by the same target."""

    files: tuple[TaskFile, ...]
    peers: int
    target: str
    builders: int
    taskrunner: str


class TaskFailedError(UserError):
    """A task was not carried out."""


def read_files(paths: Sequence[Path]) -> list[TaskFile]:
    """The tasks of these files. Raises `UserError` that names file, line and field."""
    return [_read(path) for path in paths]


def _read(path: Path) -> TaskFile:
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_FILE + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    return read_task_file(data, str(path))


async def run_files(connection: Connection, order: Order, tell: Tell) -> None:
    """Carries the order out, and tells how far it is. Raises `UserError` when a task fails."""
    source = connection.credentials.source()

    async def act() -> None:
        async with acting(connection.address, source, connection.home, connection.network_id, lasting=True) as operator:
            await run_order(operator, order, tell)

    await while_working(act(), source.watch())


async def run_order(operator: Operator, order: Order, tell: Tell) -> None:
    """As `run_files`, by an operator at work."""
    for file in order.files:
        for warning in file.warnings:
            tell(f"warning: {warning}")
        new = await tasks.establish(operator, file)
        tell(f"task {displayed(file.name)} is {'final' if new else 'on the ledger already'}")
    for number, file in enumerate(order.files, 1):
        peers = order.peers if number == len(order.files) else order.builders
        await _carry_out(operator, order, file, peers, tell)


async def _carry_out(operator: Operator, order: Order, file: TaskFile, peers: int, tell: Tell) -> None:
    name = order.taskrunner
    if await _is_carried_out(operator, file, name):
        tell(f"task {displayed(file.name)} is being carried out by taskrunner {displayed(name)} already")
    else:
        world = operator.chain.world
        if taskrunners.known_taskrunner(world, name).assignment is not None:
            await operator.perform(taskrunners.reset_taskrunner(world, name))
        assigning = (
            taskrunners.assign_target(world, file.name, name, order.target)
            if order.target
            else taskrunners.assign_task(world, file.name, name, peers)
        )
        await operator.perform(assigning)
        await _agreed(operator, assigning, file, tell)
        tell(assigning.done)
    serial = taskrunners.known_taskrunner(operator.chain.world, name).serial
    await _wait(operator, name, serial, tell)


async def _agreed(operator: Operator, assigning: Act, file: TaskFile, tell: Tell) -> None:
    """Waits until the organisations whose signatures an assignment needs have signed. Raises `TaskFailedError` where
    they have not, or it could not take effect any more."""

    def open_proposal(chain: Chain) -> ProposalView | None:
        return proposal_of(chain.world, assigning.contract, assigning.body, chain.time_ms)

    chain = operator.chain
    if (proposal := open_proposal(chain)) is not None:
        tell(proposal_text(proposal))
        chain = await operator.until(lambda now: open_proposal(now) is None)
    runner = taskrunners.known_taskrunner(chain.world, assigning.contract)
    if runner.assignment is None or runner.assignment.digest != tasks.task(chain.world, file.name).digest:
        raise TaskFailedError(f"task {displayed(file.name)} was not assigned: see `swarm proposal list`")


async def _is_carried_out(operator: Operator, file: TaskFile, name: str) -> bool:
    """True if this very task is being carried out. Raises `TaskFailedError` if it is another one."""
    world = (await operator.refresh()).world
    runner = taskrunners.known_taskrunner(world, name)
    if runner.assignment is None or taskrunners.is_over(runner):
        return False
    if runner.assignment.digest == tasks.task(world, file.name).digest:
        return True
    raise TaskFailedError(
        f"taskrunner {displayed(name)} carries out another task, {displayed(runner.assignment.task)}; wait for its end "
        f"(swarm taskrunner show {displayed(name)}), or use another taskrunner: --taskrunner NAME"
    )


async def _wait(operator: Operator, name: str, serial: int, tell: Tell) -> None:
    """Tells each change until the assignment is over. Raises `TaskFailedError` unless it is complete."""
    told: set[str] = set()
    async for chain in taskrunners.progress(operator, name, serial):
        runner = taskrunners.known_taskrunner(chain.world, name)
        lines = progress_lines(runner_view(chain.world, runner))
        for line in lines:
            if line not in told:
                tell(line)
        told = set(lines)
    runner = taskrunners.known_taskrunner(operator.chain.world, name)
    if runner.serial != serial or runner.state != "COMPLETE":
        raise TaskFailedError(_failure(operator, runner, serial))


def _failure(operator: Operator, runner: Taskrunner, serial: int) -> str:
    name = displayed(runner.name)
    if runner.serial != serial or runner.assignment is None:
        return f"taskrunner {name} was reset before the task was complete"
    why = failures(operator.chain.world, runner) or "it was aborted"
    task = displayed(runner.assignment.task)
    return (
        f"task {task} has failed: {why}. Once the cause is gone, try a SWOP again with: swarm taskrunner assign {task} "
        f"{name} --target SWOP"
    )
