"""Commands about taskrunners."""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from swarmlearning.errors import UserError
from swarmlearning.ledger.chain import Chain
from swarmlearning.ledger.contracts.network.policies import ASSIGN_TASKS
from swarmlearning.ledger.contracts.taskrunner import Taskrunner, taskrunners
from swarmlearning.ledger.world import World
from swarmlearning.operator import taskrunners as acts
from swarmlearning.operator.acts import Act
from swarmlearning.operator.session import Operator
from swarmlearning.operator.taskrunners import LOST_SECONDS, is_over, known_peer, known_taskrunner
from swarmlearning.swci.output import Line, Lines, fields, line, table
from swarmlearning.swci.session import Session, proposed
from swarmlearning.swci.waiting import OVER, WaitOverError, marked
from swarmlearning.views.names import displayed
from swarmlearning.views.proposals import ProposalView, proposals
from swarmlearning.views.render import clock
from swarmlearning.views.taskrunners import failures, peer_views, waits_for
from swarmlearning.views.tasks import runner_view

PEERS: Final = ("INDEX", "SWOP UID", "SWOP NAME", "ORGANISATION", "PAIRS", "STATUS", "DESCRIPTION")


async def create(session: Session, name: str) -> list[Line]:
    """CREATE TASKRUNNER."""
    done = f"TASKRUNNER CREATED : {displayed(name)}"
    return await session.act(lambda world: acts.create_taskrunner(world, name), done)


async def list_all(session: Session) -> list[Line]:
    """LIST TASKRUNNERS."""
    return [line(displayed(each.name)) for each in taskrunners((await session.chain()).world)]


async def info(session: Session, name: str) -> list[Line]:
    """GET TASKRUNNER INFO."""
    found = known_taskrunner((await session.chain()).world, name)
    return fields(
        {
            "TASKRUNNER NAME": displayed(found.name),
            "ORGANISATION": found.organisation or "-",
            "CREATED": clock(found.created_ms) if found.created_ms else "-",
            "ASSIGNMENTS": found.serial,
        }
    )


async def status(session: Session, name: str) -> list[Line]:
    """GET TASKRUNNER STATUS."""
    chain = await session.chain()
    view = runner_view(chain.world, known_taskrunner(chain.world, name))
    found = view.status
    return fields(
        {
            "TASKRUNNER NAME": found.name,
            "TASK NAME": found.task or "Empty",
            "PEER TYPE": found.peer_type,
            "TASK_STATE": found.state,
            "REQUIRED PEERS": found.needed,
            "ENROLLED PEERS": found.enrolled,
            "ACTIVE PEERS": found.active,
            "COMPLETED PEERS": found.completed,
            "FAILED PEERS": found.failed,
            "ENROLLED SWOPS": found.swops,
            "LISTENING SWOPS": found.listening,
            "TRAINING CONTRACT": ", ".join(each.contract for each in view.trainings) or "-",
            "ASSIGNED BY": found.assigned_by or "-",
            "ASSIGNED": clock(found.assigned_ms) if found.assigned_ms else "-",
            "LAST CHANGE": clock(found.changed_ms) if found.changed_ms else "-",
            "DESCRIPTION": found.waits_for or "-",
        }
    )


async def list_peers(session: Session, name: str) -> list[Line]:
    """LIST TASKRUNNER PEERS."""
    chain = await session.chain()
    rows = [
        (str(each.index), each.uid, each.name, each.organisation, str(each.pairs), _shown(each.state), each.description)
        for each in peer_views(chain.world, known_taskrunner(chain.world, name))
    ]
    return table(PEERS, rows)


async def peer_status(session: Session, name: str, named: str) -> list[Line]:
    """GET TASKRUNNER PEER STATUS, of a SWOP by its index, its UID or its name."""
    chain = await session.chain()
    runner = known_taskrunner(chain.world, name)
    found = known_peer(chain.world, runner, named)
    lines = fields({"SWOP UID": found.uid, "SWOP NAME": found.name, "ORGANISATION": found.organisation})
    if runner.runs_pairs:
        lines += fields({"SL PEERS SPAWNED": len(found.spawned)})
        for pair in found.spawned:
            lines.append(
                line(f"SL UID : {pair.uid} , STATUS : {_shown(pair.state)} , DESCRIPTION : {pair.description}")
            )
    return [*lines, *fields({"STATUS": _shown(found.state), "DESCRIPTION": found.description})]


