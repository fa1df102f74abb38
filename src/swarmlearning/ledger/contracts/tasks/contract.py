"""Tasks as a kind of contract: each is one, named as the task.

Who has made a task is what sites trust, so nobody else adds a line to its draft or finalizes it: only operators of the
same organisation with a certificate for the same subject.
"""

from collections.abc import Mapping

import msgspec

from swarmlearning.choices import ROOT_TASK
from swarmlearning.ledger.codes import Code
from swarmlearning.ledger.contracts.contract import OPERATORS, OperatorsContract, Permission, Rule, TxContext
from swarmlearning.ledger.contracts.network.quotas import check_tasks, quotas_of
from swarmlearning.ledger.contracts.rejection import Rejection
from swarmlearning.ledger.contracts.tasks.bodies import (
    MAX_LINES,
    AppendTaskBody,
    CreateTask,
    DeleteTask,
    FinalizeTask,
)
from swarmlearning.ledger.contracts.tasks.state import Task, digest_of, task, tasks
from swarmlearning.ledger.fields import Body
from swarmlearning.ledger.world import World

IMAGES = ("MAKE_USER_CONTAINER", "PULL_IMAGE", "ROOT_TASK")
"""The types of tasks that make what a RUN_SWARM runs in; without a task before it, that is the site's own."""

LINES_A_TASK = 32
"""Of all tasks that a quota allows, on average; one task may have as many as it likes of them."""


def _create(world: World, contract: str, body: CreateTask, tx: TxContext) -> World:
    if (known := task(world, contract)) is not None:
        made = f"made by organisation {known.organisation}" if known.organisation else "there from the start"
        raise Rejection(
            Code.CREATED_ALREADY, f"there is a task {contract} already ({known.state}, {made}); take another name"
        )
    own = tx.signer.organisation
    check_tasks(world, own, sum(each.organisation == own for each in tasks(world)))
    return _with(
        world,
        Task(
            name=contract,
            type=body.type,
            author=body.author,
            prerequisite=body.prerequisite,
            outcome=body.outcome,
            state="draft",
            by=tx.sender,
            organisation=own,
            subject=tx.signer.subject,
            created_ms=tx.time_ms,
            on_behalf_of=tx.on_behalf_of or msgspec.UNSET,
        ),
    )


def _append(world: World, contract: str, body: AppendTaskBody, tx: TxContext) -> World:
    draft = _own_draft(world, contract, tx)
    before = body.index - 1
    if before > len(draft.lines):
        raise Rejection(
            Code.NO_LINE,
            f"task {contract} has {len(draft.lines)} lines: the next is {len(draft.lines) + 1}, not {body.index}",
        )
    lines = (*draft.lines[:before], *body.lines, *draft.lines[before + len(body.lines) :])
    if len(lines) > MAX_LINES:
        raise Rejection(Code.TOO_MANY, f"task {contract} would have {len(lines)} lines; {MAX_LINES} are possible")
    _check_lines(world, draft.organisation, len(lines) - len(draft.lines))
    return _with(world, msgspec.structs.replace(draft, lines=lines))


def _check_lines(world: World, own: str, more: int) -> None:
    """Raises `Rejection` unless the tasks of an organisation may have so many more lines: each node keeps them all."""
    present = sum(len(each.lines) for each in tasks(world) if each.organisation == own)
    bound = quotas_of(world, own).tasks * LINES_A_TASK + MAX_LINES
    if present + more > bound:
        raise Rejection(
            Code.TOO_MANY,
            f"the tasks of organisation {own} have {present} lines, and its quota of tasks allows {bound}; delete "
            "drafts, or have an operator propose more with `swarm organisation quotas`",
        )


def _finalize(world: World, contract: str, body: FinalizeTask, tx: TxContext) -> World:
    draft = _own_draft(world, contract, tx)
    if not draft.lines:
        raise Rejection(Code.NO_LINE, f"task {contract} has no body yet; append its lines first")
    before = task(world, draft.prerequisite)
    if before is None:
        raise Rejection(
            Code.NO_TASK,
            f"task {contract} has the prerequisite {draft.prerequisite}, and there is no such task; create it first, "
            f"or create {contract} anew with the prerequisite {ROOT_TASK} (none)",
        )
    if not before.final:
        raise Rejection(Code.NOT_FINAL, f"prerequisite {before.name} of task {contract} is a draft; finalize it first")
    if draft.type == "RUN_SWARM" and before.type not in IMAGES:
        raise Rejection(
            Code.WRONG_PREREQUISITE,
            f"RUN_SWARM task {contract} has the prerequisite {before.name} of type {before.type}, which makes no image "
            f"or environment to run in; name one of type {', '.join(IMAGES[:-1])}, or {ROOT_TASK} for the site's own",
        )
    digest = digest_of(draft.type, draft.outcome, draft.lines, before.digest)
    return _with(world, msgspec.structs.replace(draft, state="final", digest=digest))


def _delete(world: World, contract: str, body: DeleteTask, tx: TxContext) -> World:
    draft = _draft(world, contract, tx)
    return _with(world, msgspec.structs.replace(draft, state="deleted", lines=()))


def _draft(world: World, contract: str, tx: TxContext) -> Task:
    """The draft of the sender's organisation. Raises `Rejection`."""
    known = task(world, contract)
    if known is None:
        raise Rejection(Code.NO_TASK, f"there is no task {contract}")
    if known.final:
        raise Rejection(Code.FINAL_ALREADY, f"task {contract} is final: it does not change any more")
    if known.organisation != tx.signer.organisation:
        raise Rejection(
            Code.OTHER_ORGANISATION,
            f"task {contract} is a draft of organisation {known.organisation}, which alone edits it",
        )
    return known


def _own_draft(world: World, contract: str, tx: TxContext) -> Task:
    """The draft that the sender's identity has made. Raises `Rejection`."""
    known = _draft(world, contract, tx)
    if known.subject != tx.signer.subject:
        raise Rejection(
            Code.OTHER_SUBJECT,
            f"task {contract} is a draft by {known.subject}, who alone completes it; {tx.signer.subject} can delete it",
        )
    return known


def _with(world: World, changed: Task) -> World:
    return world.with_entries({f"task/{changed.name}": changed})


_BY_OPERATORS = Permission(OPERATORS)


class TaskContract(OperatorsContract):
    """Fulfils `Contract`."""

    kind = "task"
    single = False
    entries: Mapping[str, type[msgspec.Struct]] = {"task": Task}
    rules: Mapping[type[Body], Rule] = {
        CreateTask: Rule(_create, _BY_OPERATORS),
        AppendTaskBody: Rule(_append, _BY_OPERATORS),
        FinalizeTask: Rule(_finalize, _BY_OPERATORS),
        DeleteTask: Rule(_delete, _BY_OPERATORS),
    }


TASKS = TaskContract()
