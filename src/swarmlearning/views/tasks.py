"""Tasks as operators see them, and the trainings that an assignment's pairs take part in. All of it is safe to show."""

import msgspec

from swarmlearning.ledger.contracts.taskrunner import Taskrunner
from swarmlearning.ledger.contracts.tasks import Task, tasks
from swarmlearning.ledger.contracts.training.state import Training
from swarmlearning.ledger.world import World
from swarmlearning.views.names import LONGEST_PERSON, displayed, fetch_addresses, node_names
from swarmlearning.views.records import started
from swarmlearning.views.render import waiting_text
from swarmlearning.views.taskrunners import PeerView, RunnerStatus, peer_views, runner_status
from swarmlearning.views.training import waiting_in


class TaskView(msgspec.Struct, frozen=True):
    """A task. `organisation` has made it, with the certificate `made_by`; `author` is only what its file states.
    `digest` is empty while it is a draft. The one that is there from the start has no maker. `on_behalf_of`: the person
    for whom it was made, empty where none is stated."""

    name: str
    type: str
    author: str
    prerequisite: str
    outcome: str
    state: str
    organisation: str
    made_by: str
    created_ms: int
    digest: str
    lines: tuple[str, ...]
    on_behalf_of: str


class JoinedTraining(msgspec.Struct, frozen=True):
    """A training in which pairs of an assignment take part: its contract and run, and for whom it waits."""

    contract: str
    run: int
    rounds: int
    text: str


class RunnerView(msgspec.Struct, frozen=True):
    """A taskrunner with its peers, and the trainings of the pairs that they have started."""

    status: RunnerStatus
    peers: tuple[PeerView, ...]
    trainings: tuple[JoinedTraining, ...]


def task_view(found: Task) -> TaskView:
    """The facts about a task."""
    return TaskView(
        name=displayed(found.name),
        type=found.type,
        author=displayed(found.author),
        prerequisite=displayed(found.prerequisite),
        outcome=displayed(found.outcome),
        state=found.state,
        organisation=found.organisation,
        made_by=displayed(found.subject),
        created_ms=found.created_ms,
        digest=found.digest,
        lines=tuple(displayed(line, longest=len(line)) for line in found.lines),
        on_behalf_of=displayed(found.on_behalf_of or "", LONGEST_PERSON),
    )


def task_views(world: World) -> list[TaskView]:
    """All tasks, by name; first the one that is there from the start."""
    return [task_view(each) for each in tasks(world)]


def runner_view(world: World, runner: Taskrunner) -> RunnerView:
    """A taskrunner now, with all that belongs to it."""
    return RunnerView(
        runner_status(world, runner), tuple(peer_views(world, runner)), tuple(joined_trainings(world, runner))
    )


def joined_trainings(world: World, runner: Taskrunner) -> list[JoinedTraining]:
    """The trainings of the pairs of the present assignment: an SL's own statement counts only where a SWOP of its
    organisation has reported its UID."""
    assignment = runner.assignment
    if assignment is None:
        return []
    begun = started(runner)
    own = (runner.name, assignment.serial)
    return [
        JoinedTraining(displayed(state.name), state.run, state.rounds, _text(world, state))
        for state in world.area("training/", Training)
        if any(
            member.origin is not None
            and (uid, member.organisation) in begun
            and (member.origin.taskrunner, member.origin.serial) == own
            for uid, member in state.members.items()
        )
    ]


def _text(world: World, state: Training) -> str:
    return waiting_text(waiting_in(world, state), node_names(world), fetch_addresses(world))
