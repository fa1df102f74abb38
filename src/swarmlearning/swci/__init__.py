"""The Swarm Command Interface: its command language, shell, web mode and Python client.

`swarmlearning.swci.Swci` is the Python client, which does without the rest.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swarmlearning.swci.python.connection import SwciError
    from swarmlearning.swci.python.swci import Swci

__all__ = ["Swci", "SwciError"]


def __getattr__(name: str) -> Any:
    # Not imported above: SWCI itself does without its client.
    if name == "Swci":
        from swarmlearning.swci.python.swci import Swci

        return Swci
    if name == "SwciError":
        from swarmlearning.swci.python.connection import SwciError

        return SwciError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
