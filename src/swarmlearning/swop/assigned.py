"""What the ledger shows of a SWOP's taskrunner and of tasks, as the executor and the site's policy need it. Pure."""

from functools import lru_cache

from swarmlearning.choices import TaskType
from swarmlearning.documents.faults import DocumentError
from swarmlearning.ledger.contracts import network, tasks
from swarmlearning.ledger.contracts.taskrunner import Peer, Taskrunner, taskrunner
from swarmlearning.ledger.contracts.tasks import Task
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.world import World
from swarmlearning.swop.facts import Assigned, LedgerAdvanced
from swarmlearning.swop.managing import Attempt
from swarmlearning.swop.policy import Link, Signer
from swarmlearning.swop.profile import NodeDefinition, Profile
from swarmlearning.taskfiles.definition import Definition, RunSwarm
from swarmlearning.taskfiles.taskfile import definition

LOOPBACK = "SWARM_LOOPBACK"


def ledger_facts(world: World, profile: Profile, uid: str) -> LedgerAdvanced:
    """What the executor of the SWOP `uid` is shown of its taskrunner."""
    runner = taskrunner(world, profile.taskrunner)
    if runner is None:
        return LedgerAdvanced(None, None, {})
    mine = next((peer for peer in runner.peers if peer.uid == uid and not peer.gone), None)
    listening = mine is not None and mine.pairs == len(profile.nodes)
    assigned = _assigned(world, runner, mine, profile) if mine is not None else None
    if mine is None or assigned is None:
        return LedgerAdvanced(listening, None, {})
    return LedgerAdvanced(listening, assigned, _sessions(world), _registered(world, mine.organisation))


def links(world: World, name: str) -> tuple[Link, ...]:
    """The task of this name and its prerequisites, the task last; empty without such a final task.

    Raises `DocumentError` for one whose lines are no definition.
    """
    return tuple(_link(each) for each in tasks.chain(world, name))


def assigner(world: World, name: str) -> Signer:
    """Who has assigned the present task of this taskrunner; without names where that cannot be told."""
    runner = taskrunner(world, name)
    if runner is None or runner.assignment is None:
        return Signer("", "")
    known = network.node(world, runner.assignment.by) if runner.assignment.by else None
    return Signer(runner.assignment.organisation, known.subject if known else "")


def task_environment(run: RunSwarm, node: NodeDefinition) -> dict[str, str]:
    """The variables of the ML process: the profile's replace the task's."""
    return {**dict(run.environment), **node.user_environment}


def _assigned(world: World, runner: Taskrunner, mine: Peer, profile: Profile) -> Assigned | None:
    assignment = runner.assignment
    if assignment is None or assignment.type == "ROOT_TASK":
        return None
    return Assigned(
        attempt=Attempt(runner.name, assignment.serial, mine.attempt, assignment.task, assignment.digest),
        type=assignment.type,
        mine=mine,
        open=runner.short > 0 and (mine.pairs > 0 or not runner.runs_pairs),
        aborted=assignment.aborted,
        loopback=_loopback(tasks.task(world, assignment.task), profile),
    )


def _loopback(task: Task | None, profile: Profile) -> frozenset[int]:
    """The nodes whose scripts train without a swarm."""
    if task is None or task.type != "RUN_SWARM":
        return frozenset()
    try:
        run = _definition(task.type, task.lines)
    except DocumentError:
        return frozenset()
    assert isinstance(run, RunSwarm)
    return frozenset(
        node.index for node in profile.nodes if task_environment(run, node).get(LOOPBACK, "").lower() == "true"
    )


def _sessions(world: World) -> dict[str, bool]:
    """Whether the ML process has ended well, by the UID of each SL in a training."""
    found: dict[str, bool] = {}
    for training in world.area("training/", Training):
        for uid, member in training.members.items():
            found[uid] = member.finished and member.attendance in ("present", "left")
    return found


def _registered(world: World, organisation: str) -> frozenset[str]:
    """The UIDs of the SLs of this organisation."""
    return frozenset(
        each.uid for each in network.nodes(world) if each.type == "SL" and each.organisation == organisation
    )


def _link(task: Task) -> Link:
    assert task.type != "ROOT_TASK"
    maker = Signer(task.organisation, task.subject)
    return Link(task.name, task.type, task.digest, maker, _definition(task.type, task.lines), task.outcome)


@lru_cache(maxsize=64)
def _definition(kind: TaskType, lines: tuple[str, ...]) -> Definition:
    return definition(kind, lines)
