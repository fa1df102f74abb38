"""An operator's acts on taskrunners, and waiting for what was assigned to one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from math import inf, isfinite

from swarmlearning.ledger.bodies import AbortTaskrunner, Assign, AssignTarget, CreateTaskrunner, ResetTaskrunner
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.taskrunner import Taskrunner, taskrunner, taskrunners
from swarmlearning.ledger.contracts.tasks import Task
from swarmlearning.ledger.world import World
from swarmlearning.operator.acts import Act, ActError, checked, node
from swarmlearning.operator.session import Operator
from swarmlearning.operator.tasks import task
from swarmlearning.views.names import displayed
from swarmlearning.views.taskrunners import PeerView, peer_views
from swarmlearning.views.tasks import joined_trainings

LONGEST_INDEX = 5
"""Digits of a peer's index; what is longer is a UID, or begins one."""
LOST_SECONDS = 180.0
"""For so long a SWOP that is lost is waited for, where the task has failed without it."""


def known_taskrunner(world: World, name: str) -> Taskrunner:
    """The taskrunner of this name. Raises `ActError`."""
    found = taskrunner(world, name)
    if found is None:
        listed = ", ".join(displayed(each.name) for each in taskrunners(world))
        raise ActError(f"there is no taskrunner {displayed(name)!r}; there is {listed}")
    return found


def known_peer(world: World, runner: Taskrunner, named: str) -> PeerView:
    """The peer with this index, UID or name. Raises `ActError`."""
    views = peer_views(world, runner)
    if named.isascii() and named.isdigit() and len(named) <= LONGEST_INDEX:
        found = [view for view in views if view.index == int(named)]
    else:
        uid = node(world, named).uid
        found = [view for view in views if view.uid == uid]
    if not found:
        raise ActError(f"taskrunner {displayed(runner.name)} has {len(views)} peers, and {displayed(named)} is none")
    return found[0]


def known_pair(peer: PeerView, named: int | None) -> int:
    """The number of a pair of this SWOP: the one `named`, else that of its only one. Raises `ActError`."""
    indices = [each.index for each in peer.spawned]
    if named is None and len(indices) != 1:
        known = ", ".join(map(str, indices)) or "none"
        raise ActError(f"name one of the pairs of {displayed(peer.name)} by its number; there is {known}")
    return indices[0] if named is None else named


def create_taskrunner(world: World, name: str) -> Act:
    """Creates a taskrunner. Raises `ActError`."""
    if taskrunner(world, name) is not None:
        raise ActError(f"there is a taskrunner {displayed(name)} already")
    return Act(name, CreateTaskrunner(), f"taskrunner {displayed(name)} is created; SWOPs name it in their profiles")


def assign_task(world: World, named: str, name: str, peers: int) -> Act:
    """Assigns a task to so many peers; 0: to all that listen. Raises `ActError`."""
    found = _final(world, named)
    known_taskrunner(world, name)
    unit = "pairs" if found.type == "RUN_SWARM" else "SWOPs"
    whom = f"{peers} {unit}" if peers else "all that listen"
    body = checked(Assign(named, peers))
    return Act(name, body, f"task {displayed(named)} is assigned to {whom} of taskrunner {displayed(name)}")


def assign_target(world: World, named: str, name: str, swop: str) -> Act:
    """Assigns a task to one SWOP, named by its name or the beginning of its UID. Raises `ActError`."""
    _final(world, named)
    known_taskrunner(world, name)
    found = node(world, swop)
    body = checked(AssignTarget(named, found.uid))
    return Act(name, body, f"task {displayed(named)} is assigned to {displayed(found.name)}")


def reset_taskrunner(world: World, name: str) -> Act:
    """Makes a taskrunner idle. Raises `ActError`."""
    known_taskrunner(world, name)
    return Act(name, ResetTaskrunner(), f"taskrunner {displayed(name)} is idle")


def abort_taskrunner(world: World, name: str) -> Act:
    """Ends what is carried out. Raises `ActError`."""
    if known_taskrunner(world, name).assignment is None:
        raise ActError(f"taskrunner {displayed(name)} is idle: there is nothing to abort")
    return Act(name, AbortTaskrunner(), f"what taskrunner {displayed(name)} carried out is aborted")


def is_over(runner: Taskrunner) -> bool:
    """True once nothing more is to be expected, not even from SWOPs that are lost."""
    return runner.state in ("IDLE", "COMPLETE") or (runner.state == "ERROR" and not runner.hopeful)


async def progress(operator: Operator, name: str, serial: int) -> AsyncIterator[Chain]:
    """Yields the ledger now, and whenever this assignment or a training of its pairs has changed, until it is over: the
    last one shows how it ended. Where only SWOPs that are lost could still make it succeed, they are waited for."""
    chain, deadline = operator.chain, inf
    while True:
        yield chain
        known = known_taskrunner(chain.world, name)
        if known.serial != serial or is_over(known):
            return
        if known.state != "ERROR":
            deadline = inf
        elif deadline == inf:
            deadline = asyncio.get_running_loop().time() + LOST_SECONDS
        after = await _changed(operator, name, _shown(chain.world, known), deadline)
        if after is None:
            return
        chain = after


async def _changed(operator: Operator, name: str, before: object, deadline: float) -> Chain | None:
    """The ledger once what is shown of the taskrunner is not as `before`; None where that is not so in time."""

    def is_other(chain: Chain) -> bool:
        return _shown(chain.world, known_taskrunner(chain.world, name)) != before

    with suppress(TimeoutError):
        async with asyncio.timeout_at(deadline if isfinite(deadline) else None):
            return await operator.until(is_other)
    return None


def _shown(world: World, runner: Taskrunner) -> object:
    return runner, joined_trainings(world, runner)


def _final(world: World, named: str) -> Task:
    found = task(world, named)
    if not found.final:
        raise ActError(f"task {displayed(named)} is a draft; finalize it first: swarm task finalize {displayed(named)}")
    return found
