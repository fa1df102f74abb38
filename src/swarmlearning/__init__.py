"""Swarm Learning: organisations that may not pool their data train one model together, with no central server.

User scripts import their callback from `swarmlearning.pyt` and its neighbours, or `Swarm` from here;
`docs/architecture.md` shows the rooms.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swarmlearning.client.errors import SwarmError
    from swarmlearning.client.plain import Swarm

__version__ = "0.1.0"
__all__ = ["Swarm", "SwarmError"]


def __getattr__(name: str) -> Any:
    # Not imported above: nodes and commands import this package too, and do without the client.
    if name == "Swarm":
        from swarmlearning.client.plain import Swarm

        return Swarm
    if name == "SwarmError":
        from swarmlearning.client.errors import SwarmError

        return SwarmError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
