"""Taskrunners as a kind of contract: there are as many as operators create.

Whether a site carries a task out is decided there, by its own policy, which knows who has made and who has assigned it.
So any operator may assign to the taskrunner that is there from the start. One that an organisation has created is its
own: others assign to it, and reset it, with a quorum only, else they could keep it from ever being used. What one
organisation has assigned others do not end while SWOPs are at work on it, unless the policy of that act says so.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts import network
from swarmlearning.ledger.contracts.contract import (
    ANYBODY,
    OPERATORS,
    SWOP,
    Act,
    Permission,
    Presence,
    Proposal,
    Rule,
    TxContext,
)
from swarmlearning.ledger.contracts.network.policies import ASSIGN_TASKS, quorum_of
from swarmlearning.ledger.contracts.network.quotas import check_taskrunners
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.taskrunner import transitions
from swarmlearning.ledger.contracts.taskrunner.bodies import (
    AbortTaskrunner,
    Assign,
    AssignTarget,
    CreateTaskrunner,
    Listen,
    ReportPeer,
    ResetTaskrunner,
)
from swarmlearning.ledger.contracts.taskrunner.state import (
    Assignment,
    Peer,
    Taskrunner,
    listens_to,
    taskrunner,
    taskrunners,
)
from swarmlearning.ledger.contracts.tasks.state import Task, task
from swarmlearning.ledger.fields import Body
from swarmlearning.ledger.world import World


def _create(world: World, contract: str, body: CreateTaskrunner, tx: TxContext) -> World:
    if taskrunner(world, contract) is not None:
        raise Rejection(Code.CREATED_ALREADY, f"there is a taskrunner {contract} already; take another name")
    own = tx.signer.organisation
    check_taskrunners(world, own, sum(each.organisation == own for each in taskrunners(world)))
    return _with(world, Taskrunner(contract, tx.sender, own, tx.time_ms))


def _listen(world: World, contract: str, body: Listen, tx: TxContext) -> World:
    runner, former = _known(world, contract), listens_to(world, tx.sender)
    if former is not None and former.name != contract:
        world = _with(world, transitions.without_peer(former, tx.sender, tx.time_ms))
    return _with(world, transitions.listening(runner, tx.sender, tx.signer.organisation, body.pairs, tx.time_ms))


def _assign(world: World, contract: str, body: Assign, tx: TxContext) -> World:
    runner, assigned = _known(world, contract), _final_task(world, body.task)
    transitions.check_idle(runner)
    if body.peers:
        made = _assignment(runner, assigned, tx, needed=body.peers, open=True)
        return _with(world, transitions.assign(runner, made, ()))
    return _with(world, _invite(runner, assigned, [one for one in runner.peers if one.state != "lost"], tx))


def _assign_target(world: World, contract: str, body: AssignTarget, tx: TxContext) -> World:
    runner, assigned = _known(world, contract), _final_task(world, body.task)
    if runner.assignment is None:
        one = transitions.listener(runner, body.swop)
        return _with(world, _invite(runner, assigned, [one] if one.state != "lost" else [], tx))
    alive = _is_alive(world, body.swop)
    return _with(world, transitions.target(runner, body.task, body.swop, tx.time_ms, alive=alive))


def _invite(runner: Taskrunner, assigned: Task, invited: Collection[Peer], tx: TxContext) -> Taskrunner:
    """The taskrunner with a task for these peers and nobody else. Raises `Rejection` where they cannot do anything."""
    pairs = assigned.type == "RUN_SWARM"
    able = [one for one in invited if one.pairs or not pairs]
    if not able:
        raise Rejection(
            Code.NO_PEERS,
            f"no SWOP {'with SL+ML pairs ' if pairs else ''}that could carry out task {assigned.name} listens to "
            f"taskrunner {runner.name} now: start one, or see `swarm taskrunner show {runner.name}`",
        )
    needed = sum(one.pairs if pairs else 1 for one in able)
    made = _assignment(runner, assigned, tx, needed=needed, open=False)
    return transitions.assign(runner, made, {one.uid for one in able})


def _assignment(runner: Taskrunner, assigned: Task, tx: TxContext, *, needed: int, open: bool) -> Assignment:
    return Assignment(
        serial=runner.serial + 1,
        task=assigned.name,
        type=assigned.type,
        digest=assigned.digest,
        needed=needed,
        open=open,
        by="" if tx.proposer else tx.sender,
        organisation=tx.proposer or tx.signer.organisation,
        made_by=assigned.organisation,
        assigned_ms=tx.time_ms,
        on_behalf_of=tx.on_behalf_of or msgspec.UNSET,
    )


def _report(world: World, contract: str, body: ReportPeer, tx: TxContext) -> World:
    return _with(world, transitions.report(_known(world, contract), tx.sender, body, tx.time_ms))


def _report_more(world: World, contract: str, body: ReportPeer, tx: TxContext) -> World:
    kept = transitions.with_what_is_complete(_known(world, contract), tx.sender, body)
    return _report(world, contract, kept, tx)


def _reset(world: World, contract: str, body: ResetTaskrunner, tx: TxContext) -> World:
    return _with(world, transitions.reset(_known(world, contract), lambda uid: _is_alive(world, uid)))


def _abort(world: World, contract: str, body: AbortTaskrunner, tx: TxContext) -> World:
    return _with(world, transitions.abort(_known(world, contract), tx.time_ms))


def _known(world: World, contract: str) -> Taskrunner:
    found = taskrunner(world, contract)
    if found is None:
        raise Rejection(
            Code.NO_TASKRUNNER,
            f"there is no taskrunner {contract}; an operator creates it: swarm taskrunner create {contract}",
        )
    return found


def _final_task(world: World, named: str) -> Task:
    found = task(world, named)
    if found is None:
        raise Rejection(Code.NO_TASK, f"there is no task {named}; `swarm task list` shows those there are")
    if not found.final:
        raise Rejection(Code.NOT_FINAL, f"task {named} is a draft; finalize it first: swarm task finalize {named}")
    if found.type == "ROOT_TASK":
        raise Rejection(Code.NO_TASK, f"{named} only stands for no prerequisite; there is nothing to carry out")
    return found


def _is_alive(world: World, uid: str) -> bool:
    known = network.node(world, uid)
    return known is not None and known.alive and not known.left


def _with(world: World, changed: Taskrunner) -> World:
    return world.with_entries({f"runner/{changed.name}": changed})


# --- whose act it is ------------------------------------------------------------------------------------------------


def _owner(world: World, contract: str, body: Any) -> str:
    """Whose taskrunner it is, any organisation where it is nobody's; nobody, where the policy asks for signatures."""
    runner = taskrunner(world, contract)
    if quorum_of(world, ASSIGN_TASKS) != "own":
        return ""
    return runner.organisation or ANYBODY if runner else ANYBODY


