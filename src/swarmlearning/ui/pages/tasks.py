"""Tasks, taskrunners and contracts of the network: what can be executed, what is under way, and what acts there are."""

import msgspec

from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.taskrunner import Taskrunner, taskrunners
from swarmlearning.ledger.contracts.tasks import Task, tasks
from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.ledger.world import World
from swarmlearning.views.names import displayed, node_names
from swarmlearning.views.tasks import RunnerView, TaskView, runner_view, task_view
from swarmlearning.views.trainings import ContractInfo, ContractStatus, contract_info, contract_names, contract_status


class Choice(msgspec.Struct, frozen=True):
    """Something to choose: its `id` as the ledger has it, and how it is shown."""

    id: str
    name: str


class TaskRow(msgspec.Struct, frozen=True):
    """A task with its `id`, its name as the ledger has it. `runs`: it can be executed; `deletable`: a draft.

    `trains`: it needs a contract, and counts its peers in SL+ML pairs.
    """

    id: str
    task: TaskView
    runs: bool
    deletable: bool
    trains: bool


class RunnerRow(msgspec.Struct, frozen=True):
    """A taskrunner with its `id`; `busy`: it has an assignment, which can be reset, and aborted unless it is over."""

    id: str
    runner: RunnerView
    owner: str
    busy: bool
    abortable: bool


class ContractRow(msgspec.Struct, frozen=True):
    """A training contract with its `id`. `created`: it has an owner or is shared, so that its members can be changed;
    `resettable`: it has sessions or a result; `forced`: its training is not over; `stoppable`: it can be ended."""

    id: str
    info: ContractInfo
    status: ContractStatus
    completed: int
    created: bool
    resettable: bool
    forced: bool
    stoppable: bool


class WorkView(msgspec.Struct, frozen=True):
    """All of the three, and what forms choose from: `swops` that are there, `organisations` that take part."""

    tasks: list[TaskRow]
    taskrunners: list[RunnerRow]
    contracts: list[ContractRow]
    swops: list[Choice]
    organisations: list[Choice]


def work_view(world: World) -> WorkView:
    """The tasks, taskrunners and contracts as they are on this ledger; nothing on an empty one."""
    if world.get("network", network.Network) is None:
        return WorkView([], [], [], [], [])
    return WorkView(
        tasks=[_task(each) for each in tasks(world)],
        taskrunners=[_runner(world, each) for each in taskrunners(world)],
        contracts=[_contract(world, name) for name in contract_names(world)],
        swops=_swops(world),
        organisations=[Choice(each.id, displayed(each.name)) for each in network.organisations(world)],
    )


def _task(found: Task) -> TaskRow:
    runs = found.final and found.type != "ROOT_TASK"
    return TaskRow(found.name, task_view(found), runs, not found.final, found.type == "RUN_SWARM")


def _runner(world: World, found: Taskrunner) -> RunnerRow:
    busy = found.assignment is not None
    return RunnerRow(
        id=found.name,
        runner=runner_view(world, found),
        owner=found.organisation,
        busy=busy,
        abortable=found.state in ("ASSIGNED", "RUNNING"),
    )


def _contract(world: World, name: str) -> ContractRow:
    state = state_of(world, name)
    return ContractRow(
        id=name,
        info=contract_info(state),
        status=contract_status(world, name),
        completed=sum(member.finished for member in state.members.values()),
        created=state.charter is not None,
        resettable=bool(state.members) or state.over,
        forced=bool(state.members) and not state.over,
        stoppable=state.round is not None and not state.over and not state.stopping,
    )


def _swops(world: World) -> list[Choice]:
    names = node_names(world)
    found = (each for each in network.nodes(world) if each.type == "SWOP" and each.alive and not each.left)
    return sorted((Choice(each.uid, names[each.uid]) for each in found), key=lambda each: each.name)
