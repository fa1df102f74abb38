"""Taskrunners: SWOPs listen to one, operators assign tasks to it. Entries of the world: `runner/<name>`.

`state.py` has the theory. This page has the names that readers need: `taskrunner.taskrunner(world, name)`,
`taskrunner.peers(world, name)`, ….
"""

from swarmlearning.ledger.contracts.taskrunner.state import (
    Assignment,
    Peer,
    PeerState,
    RunnerState,
    Taskrunner,
    listens_to,
    peers,
    taskrunner,
    taskrunners,
)

__all__ = [
    "Assignment",
    "Peer",
    "PeerState",
    "RunnerState",
    "Taskrunner",
    "listens_to",
    "peers",
    "taskrunner",
    "taskrunners",
]