def _assigner(world: World, contract: str, body: Any) -> str:
    """The organisation that has assigned what SWOPs are at work on; where they are not, the taskrunner's, or any."""
    runner = taskrunner(world, contract)
    if runner is None:
        return ANYBODY
    if runner.assignment is None or runner.state != "RUNNING":
        return runner.organisation or ANYBODY
    return runner.assignment.organisation


def _assignment_number(world: World, contract: str) -> str:
    runner = taskrunner(world, contract)
    return f"assignment {runner.serial}" if runner else ""


class TaskrunnerContract:
    """Fulfils `Contract`."""

    kind = "taskrunner"
    single = False
    entries: Mapping[str, type[msgspec.Struct]] = {"runner": Taskrunner}
    rules: Mapping[type[Body], Rule] = {
        CreateTaskrunner: Rule(_create, Permission(OPERATORS)),
        Listen: Rule(_listen, Permission(SWOP)),
        ReportPeer: Rule(_report, Permission(SWOP)),
        Assign: Rule(_assign, Permission(OPERATORS), Act(ASSIGN_TASKS, _owner, _assignment_number)),
        AssignTarget: Rule(_assign_target, Permission(OPERATORS), Act(ASSIGN_TASKS, _owner, _assignment_number)),
        ResetTaskrunner: Rule(_reset, Permission(OPERATORS), Act("reset-taskrunner", _assigner, _assignment_number)),
        AbortTaskrunner: Rule(_abort, Permission(OPERATORS), Act("reset-taskrunner", _assigner, _assignment_number)),
    }

    def presence(self, before: World, after: World, body: Body, tx: TxContext) -> Iterable[Presence]:
        """None: what happens to an assignment moves no node."""
        return ()

    def apply_presence(self, world: World, change: Presence, time_ms: int) -> World:
        """Notes that a SWOP was lost, is back, or has left."""
        if change.attendance in ("ml-lost", "moved"):
            return world
        runners = [one for one in world.area("runner/", Taskrunner) if transitions.peer_of(one, change.uid)]
        return world.with_entries({f"runner/{one.name}": _noted(one, change, time_ms) for one in runners})

    def proposals(self, world: World, live: Mapping[str, int], by: str) -> Iterable[Proposal]:
        """None: who is lost the network's own contract proposes."""
        return ()


def _noted(runner: Taskrunner, change: Presence, time_ms: int) -> Taskrunner:
    if not change.trusted or change.attendance == "left":
        return transitions.without_peer(runner, change.uid, time_ms)
    return transitions.set_attendance(runner, change.uid, present=change.attendance != "lost", now_ms=time_ms)


class LastingTaskrunnerContract(TaskrunnerContract):
    """The same, where pairs that are complete stay so whatever is reported later: since rules version 3."""

    rules: Mapping[type[Body], Rule] = {
        **TaskrunnerContract.rules,
        ReportPeer: TaskrunnerContract.rules[ReportPeer]._replace(change=_report_more),
    }


TASKRUNNERS = TaskrunnerContract()
LASTING_TASKRUNNERS = LastingTaskrunnerContract()
