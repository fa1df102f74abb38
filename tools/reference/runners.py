"""The diagram of a taskrunner: `Taskrunner.state` is asked after each thing that may happen to its only SWOP."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from reference.diagram import Edge, diagram
from swarmlearning.ledger.contracts.taskrunner.state import Assignment, Peer, Taskrunner

PLACES: Final = {
    "IDLE": (0, 0),
    "ASSIGNED": (1, 0),
    "RUNNING": (2, 0),
    "COMPLETE": (3, 0),
    "ERROR": (2, 1),
}
_TASK: Final = Assignment(1, "task", "PULL_IMAGE", "0" * 64, 1, True, "operator", "org", "org", 0)
_SWOP: Final = Peer("swop", "org", 1, 0)
_IDLE: Final = Taskrunner("runner", peers=(_SWOP,))
_ASSIGNED: Final = replace(_IDLE, assignment=_TASK)
_TAKEN: Final = replace(_ASSIGNED, peers=(replace(_SWOP, state="enrolled", slot=True),))


def transitions() -> list[Edge]:
    """What leads from one state to another."""
    found = {Edge(before.state, after.state, label) for before, after, label in _steps()}
    return sorted(edge for edge in found if edge.start != edge.end)


def picture() -> str:
    """The diagram."""
    return diagram("The states of a taskrunner", PLACES, transitions())


def _steps() -> Iterator[tuple[Taskrunner, Taskrunner, str]]:
    yield _IDLE, _ASSIGNED, "Assign"
    yield _ASSIGNED, _TAKEN, "enrolled"
    for state in ("awaiting-approval", "running", "complete", "failed", "lost"):
        yield _TAKEN, replace(_TAKEN, peers=(replace(_TAKEN.peers[0], state=state),)), state
    for before in (_ASSIGNED, _TAKEN):
        yield before, replace(before, assignment=replace(_TASK, aborted=True)), "AbortTaskrunner"
