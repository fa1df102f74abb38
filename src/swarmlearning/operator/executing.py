"""Executing a task as a whole: what it uses is emptied before it is assigned, one act after the other. Pure.

"Executing a task will reset any training contracts and task runners that it uses", as the original's UI says.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from swarmlearning.ledger.contracts.training.state import state_of
from swarmlearning.ledger.world import World
from swarmlearning.operator.acts import Act, reset_contract
from swarmlearning.operator.taskrunners import assign_target, assign_task, known_taskrunner, reset_taskrunner
from swarmlearning.operator.tasks import task


class Step(NamedTuple):
    """One act: `compose` makes it of the ledger as it is once the acts before are done; `command` does the same."""

    compose: Callable[[World], Act]
    command: tuple[str, ...]


class Execution(NamedTuple):
    """What is to be carried out, and by whom: by so many `peers` (0: all that listen), or by the SWOP `target` alone.

    `anew`: taskrunner and contract are emptied first; without it a target joins what is under way. `contract`: the one
    in which the task's script trains, empty where it is none. `forced`: also while a training is not over.
    """

    task: str
    taskrunner: str
    contract: str = ""
    peers: int = 0
    target: str = ""
    anew: bool = True
    forced: bool = False


def steps(world: World, wanted: Execution) -> list[Step]:
    """The acts that are needed now, in their order. Raises `ActError` for a task or taskrunner that there is not."""
    task(world, wanted.task)
    known_taskrunner(world, wanted.taskrunner)
    return [*(_emptying(world, wanted) if wanted.anew else ()), _assigning(wanted)]


def _emptying(world: World, wanted: Execution) -> Iterator[Step]:
    name, runner = wanted.contract, wanted.taskrunner
    if name:
        state = state_of(world, name)
        if state.members or state.over:
            forced = wanted.forced and not state.over
            reset_contract(world, name, forced=forced)  # refused before anything is done
            words = ("swarm", "contract", "reset", name, *(("--force",) if forced else ()))
            yield Step(lambda now: reset_contract(now, name, forced=forced), words)
    if known_taskrunner(world, runner).assignment is not None:
        yield Step(lambda now: reset_taskrunner(now, runner), ("swarm", "taskrunner", "reset", runner))


def _assigning(wanted: Execution) -> Step:
    words = ("swarm", "taskrunner", "assign", wanted.task, wanted.taskrunner)
    if wanted.target:
        return Step(
            lambda now: assign_target(now, wanted.task, wanted.taskrunner, wanted.target),
            (*words, "--target", wanted.target),
        )
    whom = ("--peers", str(wanted.peers)) if wanted.peers else ("--all",)
    return Step(lambda now: assign_task(now, wanted.task, wanted.taskrunner, wanted.peers), (*words, *whom))