async def reset(session: Session, name: str) -> list[Line]:
    """RESET TASKRUNNER."""
    done = f"TASKRUNNER RESET : {displayed(name)}"
    return await session.act(lambda world: acts.reset_taskrunner(world, name), done)


async def abort(session: Session, name: str) -> list[Line]:
    """ABORT TASKRUNNER."""
    done = f"TASKRUNNER ABORTED : {displayed(name)}"
    return await session.act(lambda world: acts.abort_taskrunner(world, name), done)


async def assign(session: Session, task: str, name: str, peers: int) -> list[Line]:
    """ASSIGN TASK … WITH k PEERS."""
    if peers == 0:
        raise UserError("a task needs one peer at least; WITH ALL PEERS takes all that listen")
    return await _assign(session, task, name, lambda world: acts.assign_task(world, task, name, peers))


async def assign_all(session: Session, task: str, name: str) -> list[Line]:
    """ASSIGN TASK … WITH ALL PEERS."""
    return await _assign(session, task, name, lambda world: acts.assign_task(world, task, name, 0))


async def assign_target(session: Session, task: str, name: str, swop: str) -> list[Line]:
    """ASSIGN TASK … TARGET, a SWOP by its UID or its name."""
    return await _assign(session, task, name, lambda world: acts.assign_target(world, task, name, swop))


async def wait(session: Session, name: str) -> Lines:
    """WAIT FOR TASKRUNNER. Fails where the task has failed; the longest time to wait ends with a warning.

    An assignment that needs more signatures is waited for, too.
    """
    now = _standing(await session.chain(), name)
    limit, loop = session.contexts.named(None).seconds(run_task=now.runner.runs_pairs), asyncio.get_running_loop()
    end, said = loop.time() + limit, ""
    yield line("WAITING FOR TASKRUNNER TO COMPLETE")
    yield line(f"MAXIMUM WAIT TIME : {limit / 60:.0f} MINUTES")
    while not now.is_over:
        if now.text and now.text != said:
            yield line(now.text)
        said = now.text
        left = end - loop.time()
        patience = min(left, LOST_SECONDS) if now.runner.state == "ERROR" else left
        try:
            async for each in marked(_changed(session, now), session.settings.mark_seconds, patience):
                if isinstance(each, Line):
                    yield each
                else:
                    now = each
        except WaitOverError:
            if now.runner.state != "ERROR":
                yield line(OVER)
            break
    yield line(f"TASK_STATE : {now.runner.state}")
    if now.runner.state == "ERROR" and now.runner.assignment:
        task = displayed(now.runner.assignment.task)
        raise UserError(f"task {task} of taskrunner {displayed(name)} has failed: {now.why or 'it was aborted'}")


class _Standing(NamedTuple):
    """A taskrunner as it stands: `proposal` is an assignment to it that needs more signatures; `text` says whom it
    waits for, `why` whose part has failed."""

    runner: Taskrunner
    proposal: ProposalView | None
    text: str
    why: str

    @property
    def is_over(self) -> bool:
        """True once nothing more is to be expected."""
        return self.proposal is None and is_over(self.runner)


def _standing(chain: Chain, name: str) -> _Standing:
    runner = known_taskrunner(chain.world, name)
    asked = [each for each in proposals(chain.world, chain.time_ms) if _assigns(each, name)] if is_over(runner) else []
    proposal = asked[-1] if asked and runner.assignment is None else None
    text = proposed(proposal).text if proposal else waits_for(chain.world, runner)
    return _Standing(runner, proposal, text, failures(chain.world, runner))


def _assigns(proposal: ProposalView, name: str) -> bool:
    return proposal.state == "open" and (proposal.act, proposal.contract) == (ASSIGN_TASKS, name)


async def _changed(session: Session, known: _Standing) -> _Standing:
    """The taskrunner once it is not as it was."""

    async def follow(operator: Operator) -> Chain:
        return await operator.until(lambda chain: _standing(chain, known.runner.name) != known)

    return _standing(await session.use(follow, seconds=None), known.runner.name)


async def _assign(session: Session, task: str, name: str, compose: Callable[[World], Act]) -> list[Line]:
    return await session.act(compose, f"TASK ASSIGNED : {displayed(task)} TO {displayed(name)}")


def _shown(state: str) -> str:
    return state.upper().replace("-", " ")
